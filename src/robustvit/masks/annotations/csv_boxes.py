"""CSV lists of boxes, a row for each: TensorFlow's, Open Images', and those of Kaggle's detection tasks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from robustvit.common.csv_files import CsvTable, read_csv
from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize, shown
from robustvit.data.folder_files import files_below
from robustvit.data.tables.columns import IMAGE_COLUMNS, LABEL_COLUMNS, find_column
from robustvit.masks.annotations.boxes import as_confidence, corners_of, doubt_corners, doubt_units
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.listing import (
    AnnotatedPhoto,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    photo_with_objects,
)
from robustvit.masks.annotations.marked import find_photo_folder
from robustvit.masks.annotations.no_box_yet import leave_out_unmarked
from robustvit.masks.annotations.objects import Corners
from robustvit.masks.annotations.orientation import view_photo

OF_PART = "_annotations.csv"  # Roboflow's, in each part of a set
_IMAGES = (*IMAGE_COLUMNS, "patient_id")
_CONFIDENCES = ("confidence", "conf", "score")
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"), ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax"),
    ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
)  # fmt: skip
_SIDES = (
    ("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"), ("xmin", "ymin", "width", "height"),
)  # fmt: skip
_CENTRES = (
    ("x_center", "y_center", "width", "height"), ("x_centre", "y_centre", "width", "height"), ("cx", "cy", "w", "h"),
)  # fmt: skip
_NUMBERED = re.compile(r"(.*?)([xy])[\s_-]*(\d)", re.IGNORECASE)  # bbox_y2
_TOGETHER = ("bbox", "bounding_box", "box")


@dataclass(frozen=True)
class _Form:
    """Where a list has its boxes.

    Attributes:
        columns: four of numbers, or one of lists of four.
        sides: the last two numbers are width and height.
        centred: the first two are the centre.
    """

    columns: tuple[str, ...]
    sides: bool
    centred: bool = False

    def numbers(self, row: dict[str, str]) -> list[float]:
        """Return the four numbers of a row; none if all of its cells are empty."""
        texts = [(row.get(column) or "").strip() for column in self.columns]
        if len(texts) == 1:
            texts = [part for part in texts[0].strip("[](){} ").replace(",", " ").split() if part]
        if not any(texts):
            return []
        try:
            found = [float(text.replace(",", ".")) for text in texts]
        except ValueError as error:
            raise BrokenEntry(f"expected a box of four numbers, found {shown(' '.join(texts))}") from error
        if len(found) != 4:
            raise BrokenEntry(f"expected a box of four numbers, found {pluralize(len(found), 'number')}")
        return [] if all(number != number for number in found) else found  # NaN is how pandas writes an empty cell

    def corners(self, numbers: list[float]) -> Corners:
        return corners_of(numbers, sides=self.sides, centred=self.centred)


@dataclass
class _Rows:
    """The rows of a photo: line, class, numbers and confidence of each box."""

    boxes: list[tuple[int, str | None, list[float], float | None]] = field(default_factory=list)
    label: str | None = None  # of a row without a box
    size: tuple[int, int] | None = None
    broken: list[str] = field(default_factory=list)


def read_csv_boxes(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of a CSV of boxes; masks as ``read_annotations`` describes.

    A row holds a box: two corners, or the left, top, width and height, or the centre with both sides, each in a column
    of its own, or the left, top, width and height as a list in one. Rows with no numbers say that a photo shows no
    object, unless their class has boxes elsewhere. Photos are looked up in ``images``, else beside the file; of a
    folder as Roboflow writes it, all parts are read.
    """
    paths = [source]
    if source.is_dir():
        paths = [path for path in files_below(source, {".csv"}).values() if path.name == OF_PART]
        if not paths:
            raise UserError(f"expected a CSV file of boxes, got the folder {source}: name the file in it")
    problems: list[str] = []
    photos: list[AnnotatedPhoto] = []
    names: dict[str, None] = {}
    doubts: dict[str, str] = {}
    for path in paths:
        found, categories, doubt = _read_file(path, find_photo_folder(images, path.parent), orientation, problems)
        photos += found
        names |= dict.fromkeys(categories)
        doubts |= {"units": doubt} if doubt else {}
    if len(paths) > 1:
        problems.append(f"{source}: all of {', '.join(path.parent.name for path in paths)} are read")
    photos = sorted(leave_out_unmarked(photos, names, problems), key=lambda photo: photo.image)
    names |= dict.fromkeys(photo.label for photo in photos if photo.label)
    return Annotations(photos, problems, tuple(names), root=images or (source if source.is_dir() else source.parent),
                       doubts=doubts)  # fmt: skip


