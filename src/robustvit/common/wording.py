"""Words from the user and for the user: lists of names, counts with the right plural, foreign values on one line."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 80
_NEGATIVE = re.compile(r"(?<![^\s(\[])-(?=\d[\d,]*(\.\d+)?(%|[\s,;:)\]/]|\.?(\s|$)))")  # no name such as -5.jpg


def list_names(given: str | Iterable[object] | None) -> list[str]:
    """Return names that were given as a list, or as text with commas: ``cat,dog`` is two. Empty ones are dropped."""
    parts = given.split(",") if isinstance(given, str) else given or ()
    return [name for part in parts if (name := str(part).strip())]


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number and a noun: ``1 photo``, ``2 photos``, ``1,200 classes``; ``plural`` if it is irregular."""
    form = noun if number == 1 else plural or noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {form}"


def with_minus(text: str) -> str:
    """Return text with a minus sign before its negative numbers, as pages and tables show them.

    On a terminal and in JSON and CSV they have a hyphen, which any terminal and program can read.
    """
    return _NEGATIVE.sub("−", text)


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, for a page, a table or a chart: ``+1.2`` or ``−0.4``."""
    return with_minus(f"{value:+.{digits}f}")


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
