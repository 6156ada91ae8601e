"""The one error a user can cause: a line that says what was expected, what came and what to do next."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """A mistake in what the user gave; its message is one line and the command line prints nothing else."""