def find_form(columns: list[str]) -> _Form | None:
    """Return where a list with these columns has its boxes; None if it has none."""
    for known, sides, centred in ((_CORNERS, False, False), (_CENTRES, True, True), (_SIDES, True, False)):
        for names in known:
            found = [find_column(columns, (name,)) for name in names]
            if None not in found:
                return _Form(tuple(name for name in found if name), sides, centred)
    together = find_column(columns, _TOGETHER)
    return _Form((together,), sides=True) if together else None


def _expect_one_reading(columns: list[str], form: _Form, source: Path) -> None:
    """Refuse columns of more than two corners, and two pairs of sides of which either may be the photo's."""
    last = _NUMBERED.fullmatch(form.columns[-1])
    further = [find_column(columns, (f"{last[1]}{axis}{int(last[3]) + 1}",)) for axis in "xy"] if last else []
    if any(further):
        raise UserError(
            f"expected boxes of two corners in {source}, found more corners ({', '.join(filter(None, further))}): "
            "write left, top, right and bottom of each box as xmin, ymin, xmax and ymax"
        )
    sides = [find_column(columns, (name,)) for name in ("w", "h")]
    if form.sides and None not in sides and not {*sides} & {*form.columns} and len(form.columns) > 1:
        raise UserError(
            f"expected one width and height of each box in {source}, found {form.columns[2]}, {form.columns[3]} and "
            "w, h: keep those of the box, and name its left top corner x and y"
        )


def is_csv_boxes(columns: list[str]) -> bool:
    """Whether a list has columns of photos and boxes."""
    return find_column(columns, _IMAGES) is not None and find_form(columns) is not None


def _read_file(
    source: Path, folder: PhotoFolder, orientation: Orientation | None, problems: list[str]
) -> tuple[list[AnnotatedPhoto], list[str], str]:
    """The photos of a list, the categories of its boxes, and a question about them."""
    table = read_csv(source, what="a CSV file of boxes")
    image, form = find_column(table.columns, _IMAGES), find_form(table.columns)
    if image is None or form is None:
        raise UserError(
            f"expected columns of a photo and its box (image, xmin, ymin, xmax, ymax, label) in {source}, found "
            f"{', '.join(map(repr, table.columns[:10]))}: name them so in the first line"
        )
    _expect_one_reading(table.columns, form, source)
    rows = _group(table, source, image, form)
    found = folder.match({name: name for name in rows}, problems)
    photos: list[AnnotatedPhoto] = []
    framed: list[tuple[list[float], tuple[int, int]]] = []
    for name, path in found.items():
        one = rows[name]
        problems.extend(one.broken)
        try:
            view = view_photo(path, one.size, orientation)
        except (BrokenEntry, UserError) as error:
            problems.append(f"{name}: {error}; left out")
            continue
        framed += [(numbers, view.size) for _, _, numbers, _ in one.boxes]
        if one.boxes or not one.broken:
            decode = partial(_decode, path, one, form)
            photo = photo_with_objects(path, decode, problems, view, partial(json.dumps, [one.boxes, one.label]))
            photos.append(replace(photo, label=None if one.boxes else one.label))
    doubt = doubt_units([form.corners(numbers) for numbers, _ in framed], "pixels", source)
    if not doubt and form.sides and not form.centred:
        doubt = doubt_corners(framed, source)
    categories = [category for one in rows.values() for _, category, _, _ in one.boxes if category]
    return photos, categories, doubt


def _group(table: CsvTable, source: Path, image: str, form: _Form) -> dict[str, _Rows]:
    """The rows of each photo, by its name."""
    sure = find_column(table.columns, _CONFIDENCES)
    others = [name for name in table.columns if name not in form.columns]
    sides = [find_column(others, (name,)) for name in ("height", "width")]
    label = find_column(others, LABEL_COLUMNS)
    found: dict[str, _Rows] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        name = (row.get(image) or "").strip()
        if not name:
            raise UserError(f"{source}, line {line}: expected the name of a photo, found none: fill it in")
        one = found.setdefault(name, _Rows())
        given = [(row.get(side or "") or "").strip() for side in sides]
        if given and all(text.isdecimal() and len(text) < 10 and int(text) for text in given):
            one.size = int(given[0]), int(given[1])
        try:
            category = ((row.get(label) or "").strip() or None) if label else None
            said = (row.get(sure) or "").strip() if sure else ""
            if numbers := form.numbers(row):
                one.boxes.append((line, category, numbers, as_confidence(float(said)) if said else None))
            else:
                one.label = category
        except (BrokenEntry, ValueError) as error:
            one.broken.append(f"{source}, line {line}: {error}; left out")
    return found


def _decode(image: Path, rows: _Rows, form: _Form, complaints: list[str]) -> list[MarkedObject]:
    return [
        BoxedObject(category, form.corners(numbers), f"{image}: line {line}", confidence=sure)
        for line, category, numbers, sure in rows.boxes
    ]
