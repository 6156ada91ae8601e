"""Reading CSV files that a person or another program wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import read_bytes


@dataclass(frozen=True)
class CsvTable:
    """The rows of a CSV file.

    Attributes:
        columns: names in its first line.
        rows: the others, by column.
        lines: number of the last line of each row, from 1.
        ended: whether the file ends with a line break, which a writer that was killed leaves out.
    """

    columns: list[str]
    rows: list[dict[str, str]]
    lines: list[int]
    ended: bool


def read_csv(
    path: str | Path,
    columns: Collection[str] = (),
    *,
    what: str = "a CSV file",
    fix: str = "check the path",
    own: bool = False,
) -> CsvTable:
    """Read a CSV file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        columns: that every row must have.
        what: to call the file, as ``a manifest of masks``.
        fix: what to do about a file that cannot be read.
        own: whether this package wrote it, so that bytes that are not UTF-8 are names of files; see ``encode_text``.
    """
    try:  # as bytes: a value may hold any kind of line break
        text = read_bytes(path).decode("utf-8-sig", "surrogateescape" if own else "strict")
        if "\0" in text:
            raise csv.Error("it is not text")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        numbered = [(reader.line_num, row) for row in reader]
    except FileNotFoundError as error:
        raise UserError(f"expected {what}, found none at {path}: {fix}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} as CSV, it is not UTF-8: {fix}") from error
    except (csv.Error, OSError) as error:
        raise UserError(f"cannot read {path} as CSV ({getattr(error, 'strerror', None) or error}): {fix}") from error
    if lacking := next((name for name in columns for _, row in numbered if row.get(name) is None), None):
        raise UserError(f"expected a column {lacking!r} in every row of {path}, found none: {fix}")
    return CsvTable(names, [row for _, row in numbered], [line for line, _ in numbered], text.endswith("\n"))
