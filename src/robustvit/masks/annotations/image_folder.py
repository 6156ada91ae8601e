"""Hugging Face's ``imagefolder``: photos with a ``metadata.csv``, ``.jsonl`` or ``.parquet`` of masks or objects."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.files import read_bytes, read_json_lines
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.folder_files import files_below
from robustvit.data.mask_files import read_mask
from robustvit.data.tables.columns import IMAGE_COLUMNS, LABEL_COLUMNS, MASK_COLUMNS, find_column
from robustvit.data.tables.parquet import open_parquet, parquet_rows
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import find_named
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.orientation import upright_size
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import Frame, draw_whole_segmentation, mark_box
from robustvit.masks.annotations.values import expect_category, expect_numbers

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_IMAGES = ("file_name", "image_file_name", *IMAGE_COLUMNS)
_MASKS = ("mask_file_name", "segmentation_file_name", "annotation_file_name", "label_file_name", *MASK_COLUMNS)
_OBJECTS = ("objects", "annotations", "instances")
_OUTLINES, _BOXES = ("segmentation", "segmentations", "polygons", "polygon"), ("bbox", "bboxes", "boxes", "box")
_CLASSES = ("category", "categories", "label", "labels", "class", "classes", "category_id")


def read_image_folder(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of a folder with metadata; masks as ``read_annotations`` describes.

    ``source`` is the folder, whose parts may have a metadata file each, or one such file. A row has a mask file, or
    objects with outlines or boxes, ``[left, top, width, height]`` in pixels.
    """
    paths = find_metadata(source)
    root = images or (source if source.is_dir() else source.parent)
    listing = PhotoListing(source, orientation)
    marked: dict[str, MarkedPhoto] = {}
    masks: set[Path] = set()
    for path in paths:
        for where, row in _read_rows(path):
            with listing.leaving_out(where):
                photo = _photo(row, path, masks)
                inside = os.path.relpath(path.parent / photo.name, root) if images is None else photo.name
                marked[where] = replace(photo, name=inside)
    folder = PhotoFolder(root)
    folder.leave_out(masks)
    listing.match(marked, folder)
    return listing.finish(folder.folder)


def find_metadata(source: Path) -> list[Path]:
    """Return the metadata files anywhere in a folder, or the file itself if it is named."""
    if not source.is_dir():
        if not source.is_file():
            raise UserError(f"expected a folder with {METADATA[0]}, found none at {source}: check the path")
        return [source]
    found = [path for path in files_below(source, {".csv", ".jsonl", ".parquet"}).values() if path.name in METADATA]
    if not found:
        raise UserError(f"expected {', '.join(METADATA)} in {source}, found none: check the path and the format")
    return found


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the rows, each with its name in messages."""
    if path.suffix.lower() == ".parquet":
        with open_parquet(path) as file:
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(parquet_rows(file), 1))
    elif path.suffix.lower() == ".jsonl":
        yield from ((f"{path}, line {number}", row) for number, row in read_json_lines(path))
    else:
        table = read_csv(path, what="a list")
        for line, row in zip(table.lines, table.rows, strict=True):
            yield f"{path}, line {line}", {name: row.get(name) for name in table.columns}  # without surplus cells


def _photo(row: dict[str, object], path: Path, masks: set[Path]) -> MarkedPhoto:
    """The photo of a row; its mask file joins ``masks``."""
    image, mask, objects = (find_column(row, known) for known in (_IMAGES, _MASKS, _OBJECTS))
    if image is None or (mask is None and objects is None):
        missing = "masks (mask_file_name) or objects" if image else "photos (file_name)"
        raise UserError(
            f"expected a column of {missing} in {path}, found {', '.join(map(shown, list(row)[:10])) or 'none'}: add "
            "it, or make masks with robustvit masks PHOTOS"
        )
    name = row[image]
    if not isinstance(name, str) or not name.strip():
        raise BrokenEntry(f"expected the name of a photo, found {shown(name)}")
    size: tuple[object, object] | None = (row.get("height"), row.get("width"))
    if mask is None:
        areas = list(_objects(row[objects or ""]))
    else:
        areas, size = _masked(_mask_file(row[mask], path.parent), row, masks)
    label = None if areas else _category(row, LABEL_COLUMNS)
    return MarkedPhoto(name.strip(), size, areas, partial(_content, row, path), nothing=True, label=label)


def _category(entry: dict, names: Sequence[str]) -> str | None:
    column = find_column(entry, names)
    return expect_category(entry[column]) if column else None


def _masked(
    file: Path | None, row: dict[str, object], masks: set[Path]
) -> tuple[list[MarkedArea], tuple[int, int] | None]:
    """The area and the size of a mask file, which joins ``masks``; none without a file."""
    if file is None:
        return [], None
    masks.add(file)
    try:
        size = None if file.suffix == ".npy" else upright_size(file)
    except UserError as error:
        raise BrokenEntry(str(error)) from error
    return [MarkedArea(_category(row, LABEL_COLUMNS), partial(_read_mask, file), f"mask {file}")], size


def _mask_file(name: object, root: Path) -> Path | None:
    """Return the file that a row names as its mask, which must lie below the metadata; None if it names none."""
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise BrokenEntry(f"expected the name of a mask, found {shown(name)}")
    return find_named(root, name)


def _read_mask(file: Path, frame: Frame) -> np.ndarray:
    try:
        mask = read_mask(file)
    except UserError as error:
        raise BrokenEntry(str(error).replace("--mask-format", "--from")) from error
    return frame.check(mask, "a mask")


def _objects(value: object) -> Iterator[MarkedArea]:
    """The areas of a row: a list of objects, or an object of lists."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BrokenEntry("objects in text that is not JSON") from error
    entries = value if isinstance(value, list) else list(_transpose(value))
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BrokenEntry(f"expected object {number} with an outline or a box, found {shown(entry)}")
        outline, box = (find_column(entry, known) for known in (_OUTLINES, _BOXES))
        draw: Callable[[Frame], np.ndarray | Box] = partial(_box, entry[box] if box else None)
        if outline and entry[outline]:
            draw = partial(draw_whole_segmentation, entry[outline])
        yield MarkedArea(_category(entry, _CLASSES), draw, f"object {number}")


def _transpose(value: object) -> Iterator[dict]:
    if not isinstance(value, dict):
        raise BrokenEntry(f"expected objects, found {shown(value)}")
    columns = {name: cells for name, cells in value.items() if isinstance(cells, list)}
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise BrokenEntry(f"objects whose lists differ in length ({', '.join(map(str, sorted(lengths)))})")
    for place in range(next(iter(lengths), 0)):
        yield {name: cells[place] for name, cells in columns.items()}


def _box(numbers: object, frame: Frame) -> np.ndarray | Box:
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise BrokenEntry("expected an outline, or a box of four numbers")
    left, top, across, down = expect_numbers("a box", *numbers)
    return mark_box(frame, Box(left, top, left + across, top + down))


def _content(row: dict[str, object], path: Path) -> str:
    """Return a text that changes with the row and the mask that it names."""
    mask = find_column(row, _MASKS)
    text = json.dumps(row, default=str)
    if mask is None:
        return text
    try:
        file = _mask_file(row[mask], path.parent)
        return text + (hashlib.sha256(read_bytes(file)).hexdigest() if file else "")
    except (BrokenEntry, OSError):
        return text
