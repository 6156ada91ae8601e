"""Attention taken apart: recorded, intercepted, and recomputed in little memory."""
