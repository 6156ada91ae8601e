"""CSV lists of boxes, a row for each: TensorFlow's, Open Images', and those of Kaggle's detection tasks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize, shown
from robustvit.data.folder_files import files_below
from robustvit.data.tables.columns import IMAGE_COLUMNS, find_column
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.csv_rows import iterate_rows, read_list
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedBox, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.values import expect_box, expect_confidence

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

    def numbers(self, cells: dict[str, str]) -> list[float]:
        """Return the four numbers of a row; none if all of its cells are empty."""
        texts = [cells[column] for column in self.columns]
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

    def box(self, numbers: list[float]) -> Box:
        return expect_box(numbers, sides=self.sides, centred=self.centred)


@dataclass
class _Rows:
    """The rows of a photo: line, class, numbers and confidence of each box."""

    boxes: list[tuple[int, str | None, list[float], float | None]] = field(default_factory=list)
    label: str | None = None  # of a row without a box
    size: tuple[int, int] | None = None
    broken: bool = False


def read_csv_boxes(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of a CSV of boxes; masks as ``read_annotations`` describes.

    A row holds a box: two corners, or the left, top, width and height, or the centre with both sides, each in a column
    of its own, or the left, top, width and height as a list in one. Rows with no numbers say that a photo shows no
    object, unless their class has boxes elsewhere. Photos are looked up in ``images``, else beside the file; of a
    folder as Roboflow writes it, all parts are read.
    """
    listing = PhotoListing(source, orientation)
    paths = [source]
    if source.is_dir():
        paths = [path for path in files_below(source, {".csv"}).values() if path.name == OF_PART] or paths
    for path in paths:
        rows, form = _read_rows(path, listing)
        marked = {name: _photo(name, one, form) for name, one in rows.items()}
        listing.match(marked, PhotoFolder.find(images, path.parent))
    if len(paths) > 1:
        listing.problems.append(f"{source}: all of {', '.join(path.parent.name for path in paths)} are read")
    return listing.finish(images or (source if source.is_dir() else source.parent))


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


def _read_rows(source: Path, listing: PhotoListing) -> tuple[dict[str, _Rows], _Form]:
    """Return the rows of each photo, by its name, and where they have their boxes."""
    table = read_list(source, "boxes")
    image, form = find_column(table.columns, _IMAGES), find_form(table.columns)
    if image is None or form is None:
        raise UserError(
            f"expected columns of a photo and its box (image, xmin, ymin, xmax, ymax, label) in {source}, found "
            f"{', '.join(map(repr, table.columns[:10]))}: name them so in the first line"
        )
    _expect_one_reading(table.columns, form, source)
    sure = find_column(table.columns, _CONFIDENCES)
    rows: dict[str, _Rows] = {}
    for row in iterate_rows(table, source, image, used=form.columns):
        one = rows.setdefault(row.photo, _Rows())
        one.size, known = _whole_size(row.size) or one.size, len(listing.problems)
        with listing.leaving_out(f"{source}, line {row.line}"):
            if not (numbers := form.numbers(row.cells)):
                one.label = row.category
                continue
            said = row.cells.get(sure or "")
            one.boxes.append((row.line, row.category, numbers, _confidence(said) if said else None))
        one.broken |= len(listing.problems) > known
    return rows, form


def _whole_size(size: tuple[str, str]) -> tuple[int, int] | None:
    """Return a size of two whole numbers; None for any other, which may be the size of a box."""
    if not all(side.isdecimal() and len(side) < 10 and int(side) for side in size):
        return None
    return int(size[0]), int(size[1])


def _confidence(text: str) -> float | None:
    try:
        return expect_confidence(float(text))
    except ValueError as error:
        raise BrokenEntry(f"expected a confidence in [0, 1], found {shown(text)}") from error


def _photo(name: str, rows: _Rows, form: _Form) -> MarkedPhoto:
    areas = [
        MarkedBox(category, partial(form.box, numbers), f"line {line}", sure, sides=form.sides and not form.centred)
        for line, category, numbers, sure in rows.boxes
    ]
    content = partial(json.dumps, [rows.boxes, rows.label])
    return MarkedPhoto(name, rows.size, areas, content, nothing=not rows.broken, label=rows.label)
