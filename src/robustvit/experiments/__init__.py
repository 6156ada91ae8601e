"""Experiments of many runs: sweeps, the learning rate search, and reproductions of the paper."""
