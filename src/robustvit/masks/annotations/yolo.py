"""YOLO: a text file for each photo, a line for each object, its class and the points of its outline in [0, 1]."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.photo_tree import files_below
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.category_names import ClassNames, read_class_names, read_yaml
from robustvit.masks.annotations.key_points import begins_with_box, hold_key_points, is_no_outline
from robustvit.masks.annotations.listing import AnnotatedObject, Annotations, PhotoFolder, photo_with_objects
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.outlines import Frame, mask_tools, outline_points

_NO_LABELS = frozenset({"classes.txt", "obj.names.txt", "requirements.txt"})
_TOLERANCE = 1e-6
_BOX_NUMBERS = 4  # centre, width and height, where an outline has six at least
_MOST_CLASSES = 1e9
_FAR = 1e6
_SHOWN = 5
_NAMELESS = "put their names into a classes.txt"


class _Line(NamedTuple):
    number: int
    category: int
    values: list[float]  # x and y of each point, in shares of width and height


def read_yolo(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos that have outlines in a YOLO data set; masks as ``read_annotations`` describes.

    ``source`` is a folder of label files, one that holds ``labels`` folders (also ``train/labels``, ``valid/labels``),
    or its ``data.yaml``. Photos are looked up in ``images``, else in the folders ``images`` beside ``labels``. Class
    names come from ``data.yaml`` or ``classes.txt`` in ``source`` or beside it, else a class is named by its number,
    and ``advice`` says what to do. An empty label file means that there is no object.

    Raises:
        UserError: nothing to read there, or key points in place of outlines.
    """
    mask_tools()
    root = yolo_root(source)
    problems: list[str] = []
    files = _label_files(root, problems)
    folder = PhotoFolder(images or yolo_photos(root))
    names = read_class_names([source, root / "labels", root, root.parent], problems)
    lines = {path: _read_lines(path, names, problems) for path in files}
    _refuse_key_points(lines, names, root)
    found = folder.match(files, problems, stem_only=True)
    folder.report_lacking(found, "labels", problems)
    photos = []
    for path, image in found.items():
        outlines = _outlines(path, lines[path], problems)
        try:
            view = view_photo(image, None, orientation)
        except UserError as error:
            problems.append(f"{path}: {error}")
            continue
        if outlines:
            decode = partial(_decode, path, view, outlines, names.by_number)
            content = partial(_content, lines[path], names.by_number)
            photos.append(photo_with_objects(image, decode, problems, view, content))
    used = {line.category for path in found for line in lines[path]}
    named, advice = _name_classes(names.by_number, used, root, problems)
    return Annotations(sorted(photos, key=lambda photo: photo.image), problems, named, advice)


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


def is_settings(path: Path) -> bool:
    """Whether a path is that of a YAML file."""
    return path.suffix.lower() in (".yaml", ".yml") and path.is_file()


def yolo_root(source: Path) -> Path:
    """Return the folder of a data set that is named by itself or by its YAML file, which may name it as ``path``."""
    if source.is_dir():
        return source
    if is_settings(source):
        named = read_yaml(source, []).get("path")
        root = source.parent / named if isinstance(named, str) else source.parent
        return root if root.is_dir() else source.parent
    found = "a file" if source.is_file() else "none"
    raise UserError(
        f"expected a folder of YOLO label files or a data.yaml, found {found} at {source}: check the path and format"
    )


def yolo_photos(root: Path) -> Path:
    """Return the folder of the photos of a data set: ``images`` in it, else the data set itself."""
    return root / "images" if (root / "images").is_dir() else root


def _label_files(root: Path, problems: list[str]) -> dict[Path, str]:
    """Label files, each with its path in the data set without the folder ``labels`` and the suffix."""
    found: dict[Path, str] = {}
    places = files_below(root, {".txt"})
    in_labels = {place: path for place, path in places.items() if "labels" in place.split("/")[:-1]}
    for place, path in (in_labels or places).items():
        name = path.name.lower()
        if name not in _NO_LABELS and (in_labels or not name.startswith("readme")):
            parts = place.removesuffix(path.suffix).split("/")
            found[path] = "/".join([*(part for part in parts[:-1] if part != "labels"), parts[-1]])
    if not found:
        labels = root.parent / "labels"
        fix = f"name {root.parent}" if labels.is_dir() else "check the path and the format"
        raise UserError(f"expected YOLO label files (.txt) in {root}, found none: {fix}")
    splits = sorted({place.split("/")[0] for place in in_labels if place.split("/")[0] != "labels"})
    if len(splits) > 1:
        one = root / ("train" if "train" in splits else splits[0])
        problems.append(f"{root}: all of {', '.join(splits)} are read; name {one} to read that part alone")
    return found


def _refuse_key_points(lines: dict[Path, list[_Line]], names: ClassNames, root: Path) -> None:
    every = [line.values for some in lines.values() for line in some]
    reason = f"{names.key_points} has kpt_shape" if names.key_points else "each line is a box and the points in it"
    if names.key_points or hold_key_points(every):
        raise UserError(
            f"expected outlines of objects in {root}, found key points, as of YOLO pose ({reason}): use labels of a "
            "segmentation data set"
        )


def _read_lines(path: Path, names: ClassNames, problems: list[str]) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{path}: expected text, found bytes that are none; left out")
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


def _outlines(path: Path, lines: list[_Line], problems: list[str]) -> list[tuple[_Line, np.ndarray]]:
    outlines = []
    for line in lines:
        try:
            points = _points(line.values)
        except BrokenEntry as error:
            problems.append(f"{path} line {line.number}: {error}; left out")
            continue
        outside = ((points < -_TOLERANCE) | (points > 1 + _TOLERANCE)).any(axis=1)
        if outside.any():
            problems.append(
                f"{path} line {line.number}: polygon outside the frame: {outside.sum()} of {len(points)} points are "
                "not in [0, 1], cut off at the edge"
            )
        outlines.append((line, points))
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


def _numbers(words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BrokenEntry("expected numbers after the class, found other text") from error


def _points(values: list[float]) -> np.ndarray:
    if len(values) == _BOX_NUMBERS:
        raise BrokenEntry("a box, not an outline")
    points = outline_points(values)
    if begins_with_box(values) and is_no_outline(values):
        raise BrokenEntry("a box and key points, not an outline")
    return points


def _content(lines: list[_Line], names: dict[int, str]) -> str:
    return repr([(names.get(line.category), line.category, line.values) for line in lines])


def _decode(
    path: Path, view: View, outlines: list[tuple[_Line, np.ndarray]], names: dict[int, str], complaints: list[str]
) -> list[AnnotatedObject]:
    frame = Frame(*view.size)
    objects = []
    for line, shares in outlines:
        try:
            mask = frame.fill([shares.clip(-_FAR, _FAR) * (frame.width, frame.height)])
        except BrokenEntry as error:
            complaints.append(f"{path} line {line.number}: {error}; left out")
        else:
            objects.append(AnnotatedObject(names.get(line.category, str(line.category)), mask))
    return objects
