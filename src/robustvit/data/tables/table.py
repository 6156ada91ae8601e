"""The rows that a list, a parquet file, or a set of the hub or of FiftyOne has for its photos, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.csv_files import CsvTable, read_csv
from robustvit.common.errors import UserError
from robustvit.common.json_lines import read_json_lines
from robustvit.data.tables.source import FIFTYONE, HUB, split_part
from robustvit.data.tables.unpacked import UnpackedPhotos


@dataclass(frozen=True)
class PhotoTable(CsvTable):
    """Rows of photos as text.

    Attributes:
        pictures: columns that hold pictures; their cells are paths of files.
        classes: columns whose type says that they hold classes.
        folder: that paths in it count from.
        notes: how it was read, where that is not plain.
    """

    pictures: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    folder: Path = Path()
    notes: tuple[str, ...] = ()


def read_table(images: str | Path) -> tuple[PhotoTable, str | None]:
    """Read the rows of a source; returns the part that is left to choose by a column of the table, too."""
    name, part = split_part(images)
    if name.startswith(HUB):
        from robustvit.data.tables.hub import read_hub

        return read_hub(name.removeprefix(HUB), part), None
    if name.startswith(FIFTYONE):
        from robustvit.data.tables.fiftyone_set import read_fiftyone_set

        return read_fiftyone_set(name.removeprefix(FIFTYONE), part), None
    table = _read_file(Path(name))
    if not table.rows:
        raise UserError(f"expected at least one row below the names of the columns in {name}, found none: add photos")
    return table, part


def _read_file(path: Path) -> PhotoTable:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from robustvit.data.tables.parquet import read_parquet

        return read_parquet(path)
    if suffix == ".txt":
        from robustvit.data.tables.text_list import read_text_list

        return read_text_list(path)
    if suffix in (".jsonl", ".ndjson"):
        return as_photo_table(_table_of_json_lines(path), path)
    return as_photo_table(read_csv(path, what="a list"), path)


def _table_of_json_lines(path: Path) -> CsvTable:
    rows, numbers = [], []
    for number, entry in read_json_lines(path):
        rows.append({str(k).strip(): str(v) for k, v in entry.items() if isinstance(v, (str, int, float))})
        numbers.append(number)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return CsvTable(columns, rows, numbers, True)


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
        folder: that paths in it count from.
        pictures: columns that are known to hold pictures.
    """
    rows: list[dict[str, str]] = []
    columns: dict[str, None] = {}
    seen = dict.fromkeys(pictures)
    for number, record in enumerate(records):
        row = {}
        for column, cell in record.items():
            columns[column] = None
            if isinstance(cell, bytes) or (isinstance(cell, Mapping) and {"bytes", "path"} & cell.keys()):
                seen[column] = None
                row[column] = unpacked.path_of(cell, column, number)
            elif (text := _as_text(cell, names.get(column, ()))) is not None:
                row[column] = text
        rows.append(row)
    unpacked.tell()
    held = tuple(name for name in seen if name in columns)
    classes = tuple(name for name in names if name in columns)
    return PhotoTable(list(columns), rows, list(range(1, len(rows) + 1)), True, (), held, classes, folder)


def _as_text(cell: object, names: Sequence[str]) -> str | None:
    """Return a cell as text, None if it is not a single value; numbers of classes become names."""
    if cell is None:
        return ""
    if names and isinstance(cell, int):
        return names[cell] if 0 <= cell < len(names) else ""  # -1 stands for unknown
    return str(cell) if isinstance(cell, (str, int, float)) else None
