"""CSV files: reading those that people or other programs wrote, and writing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import read_bytes

_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class CsvTable:
    """The rows of a CSV file.

    Attributes:
        columns: names in the first line.
        rows: cells by column, without rows in which every cell is empty.
        lines: number of the last line of each row, from 1.
        ended: whether the file ends with a line break; it does not if the writer was killed.
        empty: lines of the empty rows, which spreadsheets write.
    """

    columns: list[str]
    rows: list[dict[str, str]]
    lines: list[int]
    ended: bool
    empty: tuple[int, ...] = ()


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows, the first of which names the columns, as the text of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_csv(
    path: str | Path,
    columns: Collection[str] = (),
    *,
    what: str = "a CSV file",
    fix: str = "check the path",
    own: bool = False,
) -> CsvTable:
    """Read a CSV file in UTF-8 or UTF-16, with or without a byte order mark.

    The separator is the comma, semicolon, tab or bar that divides the first line into the most names.

    Args:
        path: path of the file.
        columns: columns that every row must have.
        what: description of the file in messages, such as ``a manifest of masks``.
        fix: what to do if the file cannot be read.
        own: whether this package wrote it, so that bytes that are not UTF-8 are names of files; see ``encode_text``.
    """
    try:
        table = _parse(_decode(read_bytes(path), own))  # as bytes: a value may hold any kind of line break
    except FileNotFoundError as error:
        raise UserError(f"expected {what}, found none at {path}: {fix}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"cannot read {path} as CSV, it is not UTF-8: save it as UTF-8 (in Excel: CSV UTF-8), or {fix}"
        ) from error
    except (csv.Error, OSError) as error:
        raise UserError(f"cannot read {path} as CSV ({getattr(error, 'strerror', None) or error}): {fix}") from error
    if lacking := next((name for name in columns for row in table.rows if row.get(name) is None), None):
        raise UserError(f"expected a column {lacking!r} in every row of {path}, found none: {fix}")
    return table


def _parse(text: str) -> CsvTable:
    if "\0" in text:
        raise csv.Error("it is not text")
    separator, skipped = _find_separator(text)
    reader = csv.DictReader(io.StringIO(text[skipped:], newline=""), delimiter=separator)
    names = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    every = {reader.line_num + bool(skipped): row for row in reader}
    full = {line: row for line, row in every.items() if any(map(_holds_text, row.values()))}
    empty = tuple(line for line in every if line not in full)
    return CsvTable(names, [*full.values()], [*full], text.endswith("\n"), empty)


def _decode(content: bytes, own: bool) -> str:
    """Decode UTF-8, or the UTF-16 that spreadsheets call Unicode text; other bytes in ``own`` files are file names."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", "surrogateescape" if own else "strict")


def _find_separator(text: str) -> tuple[str, int]:
    """Return the separator, and the length of a first line that only names it (``sep=;``, for Excel)."""
    if named := re.match(r'"?sep=(.)"?\r?\n', text):
        return named[1], named.end()
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    counts = {separator: len(next(csv.reader([first], delimiter=separator), [])) for separator in _SEPARATORS}
    return max(counts, key=counts.__getitem__), 0  # the comma of several


def _holds_text(cell: str | list[str] | None) -> bool:
    return any(_holds_text(one) for one in cell) if isinstance(cell, list) else bool(cell and cell.strip())
