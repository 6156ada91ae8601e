"""Counts and foreign values in messages: no "1 photos", and no text of many lines or thousands of digits."""

from __future__ import annotations

_LONGEST = 80


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun in the right form: ``1 photo``, ``2 photos``, ``1,200 classes``.

    Args:
        number: how many.
        noun: in the singular.
        plural: if it is not the noun with an s, or es after s.
    """
    form = noun if number == 1 else plural or noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {form}"


def shown(value: object) -> str:
    """Show a value from a foreign file as short text on one line."""
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, int) and abs(value) > 10**_LONGEST:
        text = "a huge number"  # Python refuses to print numbers of thousands of digits
    elif value is None or isinstance(value, (int, float)):
        text = str(value)
    else:
        text = f"a {type(value).__name__}"  # printing a deep or huge one could fail itself
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
