"""Which column of a table holds the photo, its mask, its class and its part, by the names that people use.

The table of these names is in ``docs/howto/photos.md``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from robustvit.common.errors import UserError
from robustvit.common.photo_options import ColumnOptions
from robustvit.data.grouping import Grouping
from robustvit.data.listed_files import ListedFiles
from robustvit.data.tables.table import PhotoTable, cell

IMAGE_COLUMNS = (
    "image", "file_name", "filename", "file", "path", "file_path", "image_path", "img_path", "image_name", "img_name",
    "image_file", "img", "photo", "image_id", "id_code", "img_filename", "id", "name",
)  # fmt: skip
MASK_COLUMNS = ("mask", "mask_path", "mask_file", "mask_name", "mask_file_name")
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "label_name", "category", "target", "diagnosis", "species", "breed",
    "class_id", "label_id", "y",
)  # fmt: skip
GROUP_COLUMNS = ("group",)
_PART_COLUMNS = ("split", "fold", "set", "subset")
_KINDS = (("image", IMAGE_COLUMNS), ("mask", MASK_COLUMNS), ("label", LABEL_COLUMNS))
_MOST_PARTS = 10


def plain_name(name: str) -> str:
    """Return the name of a column without capitals, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name.casefold())


def fitting_columns(columns: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the columns with known names, in the order of these names; capitals and hyphens do not matter."""
    rank = {plain_name(name): index for index, name in reversed(list(enumerate(known)))}
    return sorted((name for name in columns if plain_name(name) in rank), key=lambda name: rank[plain_name(name)])


def find_column(columns: Iterable[str], known: Sequence[str]) -> str | None:
    """Return the first of ``fitting_columns``, if there is any."""
    return next(iter(fitting_columns(columns, known)), None)


def choose_columns(table: PhotoTable, given: ColumnOptions, place: str) -> dict[str, str]:
    """Return the columns of image, mask and label that a table has, by their kind.

    Columns that the user does not name are recognised by their names, and by their types if they have any.
    """
    if doubled := [name for name, count in Counter(table.columns).items() if count > 1 and name]:
        raise UserError(f"{place} has more than one column {doubled[0]}: keep one")
    chosen = {}
    for kind, known in _KINDS:
        if (wanted := getattr(given, f"{kind}_column")) is not None:
            chosen[kind] = _find_named(table, f"--{kind}-column", wanted, place)
            continue
        fits = [name for name in _find_candidates(table, kind, known) if name not in chosen.values()]
        if kind == "image":
            fits = fits[:1] if fits and plain_name(fits[0]) == "image" else _keep_files(fits, table, place)
        if len(fits) > 1 and plain_name(fits[0]) != kind:
            named = " and ".join(map(repr, fits[:2]))
            raise UserError(
                f"two columns of {place} could be the {kind}, {named}: name the right one with --{kind}-column, or "
                f"rename it to {kind}"
            )
        if fits:
            chosen[kind] = fits[0]
    if "image" not in chosen:
        found = ", ".join(map(repr, table.columns))
        raise UserError(
            f"expected a column image in {place} (or {', '.join(IMAGE_COLUMNS[1:4])} ...), found the columns {found}: "
            "name the column of the photos with --image-column, and that of their classes with --label-column"
        )
    return chosen


def choose_group_columns(table: PhotoTable, grouping: Grouping, place: str) -> list[str]:
    """Return the columns that name the group of a photo: those the user names, else ``group`` if there is one."""
    if not grouping.given:
        return fitting_columns(table.columns, GROUP_COLUMNS)[:1]
    return [_find_named(table, "--group-by", name, place) for name in grouping.names]


def _find_named(table: PhotoTable, option: str, wanted: str, place: str) -> str:
    """Return the column that the user named, whatever its capitals and hyphens."""
    fits = [name for name in table.columns if name == wanted] or fitting_columns(table.columns, [wanted])
    if len(fits) != 1:
        found = ", ".join(map(repr, table.columns))
        raise UserError(f"expected {option} to be a column of {place}, got {wanted!r}: its columns are {found}")
    return fits[0]


def _find_candidates(table: PhotoTable, kind: str, known: Sequence[str]) -> list[str]:
    """Return the columns that could be of a kind, by their names, or by their types if no name fits."""
    named = fitting_columns(table.columns, known)
    if kind == "image" and table.pictures:
        masks = fitting_columns(table.pictures, MASK_COLUMNS)
        held = [name for name in table.pictures if name not in masks]
        return sorted(held, key=lambda name: plain_name(name) != "image")
    return named or (list(table.classes) if kind == "label" else [])


def _keep_files(fits: list[str], table: PhotoTable, place: str) -> list[str]:
    """Return the columns whose first value leads to a file."""
    if len(fits) < 2 or table.pictures:
        return fits
    finder = ListedFiles(table.folder / place, table.folder)
    return [name for name in fits if finder.leads_to_one(cell(table.rows[0], name))] or fits


def take_part(table: PhotoTable, part: str, place: str) -> PhotoTable:
    """Return the rows whose column split names a part."""
    columns = fitting_columns(table.columns, _PART_COLUMNS)
    if not columns:
        raise UserError(
            f"expected a column split in {place} to take the part {part!r} of it, found the columns "
            f"{', '.join(map(repr, table.columns))}: add it, or leave out #{part}"
        )
    parts = table.cells(columns[0])
    kept = [index for index, name in enumerate(parts) if name == part]
    if not kept:
        there = ", ".join(sorted(set(parts))[:_MOST_PARTS])
        raise UserError(f"expected rows of the part {part!r} in {place}, its column {columns[0]} has {there}")
    return replace(
        table, rows=[table.rows[index] for index in kept], lines=[table.lines[index] for index in kept], empty=()
    )


def describe_parts(table: PhotoTable, chosen: dict[str, str], place: str) -> list[str]:
    """Return a note on a table with parts, all of which are used."""
    notes = []
    for split in fitting_columns(table.columns, _PART_COLUMNS):
        parts = sorted(set(table.cells(split)))
        if 1 < len(parts) <= _MOST_PARTS and split not in chosen.values():
            notes.append(
                f"{place}: all rows are used, whatever their column {split} says ({', '.join(parts)}); "
                f"{place}#{parts[0]} takes one part."
            )
    return notes
