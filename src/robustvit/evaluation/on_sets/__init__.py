"""Evaluation on benchmark sets: images in, answers recorded, numbers out; a killed evaluation resumes."""
