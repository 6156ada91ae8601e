"""Several classes of a photo in a list: columns of 0 and 1, or names with a separator; and a mask for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.photo_options import ColumnOptions
from robustvit.data.listed_files import ListedFiles
from robustvit.data.tables.columns import plain_name
from robustvit.data.tables.table import PhotoTable, cell

_SEPARATORS = ("|", ";", ",")
_OPEN = ("", "-1", "-1.0")  # unsure or not mentioned, as in CheXpert
_BITS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def read_bit(text: str | None) -> bool | None:
    """Read 0 or 1 in a column of a class; None for anything else."""
    return _BITS.get((text or "").strip().lower())


def read_several_classes(
    table: PhotoTable, chosen: Mapping[str, str], columns: ColumnOptions, place: str
) -> list[list[str]]:
    """Return the classes of every row, one empty name for none: of its column of labels, or of its columns with a 1."""
    if "label" in chosen:
        cells = table.cells(chosen["label"])
        mark = columns.label_separator or _tell_separator(cells, place)
        rows = [[name.strip() for name in text.split(mark)] if mark else [text] for text in cells]
        return [list(dict.fromkeys(name for name in row if name)) or [""] for row in rows]
    binary = [name for name in table.columns if name and name not in {*chosen.values(), *table.pictures}]
    binary = [name for name in binary if _holds_bits(table, name, place)]
    return [[name for name in binary if read_bit(row.get(name))] or [""] for row in table.rows]


def _tell_separator(cells: list[str], place: str) -> str | None:
    """Return the separator of labels, None if no cell has one; refuse two."""
    found = [mark for mark in _SEPARATORS if any(mark in text for text in cells)]
    if len(found) > 1:
        raise UserError(
            f"the labels in {place} hold both {found[0]} and {found[1]}: say which one separates them, "
            f"--label-separator '{found[0]}'"
        )
    return found[0] if found else None


def _holds_bits(table: PhotoTable, name: str, place: str) -> bool:
    """Whether a column holds 0 and 1; refuse one where some are left open, empty or -1."""
    cells = table.cells(name)
    bits = [read_bit(text) is not None for text in cells]
    if not any(bits) or any(text not in _OPEN for text, bit in zip(cells, bits, strict=True) if not bit):
        return False
    if not all(bits):
        at = bits.index(False)
        raise UserError(
            f"{place}, line {table.lines[at]}: expected 0 or 1 in the column {name}, got {cells[at]!r}: write what is "
            "unsure or not mentioned as 0 or 1, or leave the row out"
        )
    return True


def find_mask_columns(table: PhotoTable, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of masks of single classes, ``mask_dog`` or ``dog_mask``, by the class's plain name."""
    found = {}
    for name in table.columns:
        plain = plain_name(name)
        inner = plain.removeprefix("mask") if plain.startswith("mask") else plain.removesuffix("mask")
        if inner and inner != plain and name not in chosen.values():
            found[inner.strip(":")] = name
    return found


def find_class_mask(
    row: Mapping[str, str | None], label: str, columns: Mapping[str, str], finder: ListedFiles, shared: Path | None
) -> Path | None:
    """Return the mask of a class: that of its own column, else the shared mask."""
    column = columns.get(plain_name(label))
    if column is None:
        return shared
    return finder.find(name) if (name := cell(row, column)) else None
