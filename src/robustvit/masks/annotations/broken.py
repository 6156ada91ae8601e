"""The error for a part of an annotation that must be left out."""

from __future__ import annotations


class BrokenEntry(ValueError):
    """A part of an annotation that must be left out; the message ends a problem line."""
