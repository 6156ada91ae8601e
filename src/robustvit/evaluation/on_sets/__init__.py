"""Evaluation on benchmark sets: images in, answers recorded, numbers out; killed calls go on where they were."""
