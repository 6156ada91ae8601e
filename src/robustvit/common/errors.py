"""The one error a user can cause: a line that says what was expected, what came and what to do next."""

from __future__ import annotations

import math

_LARGEST = 2**63 - 1  # what PyTorch and NumPy count with


class UserError(ValueError):
    """A mistake in what the user gave; its message is one line and the command line prints nothing else."""


def expect_at_least(least: float, **options: float) -> None:
    """Refuse options of a command, by their names in Python, that are below ``least``, infinite or no number.

    Integers are also refused beyond 63 bits, which no library takes.
    """
    for name, value in options.items():
        if isinstance(value, int) and value > _LARGEST:
            raise UserError(f"expected --{name.replace('_', '-')} of at most {_LARGEST}, got {str(value)[:30]}")
        if not least <= value < math.inf:
            raise UserError(f"expected --{name.replace('_', '-')} of at least {least}, got {value}")


def printable(text: str) -> str:
    """A text with what no file or terminal takes, such as file names that are not UTF-8, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
