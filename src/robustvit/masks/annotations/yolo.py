"""YOLO: a text file for each photo, a line for each object, its class and the points of its outline in [0, 1]."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.wording import pluralize
from robustvit.data.photo_tree import files_below
from robustvit.masks.annotations.category_names import read_class_names
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    AnnotatedPhoto,
    Annotations,
    BrokenEntry,
    Claims,
    PhotoFolder,
    photo_with_objects,
    shown,
    upright_size,
)
from robustvit.masks.annotations.outlines import Frame, mask_tools, outline_points

_NO_LABELS = ("classes.txt", "obj.names.txt", "requirements.txt")
_TOLERANCE = 1e-6
_BOX_NUMBERS = 4  # centre, width and height, where an outline has six at least
_MOST_CLASSES = 1e9
_FAR = 1e6
_SHOWN = 5
_NAMELESS = "put their names into a classes.txt"


class _Outline(NamedTuple):
    line: int
    category: int
    points: np.ndarray  # (N, 2), in shares of width and height


def read_yolo(source: Path, images: Path | None) -> Annotations:
    """List the photos that have outlines in a YOLO data set; masks as ``read_annotations`` describes.

    ``source`` is the folder of label files or one that holds ``labels``. Class names come from ``data.yaml`` or
    ``classes.txt`` in it or beside it, else a class is named by its number, and ``advice`` says what to do. An empty
    label file means that there is no object.
    """
    mask_tools()
    root = expect_folder(source, "YOLO label files")
    labels = root / "labels" if (root / "labels").is_dir() else root
    if images is None and (root / "images").is_dir():
        images = root / "images"
    folder = PhotoFolder(images)
    files = {place: path for place, path in files_below(labels, {".txt"}).items() if path.name not in _NO_LABELS}
    if not files:
        raise UserError(f"expected YOLO label files (.txt) in {labels}, found none: check the path and the format")
    problems: list[str] = []
    names = read_class_names([labels, root, root.parent], problems)
    photos, used = _photos(files, folder, names, problems)
    named = tuple(dict.fromkeys(names.values() if names else (str(number) for number in sorted(used))))
    advice = "" if names or not used else f"{_NAMELESS} in {root}, one a line, in the order of their numbers"
    if advice:
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        problems.append(f"{labels}: the classes have no names but {', '.join(named[:_SHOWN])}{more}; {advice}")
    return Annotations(sorted(photos, key=lambda photo: photo.image), problems, named, advice)


def _photos(
    files: dict[str, Path], folder: PhotoFolder, names: dict[int, str], problems: list[str]
) -> tuple[list[AnnotatedPhoto], set[int]]:
    photos: list[AnnotatedPhoto] = []
    used: set[int] = set()
    claims = Claims()
    for place, path in files.items():
        try:
            image = folder.matching(place.removesuffix(path.suffix))
            claims.take(image, str(path))
            outlines = _outlines(path, names, problems)
        except (BrokenEntry, UserError) as error:
            problems.append(f"{path}: {error}")
            continue
        used |= {outline.category for outline in outlines}
        if outlines:
            photos.append(photo_with_objects(image, partial(_decode, path, image, outlines, names), problems))
    if lacking := [image for image in folder.photos.values() if image not in claims]:
        problems.append(f"{pluralize(len(lacking), 'photo')} without labels, the first is {lacking[0]}")
    return photos, used


def _outlines(path: Path, names: dict[int, str], problems: list[str]) -> list[_Outline]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BrokenEntry("expected text, found bytes that are none; left out") from error
    except OSError as error:
        raise BrokenEntry(f"cannot be read ({error.strerror}); left out") from error
    outlines = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            category, points = _category(words[0], names), _points(words[1:])
        except BrokenEntry as error:
            problems.append(f"{path} line {number}: {error}; left out")
            continue
        outside = ((points < -_TOLERANCE) | (points > 1 + _TOLERANCE)).any(axis=1)
        if outside.any():
            problems.append(
                f"{path} line {number}: polygon outside the frame: {outside.sum()} of {len(points)} points are not "
                "in [0, 1], cut off at the edge"
            )
        outlines.append(_Outline(number, category, points))
    return outlines


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


def _points(words: list[str]) -> np.ndarray:
    if len(words) == _BOX_NUMBERS:
        raise BrokenEntry("a box, not an outline")
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise BrokenEntry("expected numbers after the class, found other text") from error
    return outline_points(numbers)


def _decode(
    path: Path, image: Path, outlines: list[_Outline], names: dict[int, str], complaints: list[str]
) -> list[AnnotatedObject]:
    frame = Frame(*upright_size(image))
    objects = []
    for number, category, shares in outlines:
        try:
            mask = frame.fill([shares.clip(-_FAR, _FAR) * (frame.width, frame.height)])
        except BrokenEntry as error:
            complaints.append(f"{path} line {number}: {error}; left out")
        else:
            objects.append(AnnotatedObject(names.get(category, str(category)), mask))
    return objects
