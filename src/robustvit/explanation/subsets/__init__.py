"""Panels of sufficient input subsets: the classes asked for, what was found, and the picture."""
