"""Guidance methods: what turns photos and masks into a loss; the paper's, and its rivals."""
