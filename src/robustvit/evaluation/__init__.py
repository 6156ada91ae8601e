"""Measurements of a model, alone or against the original it came from, on photos and on benchmark sets."""
