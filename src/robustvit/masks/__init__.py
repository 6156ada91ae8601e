"""Masks of objects: made, imported from annotations, rated and reviewed."""
