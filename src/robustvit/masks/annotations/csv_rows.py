"""The rows of CSV lists, each with its photo, class and size."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.csv_files import CsvTable, read_csv
from robustvit.common.errors import UserError
from robustvit.data.tables.columns import LABEL_COLUMNS, find_column

_LONGEST_CELL = 2**27  # characters, of run lengths


@dataclass(frozen=True)
class ListedRow:
    """A row of a list.

    Attributes:
        line: its number.
        photo: the name of its photo.
        category: its class; None without one.
        size: height and width of the photo, as the row has them; empty texts if it says nothing.
        cells: all of it by column, without spaces around.
    """

    line: int
    photo: str
    category: str | None
    size: tuple[str, str]
    cells: dict[str, str]


def read_list(source: Path, of: str) -> CsvTable:
    """Read a CSV list of something, whose cells may be long."""
    if source.is_dir():
        raise UserError(f"expected a CSV file of {of}, got the folder {source}: name the file in it")
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        return read_csv(source, what=f"a CSV file of {of}")
    finally:
        csv.field_size_limit(before)


def iterate_rows(
    table: CsvTable, source: Path, image: str, labels: Sequence[str] = LABEL_COLUMNS, used: Collection[str] = ()
) -> Iterator[ListedRow]:
    """Yield the rows of a list.

    ``image`` is the column of photos, ``labels`` are names that the column of classes may have, and ``used`` columns
    that hold neither a class nor the photo's size.
    """
    others = [name for name in table.columns if name not in used]
    label, height, width = (find_column(others, names) for names in (labels, ("height",), ("width",)))
    for line, row in zip(table.lines, table.rows, strict=True):
        cells = {name: (row.get(name) or "").strip() for name in table.columns}
        if not cells[image]:
            raise UserError(f"{source}, line {line}: expected the name of a photo, found none: fill it in")
        size = cells.get(height or "", ""), cells.get(width or "", "")
        yield ListedRow(line, cells[image], cells.get(label or "") or None, size, cells)
