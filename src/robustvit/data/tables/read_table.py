"""Reading the rows of photos of any source: a list, a parquet file, or a set of the hub or of FiftyOne."""

from __future__ import annotations

from pathlib import Path

from robustvit.common.csv_files import CsvTable, read_csv
from robustvit.common.errors import UserError
from robustvit.common.json_lines import read_json_lines
from robustvit.data.tables.source import FIFTYONE, HUB, split_part
from robustvit.data.tables.table import PhotoTable, as_photo_table


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
