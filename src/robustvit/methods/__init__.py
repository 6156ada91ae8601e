"""Relevance methods by name; each is a function of one file here, with its source in its docstring."""

from __future__ import annotations

from robustvit.errors import UserError
from robustvit.methods.gae import gae
from robustvit.methods.trace import Method, Trace

__all__ = ["METHODS", "Method", "Trace", "method_of"]

METHODS: dict[str, Method] = {"gae": gae}


def method_of(name: str) -> Method:
    """The relevance method of that name.

    Raises:
        UserError: there is none.
    """
    if name not in METHODS:
        raise UserError(f"expected a relevance method out of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
