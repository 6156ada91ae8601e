"""Reading lists of photos: CSV, TSV, JSON lines, text, parquet, and sets of the hub or of FiftyOne.

The table of what is accepted is in ``docs/howto/photos.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from robustvit.common.csv_files import CsvTable, read_csv
from robustvit.common.errors import UserError
from robustvit.common.files import read_json_lines
from robustvit.common.photo_options import ColumnOptions
from robustvit.data.grouping import read_grouping
from robustvit.data.listed_files import ListedFiles
from robustvit.data.matching import compose
from robustvit.data.notes import ReadCount
from robustvit.data.photo import Photo
from robustvit.data.tables.columns import choose_columns, choose_group_columns, describe_parts, take_part
from robustvit.data.tables.several_classes import find_class_mask, find_mask_columns, read_bit, read_several_classes
from robustvit.data.tables.source import FIFTYONE, HUB, is_set, split_part
from robustvit.data.tables.table import PhotoTable, as_photo_table, cell

_WHOLE = re.compile(r"(\d+)\.0+")
AS_NAMED = ColumnOptions()


def read_photo_list(
    images: str | Path, columns: ColumnOptions = AS_NAMED, *, several: bool = False
) -> tuple[list[Photo], list[str]]:
    """Read a list of photos; paths in it are relative to its folder, with slashes or backslashes.

    Args:
        images: the list or set, with ``#PART`` for one part of it.
        columns: columns that the user names.
        several: whether a photo may have several classes: it is then listed for each, or once without a class.

    Returns:
        The photos in the order of their rows, and notes on how the list was read and on rows that were left out.
    """
    table, part = read_table(images)
    place, name = split_part(images)[0], _name_source(images)
    if part is not None:
        table = take_part(table, part, place)
    chosen = choose_columns(table, columns, place)
    count = ReadCount(Path(str(images)), "row")
    kinds: list[str] = [kind for kind in ("image", "mask") if kind in chosen]
    finders = {kind: _make_finder(table, [chosen[kind]], place) for kind in kinds}
    photos = _read_rows(table, chosen, columns, finders, count, place, several)
    if not photos:
        raise UserError(f"expected photos in {images}, found none: {count.note or 'it has no rows'}")
    count.read = len(photos)
    for number in table.empty:
        count.leave_out("without any text", f"line {number}")
    notes = [*table.notes, *(line for finder in finders.values() for line in finder.notes)]
    notes += describe_parts(table, chosen, name) if part is None and not is_set(place) else []
    return photos, [*notes, *_note_unused_pictures(table, chosen, name), *([count.note] if count.note else [])]


def _read_rows(
    table: PhotoTable,
    chosen: Mapping[str, str],
    columns: ColumnOptions,
    finders: Mapping[str, ListedFiles],
    count: ReadCount,
    place: str,
    several: bool,
) -> list[Photo]:
    """Return the photo of each row, once for each of its classes; rows without a photo are counted."""
    grouping = read_grouping(columns.group_by)
    grouped = choose_group_columns(table, grouping, place)
    taken = {**chosen, **{f"group {name}": name for name in grouped}}
    labels = read_several_classes(table, taken, columns, place) if several else _single_classes(table, taken, place)
    of_class = find_mask_columns(table, chosen) if several else {}
    class_masks = _make_finder(table, of_class.values(), place)
    photos = []
    for row, of_row, line in zip(table.rows, labels, table.lines, strict=True):
        text = cell(row, chosen["image"])
        if not text and table.pictures:
            count.leave_out("without a photo", f"row {line}")
            continue
        image, mask = finders["image"].find(text), cell(row, chosen["mask"]) if "mask" in chosen else ""
        shared = finders["mask"].find(mask) if mask else None
        named = [_plain_number(cell(row, column)) for column in grouped]
        for label in of_row:
            own_mask, class_name = find_class_mask(row, label, of_class, class_masks, shared), compose(label) or None
            is_mask_id, group = _is_mask_id(row, label, image), grouping.join(named, class_name)
            photos.append(Photo(image, own_mask, class_name, is_mask_id=is_mask_id, group=group))
    return photos


def _name_source(images: str | Path) -> str:
    """Return the name of a list or set for notes: they may be published, so they show no folders of this machine."""
    name = split_part(images)[0]
    local = not is_set(name) or Path(name.partition(":")[2]).exists()
    return Path(name.partition(":")[2] if is_set(name) else name).name if local else name


def _make_finder(table: PhotoTable, columns: Iterable[str], place: str) -> ListedFiles:
    found = ListedFiles(Path(place), table.folder)
    found.learn_root([name for column in columns for name in table.cells(column) if name])
    return found


def _is_mask_id(row: Mapping[str, str | None], label: str, image: Path) -> bool:
    """Whether a row of a manifest names a class by its id in the mask; a class folder may be named by a number, too."""
    return (row.get("source") or "") in ("voc", "imagenet-s") and label.isdecimal() and label != image.parent.name


def columns_of(images: str | Path) -> list[str]:
    """Return the names of a list's columns, for messages."""
    return read_table(images)[0].columns


def _plain_number(text: str) -> str:
    """Return 3 for 3.0, which pandas writes for the number 3."""
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def _single_classes(table: PhotoTable, chosen: Mapping[str, str], place: str) -> list[list[str]]:
    """Return the class of every row: its label, or the name of the only column with a 1."""
    if "label" in chosen:
        found = table.cells(chosen["label"])
        whole = all(not name or _WHOLE.fullmatch(name) for name in found)
        return [[_plain_number(name) if whole else name] for name in found]
    others = [name for name in table.columns if name and name not in {*chosen.values(), *table.pictures}]
    binary = [name for name in others if all(read_bit(row.get(name)) is not None for row in table.rows)]
    ones = [[name for name in binary if read_bit(row.get(name))] for row in table.rows]
    if len(binary) < 2 or (len(binary) < len(others) and any(len(names) != 1 for names in ones)):
        return [[""]] * len(table.rows)
    for line, names in zip(table.lines, ones, strict=True):
        if len(names) != 1:
            got = f"{len(names)} ({', '.join(names[:3])})" if names else "none"
            raise UserError(
                f"{place}, line {line}: expected a 1 in exactly one of the columns {', '.join(binary[:4])} ..., got "
                f"{got}: a photo has one class here; list each under one label, or give a multi-label model (--head)"
            )
    return ones


def _note_unused_pictures(table: PhotoTable, chosen: dict[str, str], name: str) -> list[str]:
    """Return a note on columns of pictures that are neither photos nor masks."""
    left = ", ".join(column for column in table.pictures if column not in chosen.values())
    return [f"{name}: pictures in {left} are not used; --mask-column takes one of them as masks."] if left else []


def read_table(images: str | Path) -> tuple[PhotoTable, str | None]:
    """Read the rows of a source; also return the part that is still to be chosen by a column of the table."""
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
