"""Sweeps: an experiment, its trials, the engines that run them, and their results."""
