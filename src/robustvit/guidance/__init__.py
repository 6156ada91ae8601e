"""Guidance methods turn photos and masks into a loss: the paper's method and rival methods."""
