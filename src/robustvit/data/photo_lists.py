"""Lists of photos: CSV, TSV and JSON lines, with the names of columns that people use.

The table of what is accepted is in ``docs/howto/photos.md``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.csv_files import CsvTable, read_csv
from robustvit.common.errors import UserError
from robustvit.data.counted import Counted
from robustvit.data.listed_files import ListedFiles

LIST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
IMAGE_COLUMNS = (
    "image", "file_name", "filename", "file", "path", "file_path", "image_path", "img_path", "image_name", "img_name",
    "image_file", "img", "photo", "image_id", "id_code", "img_filename", "id", "name",
)  # fmt: skip
MASK_COLUMNS = ("mask", "mask_path", "mask_file", "mask_name", "mask_file_name")
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "label_name", "category", "target", "diagnosis", "species", "breed",
    "class_id", "label_id", "y",
)  # fmt: skip
_WHOLE = re.compile(r"(\d+)\.0+")


@dataclass(frozen=True)
class ListedPhoto:
    """A row of a list: the photo, and its mask and class if the list has them.

    Attributes:
        is_mask_id: whether the class is named by its id in the mask, where 0 is the background.
    """

    image: Path
    mask: Path | None
    class_name: str | None
    is_mask_id: bool = False


@dataclass(frozen=True)
class PhotoList:
    """A list of photos.

    Attributes:
        photos: one for each row, in their order.
        count: rows seen, read and left out.
        notes: how it was read, where that is not plain.
    """

    photos: list[ListedPhoto]
    count: Counted
    notes: list[str]


def is_list(images: str | Path) -> bool:
    """Whether photos are named by a list, not by a folder."""
    return Path(images).suffix.lower() in LIST_SUFFIXES


def read_photo_list(path: str | Path) -> PhotoList:
    """Read a list of photos; paths in it are relative to its folder, with slashes or backslashes.

    Raises:
        UserError: columns that cannot be told, a photo or mask that does not exist, or several that could be meant.
    """
    path = Path(path)
    table = _read_rows(path)
    chosen = _choose_columns(table, path)
    labels = _labels(table, chosen, path)
    finder = ListedFiles(path)
    photos = []
    for row, label in zip(table.rows, labels, strict=True):
        image = finder.find((row.get(chosen["image"]) or "").strip())
        mask = (row.get(chosen["mask"]) or "").strip() if "mask" in chosen else ""
        photos.append(
            ListedPhoto(image, finder.find(mask) if mask else None, label or None, _is_mask_id(row, label, image))
        )
    count = Counted(path, "row")
    count.read = len(photos)
    for line in table.empty:
        count.leave_out("without any text", f"line {line}")
    return PhotoList(photos, count, _notes(table, chosen, finder, path))


def _is_mask_id(row: Mapping[str, str | None], label: str, image: Path) -> bool:
    """Whether a row of a manifest names a class by its id in the mask; a class folder may be named by a number, too."""
    return (row.get("source") or "") in ("voc", "imagenet-s") and label.isdecimal() and label != image.parent.name


def columns_of(path: str | Path) -> list[str]:
    """Return the names of a list's columns, for messages."""
    return _read_rows(Path(path)).columns


def _read_rows(path: Path) -> CsvTable:
    table = _read_json_lines(path) if path.suffix.lower() in (".jsonl", ".ndjson") else read_csv(path, what="a list")
    if not table.rows:
        raise UserError(f"expected at least one row below the names of the columns in {path}, found none: add photos")
    return table


def _read_json_lines(path: Path) -> CsvTable:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as lines of JSON in UTF-8: check the path, or write it again") from error
    rows, numbers = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise UserError(f'{path}, line {number}: expected a JSON object such as {{"file_name": "a.jpg"}}: fix it')
        plain = {str(k).strip(): str(v) for k, v in entry.items() if isinstance(v, (str, int, float))}
        rows.append(plain)
        numbers.append(number)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return CsvTable(columns, rows, numbers, True)


