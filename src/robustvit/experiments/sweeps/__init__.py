"""Sweeps: an experiment, its trials, the engines that run them, and what they came to."""
