"""Label Studio: a JSON list of tasks, each with a photo and what people marked in it, in per cent of its sides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize, shown
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import load_json
from robustvit.masks.annotations.label_studio_tasks import (
    NEWEST,
    Result,
    Task,
    choose_annotation,
    is_label_studio,
    photo_name,
    read_results,
    read_tasks,
)
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry, expect_pixels
from robustvit.masks.annotations.packed import from_base64, png_values
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.run_lengths import decode_brush
from robustvit.masks.annotations.shapes import Frame, ellipse_mask, mark_box, points_of_shares
from robustvit.masks.annotations.values import expect_numbers

_Drawing = Callable[[dict, Frame], np.ndarray | Box]


def read_label_studio(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, which: str | None = None
) -> Annotations:
    """List the photos of an export of Label Studio, JSON or JSON-MIN; masks as ``read_annotations`` describes.

    Annotations that were cancelled, and predictions, are not used. Of several annotations of a photo, the one marked as
    ground truth counts; else ``which`` must be ``newest``, or the photo is left out and named.
    """
    if which not in (None, NEWEST):
        raise UserError(f"expected --which newest for Label Studio, got {shown(which)}")
    content = load_json(source)
    if not isinstance(content, list) or not is_label_studio(content):
        raise UserError(f"expected a JSON export of Label Studio in {source}, found something else: check the format")
    folder = PhotoFolder(images)
    listing = PhotoListing(source, orientation)
    marked: dict[str, MarkedPhoto] = {}
    tasks = read_tasks(content, listing.problems)
    for where, task in tasks.items():
        with listing.leaving_out(where):
            marked[where] = _photo(task, which, listing.no_areas)
    if cancelled := sum(task.cancelled for task in tasks.values()):
        listing.problems.append(f"{source}: {pluralize(cancelled, 'annotation')} that were cancelled are not used")
    if predicted := sum(task.predictions > 0 for task in tasks.values()):
        listing.problems.append(
            f"{source}: the predictions of {pluralize(predicted, 'task')} are not used: in Label Studio, make them "
            "annotations"
        )
    listing.match(marked, folder)
    return listing.finish(folder.folder)


def _photo(task: Task, which: str | None, no_areas: Counter[str]) -> MarkedPhoto:
    name, entries = photo_name(task), choose_annotation(task, which)
    areas: list[MarkedArea] = []
    size = None
    for number, result in enumerate(read_results(entries)):
        draw = next((draw for keys, draw in _DRAWN if keys <= set(result.value)), None)
        if draw is None:
            no_areas[result.kind] += 1
            continue
        size = result.size
        where = f"{result.kind} number {number}"
        areas += [MarkedArea(label, partial(_draw, draw, result), where) for label in result.labels or (None,)]
    return MarkedPhoto(name, size, areas, partial(json.dumps, entries), nothing=bool(task.annotations) and not entries)


def _draw(draw: _Drawing, result: Result, frame: Frame) -> np.ndarray | Box:
    if result.rotation not in (0, None):
        raise BrokenEntry(f"drawn on a photo turned by {shown(result.rotation)} degrees: turn it back and export again")
    return draw(result.value, frame)


def _in_pixels(frame: Frame, what: str, across: object, down: object) -> tuple[float, float]:
    x, y = expect_numbers(what, across, down)
    return x * frame.width / 100, y * frame.height / 100


def _polygon(value: dict, frame: Frame) -> np.ndarray:
    return frame.fill([points_of_shares(value["points"], frame, 100)])


def _rectangle(value: dict, frame: Frame) -> np.ndarray | Box:
    """A box, turned around its top left corner."""
    left, top = _in_pixels(frame, "a rectangle", value["x"], value["y"])
    across, down = _in_pixels(frame, "a rectangle", value["width"], value["height"])
    (degrees,) = expect_numbers("a rectangle", value.get("rotation") or 0)
    return mark_box(frame, Box(left, top, left + across, top + down), degrees, (left, top))


def _ellipse(value: dict, frame: Frame) -> np.ndarray:
    x, y = _in_pixels(frame, "an ellipse", value["x"], value["y"])
    radii = _in_pixels(frame, "an ellipse", value["radiusX"], value["radiusY"])
    (degrees,) = expect_numbers("an ellipse", value.get("rotation") or 0)
    return ellipse_mask(frame, x, y, radii, degrees)


def _brush(value: dict, frame: Frame) -> np.ndarray:
    return expect_pixels(decode_brush(value["rle"], frame.height, frame.width), "a drawing of brush strokes")


def _bitmask(value: dict, frame: Frame) -> np.ndarray:
    address = value["imageDataURL"]
    values = png_values(from_base64(address.partition(",")[2] if isinstance(address, str) else address))
    return frame.check(values > 0, "a mask")


_DRAWN: list[tuple[set[str], _Drawing]] = [
    ({"rle"}, _brush),
    ({"imageDataURL"}, _bitmask),
    ({"points"}, _polygon),
    ({"x", "y", "radiusX", "radiusY"}, _ellipse),
    ({"x", "y", "width", "height"}, _rectangle),
]
