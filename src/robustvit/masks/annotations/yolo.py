"""YOLO: a text file for each photo, a line for each object, its class and its outline or box in [0, 1]."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from robustvit.common.options import Orientation
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.category_names import YoloNames, read_class_names
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedBox, MarkedPhoto
from robustvit.masks.annotations.objects import BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder, find_photos_inside
from robustvit.masks.annotations.shapes import as_rectangle, outline_points, points_of_shares
from robustvit.masks.annotations.yolo_folder import label_files, yolo_root
from robustvit.masks.annotations.yolo_lines import (
    YoloLine,
    as_box,
    begins_with_box,
    hold_key_points,
    hold_tracks,
    is_no_outline,
    read_lines,
)

_BOX, _CORNERS = 4, 8  # numbers of a box and of an oriented box
_SHOWN = 5


def read_yolo(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos that a YOLO data set labels with outlines or boxes; masks as ``read_annotations`` describes.

    ``source`` is a folder of label files, one that holds ``labels`` folders (also ``train/labels``, ``valid/labels``),
    or its ``data.yaml``. Photos are looked up in ``images``, else in the folders ``images`` beside ``labels``. Class
    names come from ``data.yaml`` or ``classes.txt`` in ``source`` or beside it, else a class is named by its number,
    and ``advice`` says what to do. An empty label file means that there is no object. Lines of eight numbers, oriented
    boxes, are outlines of four points.
    """
    root = yolo_root(source)
    listing = PhotoListing(root, orientation)
    files = label_files(root, listing.problems)
    folder = PhotoFolder(images or find_photos_inside(root))
    names = read_class_names([source, root / "labels", root, root.parent], listing.problems)
    lines, blank = read_lines(files, names.by_number, listing.problems)
    numbers = [line.values for some in lines.values() for line in some]
    doubts = _question_key_points(numbers, names, root)
    tracked, posed = hold_tracks(numbers), bool(doubts)
    found = folder.match(files, listing.problems, stem_only=True)
    folder.report_lacking(found, "labels", listing.problems)
    marked: dict[Path, MarkedPhoto] = {}
    for path in found:
        areas: list[MarkedArea | MarkedBox] = []
        for line in lines[path]:
            with listing.leaving_out(f"{path}: line {line.number}"):
                areas.append(_area(line, names.by_number, tracked, posed))
        content = partial(_content, lines[path], names.by_number)
        marked[path] = MarkedPhoto(files[path], None, areas, content, nothing=path in blank, where=str(path))
    listing.add(marked, found)
    used = {line.category for path in found for line in lines[path]}
    named, advice = _name_classes(names.by_number, used, root, listing.problems)
    if _are_oriented(numbers):
        note = "all outlines have four corners, as oriented boxes do; they are filled as drawn"
        listing.problems.append(f"{root}: {note}")
    listed = listing.finish(folder.folder, named)
    return replace(listed, advice=advice, doubts={**doubts, **listed.doubts})


def _are_oriented(lines: list[list[float]]) -> bool:
    """Whether all lines have four corners, and are not all upright rectangles."""
    return {len(line) for line in lines} == {_CORNERS} and not all(
        as_rectangle(np.array(line).reshape(-1, 2)) for line in lines
    )


def _name_classes(
    names: dict[int, str], used: Collection[int], root: Path, problems: list[str]
) -> tuple[tuple[str, ...], str]:
    """Return the names of the classes, else their numbers with advice on naming them."""
    named = tuple(dict.fromkeys(names.values() or map(str, sorted(used))))
    if names or not used:
        return named, ""
    advice = f"put their names into a classes.txt in {root}, one a line, in the order of their numbers"
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    problems.append(f"{root}: the classes have no names but {', '.join(named[:_SHOWN])}{more}; {advice}")
    return named, advice


def _question_key_points(lines: list[list[float]], names: YoloNames, root: Path) -> dict[str, str]:
    """Return a question if the labels are key points; see ``Annotations.doubts``."""
    if not names.key_points and not hold_key_points(lines):
        return {}
    reason = f"{names.key_points} has kpt_shape" if names.key_points else "each line is a box and the points in it"
    question = (
        f"expected outlines or boxes of objects in {root}, found key points, as of YOLO pose ({reason}): say "
        "--boxes ellipse to use their boxes alone, or use labels of a segmentation data set"
    )
    return {"asked": question}


def _area(line: YoloLine, names: Mapping[int, str], tracked: bool, posed: bool) -> MarkedArea | MarkedBox:
    """The outline or box of a line; ``posed`` lines have key points after the box."""
    name, where = names.get(line.category, str(line.category)), f"line {line.number}"
    if found := as_box(line.values[:_BOX] if posed else line.values, tracked):
        box, confidence = found
        return MarkedBox(name, lambda: box, where, confidence, "shares")
    outline_points(line.values)  # broken outlines are named at once
    if begins_with_box(line.values) and is_no_outline(line.values):
        raise BrokenEntry("a box and key points, not an outline")
    return MarkedArea(name, lambda frame: frame.outline(points_of_shares(line.values, frame, 1)), where)


def _content(lines: Sequence[YoloLine], names: Mapping[int, str]) -> str:
    return repr([(names.get(line.category), line.category, line.values) for line in lines])