def _choose_columns(table: CsvTable, path: Path) -> dict[str, str]:
    """Return the columns of image, mask and label that the list has, by their kind."""
    if doubled := [name for name, count in Counter(table.columns).items() if count > 1 and name]:
        raise UserError(f"{path} has more than one column {doubled[0]}: keep one")
    chosen = {}
    for kind, known in (("image", IMAGE_COLUMNS), ("mask", MASK_COLUMNS), ("label", LABEL_COLUMNS)):
        fits = _fitting(table.columns, known)
        if kind == "image":
            fits = fits[:1] if fits and _plain(fits[0]) == "image" else _of_files(fits, table, path)
        if len(fits) > 1 and _plain(fits[0]) != kind:
            named = " and ".join(map(repr, fits[:2]))
            raise UserError(f"two columns of {path} could be the {kind}, {named}: rename the right one to {kind}")
        if fits:
            chosen[kind] = fits[0]
    if "image" not in chosen:
        found = ", ".join(map(repr, table.columns))
        raise UserError(
            f"expected a column image in {path} (or {', '.join(IMAGE_COLUMNS[1:4])} ...), found the columns {found}: "
            "name the column of the photos image, and that of their classes label"
        )
    return chosen


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _fitting(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the columns with known names, whatever their capitals and hyphens, in the order of the known names."""
    rank = {_plain(name): place for place, name in reversed(list(enumerate(known)))}
    return sorted((name for name in columns if _plain(name) in rank), key=lambda name: rank[_plain(name)])


def _of_files(fits: list[str], table: CsvTable, path: Path) -> list[str]:
    """Return those of several columns whose first value leads to a file."""
    if len(fits) < 2:
        return fits
    finder = ListedFiles(path)
    return [name for name in fits if finder.leads_to_one((table.rows[0].get(name) or "").strip())] or fits


def _labels(table: CsvTable, chosen: dict[str, str], path: Path) -> list[str]:
    """Return the class of every row: the label, or the column of several that holds a one."""
    if "label" in chosen:
        found = [(row.get(chosen["label"]) or "").strip() for row in table.rows]
        if all(not one or _WHOLE.fullmatch(one) for one in found):  # 3.0 is what pandas writes for the number 3
            return [one.partition(".")[0] for one in found]
        return found
    others = [name for name in table.columns if name and name not in chosen.values()]
    binary = [name for name in others if all(_bit(row.get(name)) is not None for row in table.rows)]
    ones = [[name for name in binary if _bit(row.get(name))] for row in table.rows]
    if len(binary) < 2 or (len(binary) < len(others) and any(len(one) != 1 for one in ones)):
        return [""] * len(table.rows)
    for line, one in zip(table.lines, ones, strict=True):
        if len(one) != 1:
            got = f"{len(one)} ({', '.join(one[:3])})" if one else "none"
            raise UserError(
                f"{path}, line {line}: expected a 1 in exactly one of the columns {', '.join(binary[:4])} ..., got "
                f"{got}: a photo has one class here; list each under one label"
            )
    return [one[0] for one in ones]


def _bit(cell: str | None) -> bool | None:
    """Read 0 or 1 in a column of a class; None for anything else."""
    text = (cell or "").strip().lower()
    return {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}.get(text)


def _notes(table: CsvTable, chosen: dict[str, str], finder: ListedFiles, path: Path) -> list[str]:
    where, notes = path.name, []
    if finder.guessed:
        one, place = next(iter(finder.guessed.items()))
        notes.append(
            f"{where}: {len(finder.guessed)} names were looked for in the folders below it ({one} is {place})."
        )
    for split in _fitting(table.columns, ("split", "fold", "set", "subset")):
        parts = sorted({(row.get(split) or "").strip() for row in table.rows})
        if 1 < len(parts) <= 10 and split not in chosen.values():
            notes.append(f"{where}: all rows are used, whatever their column {split} says ({', '.join(parts)}).")
    return notes
