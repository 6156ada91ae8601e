"""Sharing: reports, exported models, model cards, uploads."""
