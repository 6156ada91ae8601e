"""Results of commands as pandas tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.extras import import_extra

if TYPE_CHECKING:
    import pandas

FrameRow = Mapping[str, object]


class Tabular:
    """A result that can be converted to a pandas table."""

    @abstractmethod
    def frame_rows(self) -> Iterable[FrameRow]:
        """Return the rows; a value may be an interval or another dataclass, which becomes several columns."""

    def to_frame(self) -> pandas.DataFrame:
        """Return the result as a pandas table with plain columns: shares in [0, 1], paths as text.

        An interval becomes four columns: its mean under the value's name, and ``NAME low``, ``NAME high`` and
        ``NAME count``.

        Raises:
            UserError: pandas is not installed.
        """
        pandas = import_extra("pandas", "frames", "to_frame()")
        return pandas.DataFrame([flat_row(row) for row in self.frame_rows()])


def flat_row(row: FrameRow) -> dict[str, object]:
    """Return a row with plain values only; nested ones become columns named after their path."""
    flat: dict[str, object] = {}
    for name, value in row.items():
        if is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in fields(value)}
        if isinstance(value, Mapping):
            flat |= flat_row({name if key == "mean" else f"{name} {key}": part for key, part in value.items()})
        else:
            flat[name] = str(value) if isinstance(value, Path) else value
    return flat
