"""Columns of lists by the names that people give them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robustvit.data.tables.names import IMAGE_COLUMNS, LABEL_COLUMNS, MASK_COLUMNS, fitting_columns

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "MASK_COLUMNS", "find_column"]


def find_column(columns: Iterable[str], known: Sequence[str]) -> str | None:
    """Return the column with the first of the known names that is there, whatever its capitals, spaces and hyphens."""
    return next(iter(fitting_columns(columns, known)), None)
