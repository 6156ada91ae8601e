"""Counts in words, so that no message says "1 photos"."""

from __future__ import annotations


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun in the right form: ``1 photo``, ``2 photos``, ``1,200 classes``.

    Args:
        number: how many.
        noun: in the singular.
        plural: if it is not the noun with an s, or es after s.
    """
    form = noun if number == 1 else plural or noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {form}"
