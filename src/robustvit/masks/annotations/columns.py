"""Columns of lists by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from robustvit.data.tables.names import IMAGE_COLUMNS, LABEL_COLUMNS, MASK_COLUMNS

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "MASK_COLUMNS", "find_column"]


def find_column(columns: Iterable[str], known: Sequence[str]) -> str | None:
    """Return the column with the first of the known names that is there, whatever its capitals, spaces and hyphens."""
    plain = {_plain(name): name for name in reversed(list(columns))}
    return next((plain[_plain(name)] for name in known if _plain(name) in plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())
