"""YOLO: a text file for each photo, a line for each object, its class and its outline or box in [0, 1]."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.masks.annotations.boxes import corners_of, doubt_units
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.category_names import YoloNames, read_class_names
from robustvit.masks.annotations.key_points import begins_with_box, hold_key_points, is_no_outline
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    photo_with_objects,
)
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.outlines import Frame, as_rectangle, mask_tools, outline_points
from robustvit.masks.annotations.yolo_boxes import as_box, hold_tracks
from robustvit.masks.annotations.yolo_folder import label_files, yolo_photos, yolo_root

_TOLERANCE = 1e-6
_BOX, _CORNERS = 4, 8  # numbers of a box and of an oriented box
_MOST_CLASSES = 1e9
_FAR = 1e6
_SHOWN = 5
_NAMELESS = "put their names into a classes.txt"


class _Line(NamedTuple):
    number: int
    category: int
    values: list[float]  # x and y of each point, in shares of width and height


_Marked = tuple[_Line, np.ndarray] | BoxedObject


def read_yolo(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos that a YOLO data set labels with outlines or boxes; masks as ``read_annotations`` describes.

    ``source`` is a folder of label files, one that holds ``labels`` folders (also ``train/labels``, ``valid/labels``),
    or its ``data.yaml``. Photos are looked up in ``images``, else in the folders ``images`` beside ``labels``. Class
    names come from ``data.yaml`` or ``classes.txt`` in ``source`` or beside it, else a class is named by its number,
    and ``advice`` says what to do. An empty label file means that there is no object. Lines of eight numbers, oriented
    boxes, are outlines of four points.
    """
    mask_tools()
    root = yolo_root(source)
    problems: list[str] = []
    files = label_files(root, problems)
    folder = PhotoFolder(images or yolo_photos(root))
    names = read_class_names([source, root / "labels", root, root.parent], problems)
    lines, blank = _read_files(files, names, problems)
    numbers = [line.values for some in lines.values() for line in some]
    doubts = _doubt(numbers, names, root)
    tracked, posed = hold_tracks(numbers), "asked" in doubts
    found = folder.match(files, problems, stem_only=True)
    folder.report_lacking(found, "labels", problems)
    photos = []
    for path, image in found.items():
        marked = _mark(path, lines[path], names.by_number, tracked, posed, problems)
        try:
            view = view_photo(image, None, orientation)
        except UserError as error:
            problems.append(f"{path}: {error}")
            continue
        if marked or path in blank:
            decode = partial(_decode, path, view, marked, names.by_number)
            content = partial(_content, lines[path], names.by_number)
            photos.append(photo_with_objects(image, decode, problems, view, content))
    used = {line.category for path in found for line in lines[path]}
    named, advice = _name_classes(names.by_number, used, root, problems)
    if _are_oriented(numbers):
        problems.append(f"{root}: all outlines have four corners, as oriented boxes do; they are filled as drawn")
    return Annotations(sorted(photos, key=lambda photo: photo.image), problems, named, advice, doubts=doubts)


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
    advice = f"{_NAMELESS} in {root}, one a line, in the order of their numbers"
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    problems.append(f"{root}: the classes have no names but {', '.join(named[:_SHOWN])}{more}; {advice}")
    return named, advice


def _doubt(lines: list[list[float]], names: YoloNames, root: Path) -> dict[str, str]:
    """Questions about key points, and about boxes in pixels; see ``Annotations``."""
    if names.key_points or hold_key_points(lines):
        reason = f"{names.key_points} has kpt_shape" if names.key_points else "each line is a box and the points in it"
        question = (
            f"expected outlines or boxes of objects in {root}, found key points, as of YOLO pose ({reason}): say "
            "--boxes ellipse to use their boxes alone, or use labels of a segmentation data set"
        )
        return {"asked": question}
    boxes = [corners_of(line[:_BOX], centred=True) for line in lines if _BOX <= len(line) < _BOX + 2]
    doubt = doubt_units(boxes, "shares", root)
    return {"units": doubt} if doubt else {}


def _read_files(
    files: Collection[Path], names: YoloNames, problems: list[str]
) -> tuple[dict[Path, list[_Line]], set[Path]]:
    """The usable lines of label files, and the files that say that there is no object."""
    lines: dict[Path, list[_Line]] = {}
    blank: set[Path] = set()
    for path in files:
        known = len(problems)
        lines[path] = _read_lines(path, names, problems)
        blank |= {path} if not lines[path] and len(problems) == known else set()
    return lines, blank


def _read_lines(path: Path, names: YoloNames, problems: list[str]) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{path}: expected text, found other bytes; left out")
        return []
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); left out")
        return []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words:
            continue
        try:
            category, values = _category(words[0], names.by_number), _numbers(words[1:])
        except BrokenEntry as error:
            problems.append(f"{path} line {number}: {error}; left out")
        else:
            lines.append(_Line(number, category, values))
    return lines


def _mark(
    path: Path, lines: list[_Line], names: dict[int, str], tracked: bool, posed: bool, problems: list[str]
) -> list[_Marked]:
    """The outline of each line, or its box; ``posed`` lines have key points after the box."""
    marked: list[_Marked] = []
    for line in lines:
        where = f"{path} line {line.number}"
        try:
            if found := as_box(line.values[:4] if posed else line.values, tracked):
                name = names.get(line.category, str(line.category))
                marked.append(BoxedObject(name, found[0], where, "shares", found[1]))
                continue
            points = _points(line.values)
        except BrokenEntry as error:
            problems.append(f"{where}: {error}; left out")
            continue
        outside = ((points < -_TOLERANCE) | (points > 1 + _TOLERANCE)).any(axis=1)
        if outside.any():
            problems.append(
                f"{where}: polygon outside the frame: {outside.sum()} of {len(points)} points are not in [0, 1], cut "
                "off at the edge"
            )
        marked.append((line, points))
    return marked


def _category(word: str, names: dict[int, str]) -> int:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not (0 <= value < _MOST_CLASSES and value.is_integer()):
        raise BrokenEntry(f"expected the number of a class, found {shown(word)}")
    if names and int(value) not in names:
        raise BrokenEntry(f"class {int(value)} has no name among the {len(names)} of the data set")
    return int(value)


def _numbers(words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BrokenEntry("expected numbers after the class, found other text") from error


def _points(values: list[float]) -> np.ndarray:
    points = outline_points(values)
    if begins_with_box(values) and is_no_outline(values):
        raise BrokenEntry("a box and key points, not an outline")
    return points


def _content(lines: list[_Line], names: dict[int, str]) -> str:
    return repr([(names.get(line.category), line.category, line.values) for line in lines])


def _decode(
    path: Path, view: View, marked: list[_Marked], names: dict[int, str], complaints: list[str]
) -> list[MarkedObject]:
    frame = Frame(*view.size)
    objects: list[MarkedObject] = []
    for one in marked:
        if isinstance(one, BoxedObject):
            objects.append(one)
            continue
        line, shares = one
        points = shares.clip(-_FAR, _FAR) * (frame.width, frame.height)
        try:
            mask = frame.fill([points])
        except BrokenEntry as error:
            complaints.append(f"{path} line {line.number}: {error}; left out")
        else:
            name = names.get(line.category, str(line.category))
            objects.append(AnnotatedObject(name, mask, as_rectangle(points)))
    return objects
