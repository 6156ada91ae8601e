"""Kaggle's lists of run lengths: a CSV with a photo and the runs of an object in each row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from robustvit.common.csv_files import CsvTable
from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.tables.columns import IMAGE_COLUMNS, LABEL_COLUMNS, find_column
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.csv_rows import iterate_rows, read_list
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import BrokenEntry, expect_pixels
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import Frame

RUN_COLUMNS = (
    "encoded_pixels", "rle_mask", "mask_rle", "rle", "encoding", "run_lengths", "run_length", "segmentation",
    "annotation", "mask",
)  # fmt: skip
_JOINED = ("image_id_class_id", "image_class_id", "image_label", "image_id_class")  # a.jpg_1 is class 1 of a.jpg
_NOTHING = frozenset({"", "-1", "-", "nan"})
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
_LOOKED_AT = 32  # photos, to tell the direction of the runs
_CLEARLY = 2  # times as many edges


@dataclass
class _Rows:
    """The rows of a photo."""

    runs: list[tuple[int, str | None, str]] = field(default_factory=list)  # line, class, runs; none means no object
    size: tuple[str, str] | None = None


def read_kaggle(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, by_rows: bool = False
) -> Annotations:
    """List the photos of a CSV of run lengths; masks as ``read_annotations`` describes.

    Cells hold pairs of a start, counted from 1, and a length. They run down the columns, as ``EncodedPixels`` do; with
    ``by_rows`` along the rows. Rows without runs mark no object. Names of photos may lack their endings. Photos are
    looked up in ``images``, else beside the file.
    """
    table = read_list(source, "run lengths")
    rows = _group(table, source)
    folder = PhotoFolder.find(images, source.parent)
    listing = PhotoListing(source, orientation)
    names = listing.match({name: _photo(name, one, by_rows) for name, one in rows.items()}, folder)
    found = listing.finish(folder.folder)
    sample = {photo.image: photo.view.size for photo in found.photos[:: -(-len(found.photos) // _LOOKED_AT) or 1]}
    _check_direction([(rows[name], sample[image]) for name, image in names.items() if image in sample], by_rows, source)
    return found


def is_kaggle(source: Path) -> bool:
    """Whether a list has columns of photos and run lengths; where the column's name says little, its cells decide."""
    table = read_list(source, "run lengths")
    runs = find_column(table.columns, RUN_COLUMNS)
    if find_column(table.columns, (*IMAGE_COLUMNS, *_JOINED)) is None or runs is None:
        return False
    if find_column(table.columns, RUN_COLUMNS[:-3]):
        return True
    cells = [(row.get(runs) or "").strip() for row in table.rows]
    full = [cell for cell in cells if cell.lower() not in _NOTHING]
    return bool(full) and all(_RUNS.fullmatch(cell) for cell in full[:_LOOKED_AT])


def _group(table: CsvTable, source: Path) -> dict[str, _Rows]:
    """The rows of each photo, by its name."""
    joined = find_column(table.columns, _JOINED)
    image, runs = joined or find_column(table.columns, IMAGE_COLUMNS), find_column(table.columns, RUN_COLUMNS)
    if image is None or runs is None:
        found = ", ".join(map(repr, table.columns))
        raise UserError(
            f"expected columns ImageId and EncodedPixels in {source}, found {found}: name them so, or check the format"
        )
    rows: dict[str, _Rows] = {}
    for row in iterate_rows(table, source, image, (*LABEL_COLUMNS, "cell_type", "organ")):
        name, category = row.photo, row.category
        if joined is not None:
            name, _, category = name.rpartition("_")
        if not name:
            raise UserError(
                f"{source}, line {row.line}: expected the name of a photo and a class, such as a.jpg_1, found "
                f"{shown(row.photo)}: correct it"
            )
        one = rows.setdefault(name, _Rows())
        if row.cells[runs].lower() not in _NOTHING:
            one.runs.append((row.line, category or None, row.cells[runs]))
        one.size = row.size if all(row.size) else one.size
    return rows


def _photo(name: str, rows: _Rows, by_rows: bool) -> MarkedPhoto:
    areas = [
        MarkedArea(category, partial(_draw, text, by_rows=by_rows), f"line {line}")
        for line, category, text in rows.runs
    ]
    return MarkedPhoto(name, rows.size, areas, partial(repr, [by_rows, *rows.runs]), nothing=True)


def _draw(text: str, frame: Frame, by_rows: bool) -> np.ndarray:
    return expect_pixels(decode_runs(text, frame.height, frame.width, by_rows).astype(np.float32), "a list of runs")


def decode_runs(text: str, height: int, width: int, by_rows: bool = False) -> np.ndarray:
    """Return the mask ``(height, width)`` of type bool of pairs of a start, from 1, and a length."""
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise BrokenEntry("runs that are not whole numbers with spaces between them") from error
    if len(numbers) % 2:
        raise BrokenEntry(f"an odd number of numbers ({len(numbers)}), expected pairs of a start and a length")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if (starts < 0).any() or (lengths < 1).any():
        raise BrokenEntry("a run that starts before pixel 1 or has no length")
    if (lengths > height * width).any() or (starts > height * width - lengths).any():
        raise BrokenEntry(f"a run beyond the last pixel, {height} x {width} = {height * width}")
    if (starts[1:] < starts[:-1] + lengths[:-1]).any():
        raise BrokenEntry("runs that overlap or go back, as where starts count from the end of the run before")
    changes = np.zeros(height * width + 1, np.int8)
    changes[starts] += 1
    changes[starts + lengths] -= 1
    inside = changes[:-1].cumsum(dtype=np.int8).astype(bool)
    return inside.reshape(height, width) if by_rows else inside.reshape(width, height).T


def _check_direction(sample: list[tuple[_Rows, tuple[int, int]]], by_rows: bool, source: Path) -> None:
    """Refuse runs that give masks in pieces, if they give whole ones in the other direction."""
    edges = {True: 0, False: 0}
    for rows, size in sample:
        for _, _, text in rows.runs:
            try:
                for way in edges:
                    edges[way] += _count_edges(decode_runs(text, *size, way))
            except BrokenEntry:
                continue
    if edges[by_rows] > _CLEARLY * edges[not by_rows]:
        found, other = ("rows", "kaggle") if by_rows else ("columns", "kaggle-rows")
        raise UserError(
            f"the masks in {source} break into pieces if runs go along {found}: {edges[by_rows]:,} edges of pixels, "
            f"where the other direction has {edges[not by_rows]:,}; say --from {other}"
        )


def _count_edges(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
