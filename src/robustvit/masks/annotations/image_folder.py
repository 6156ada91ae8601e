"""Hugging Face's ``imagefolder``: photos with a ``metadata.csv``, ``.jsonl`` or ``.parquet`` of masks or objects."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
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
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.listing import Annotations, PhotoFolder
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto, list_marked, name_category
from robustvit.masks.annotations.named_files import find_named
from robustvit.masks.annotations.orientation import upright_size
from robustvit.masks.annotations.outlines import Frame
from robustvit.masks.annotations.segmentation import draw_segmentation
from robustvit.masks.annotations.shapes import Box, expect_numbers, expect_pixels, mark_box

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
    problems: list[str] = []
    marked: dict[str, MarkedPhoto] = {}
    masks: set[Path] = set()
    for path in paths:
        for where, row in _read_rows(path):
            try:
                name, areas, size = _photo(row, path, masks)
                label = find_column(row, LABEL_COLUMNS)
                named = name_category(row[label]) if label and not areas else None
            except BrokenEntry as error:
                problems.append(f"{where}: {error}; left out")
                continue
            inside = os.path.relpath(path.parent / name, root) if images is None else name
            content = partial(_content, row, path)
            marked[where] = MarkedPhoto(inside, size, areas, content, nothing=True, label=named)
    folder = PhotoFolder(root)
    folder.leave_out(masks)
    return list_marked(marked, folder, source, orientation, problems)


def find_metadata(source: Path) -> list[Path]:
    """Return the metadata files anywhere in a folder, or the one that is named."""
    if not source.is_dir():
        if not source.is_file():
            raise UserError(f"expected a folder with {METADATA[0]}, found none at {source}: check the path")
        return [source]
    found = [path for path in files_below(source, {".csv", ".jsonl", ".parquet"}).values() if path.name in METADATA]
    if not found:
        raise UserError(f"expected {', '.join(METADATA)} in {source}, found none: check the path and the format")
    return found


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the rows, each with what to call it."""
    if path.suffix.lower() == ".parquet":
        with open_parquet(path) as file:
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(parquet_rows(file), 1))
    elif path.suffix.lower() == ".jsonl":
        yield from ((f"{path}, line {number}", row) for number, row in read_json_lines(path))
    else:
        table = read_csv(path, what="a list")
        for line, row in zip(table.lines, table.rows, strict=True):
            yield f"{path}, line {line}", {**row}


def _photo(
    row: dict[str, object], path: Path, masks: set[Path]
) -> tuple[str, list[MarkedArea], tuple[object, object] | None]:
    """The name, areas and size of a row's photo; its mask file joins ``masks``."""
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
    if mask is None:
        return name.strip(), list(_objects(row[objects or ""])), (row.get("height"), row.get("width"))
    label = find_column(row, LABEL_COLUMNS)
    file = _mask_file(row[mask], path.parent)
    if file is None:
        return name.strip(), [], None
    masks.add(file)
    try:
        size = None if file.suffix == ".npy" else upright_size(file)
    except UserError as error:
        raise BrokenEntry(str(error)) from error
    category = name_category(row[label]) if label else None
    return name.strip(), [MarkedArea(category, partial(_read_mask, file), f"mask {file}")], size


def _mask_file(name: object, root: Path) -> Path | None:
    """The file that a row names as its mask, which must lie below the metadata; None if it names none."""
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
    if mask.shape != (frame.height, frame.width):
        raise BrokenEntry(f"a mask of {mask.shape[0]} x {mask.shape[1]} pixels, not of its photo's size")
    return expect_pixels(mask, "a mask")


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
            raise BrokenEntry(f"object {number}: expected one, found {shown(entry)}")
        outline, box, named = (find_column(entry, known) for known in (_OUTLINES, _BOXES, _CLASSES))
        category = name_category(entry[named]) if named else None
        if outline and entry[outline]:
            yield MarkedArea(category, partial(draw_segmentation, entry[outline]), f"object {number}")
        else:
            yield MarkedArea(category, partial(_box, entry[box] if box else None), f"object {number}")


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
    """The row and the mask that it names, if it can be read."""
    mask = find_column(row, _MASKS)
    text = json.dumps(row, default=str)
    if mask is None:
        return text
    try:
        file = _mask_file(row[mask], path.parent)
        return text + (hashlib.sha256(read_bytes(file)).hexdigest() if file else "")
    except (BrokenEntry, OSError):
        return text
