"""The rows that a list, a parquet file, or a set of the hub or of FiftyOne has for its photos, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.csv_files import CsvTable
from robustvit.data.tables.unpacked import UnpackedPhotos


@dataclass(frozen=True)
class PhotoTable(CsvTable):
    """Rows of photos as text.

    Attributes:
        pictures: columns that hold pictures; their cells are paths of files.
        classes: columns whose type says that they hold classes.
        folder: that its paths are relative to.
        notes: on how it was read, where that is not obvious.
    """

    pictures: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    folder: Path = Path()
    notes: tuple[str, ...] = ()

    def cells(self, column: str) -> list[str]:
        """Return what every row has in a column; empty where it has nothing."""
        return [cell(row, column) for row in self.rows]


def cell(row: Mapping[str, str | None], column: str) -> str:
    """Return what a row has in a column, without spaces around it; empty if it has nothing."""
    return (row.get(column) or "").strip()


def as_photo_table(found: CsvTable, path: Path) -> PhotoTable:
    """Return the rows of a file of text as a table of photos."""
    return PhotoTable(found.columns, found.rows, found.lines, found.ended, found.empty, folder=path.parent)


def table_of_records(
    records: Iterable[Mapping[str, object]],
    names: Mapping[str, Sequence[str]],
    unpacked: UnpackedPhotos,
    folder: Path,
    pictures: Iterable[str] = (),
) -> PhotoTable:
    """Turn records with pictures, numbers and texts into rows of text; pictures within them become files.

    Args:
        records: cells by column. A picture is its bytes, or a dictionary with ``bytes`` and ``path``.
        names: of the classes that numbers of a column stand for, by column.
        unpacked: where pictures go.
        folder: that its paths are relative to.
        pictures: columns that are known to hold pictures.
    """
    rows: list[dict[str, str]] = []
    columns: dict[str, None] = {}
    seen = dict.fromkeys(pictures)
    for number, record in enumerate(records):
        row = {}
        for column, value in record.items():
            columns[column] = None
            if isinstance(value, bytes) or (isinstance(value, Mapping) and {"bytes", "path"} & value.keys()):
                seen[column] = None
                row[column] = unpacked.path_of(value, column, number)
            elif (text := _as_text(value, names.get(column, ()))) is not None:
                row[column] = text
        rows.append(row)
    unpacked.tell()
    held = tuple(name for name in seen if name in columns)
    classes = tuple(name for name in names if name in columns)
    return PhotoTable(list(columns), rows, list(range(1, len(rows) + 1)), True, (), held, classes, folder)


def _as_text(value: object, names: Sequence[str]) -> str | None:
    """Return a value as text, None if it is several values; numbers of classes become names."""
    if value is None:
        return ""
    if names and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else ""  # -1 stands for unknown
    return str(value) if isinstance(value, (str, int, float)) else None
