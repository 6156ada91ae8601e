"""LabelMe: a JSON file for each photo with its shapes; rectangles are boxes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TypeGuard

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize, shown
from robustvit.data.file_finder import FileFinder
from robustvit.masks.annotations.boxes import as_confidence
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.json_files import read_json_files
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    AnnotatedPhoto,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    photo_with_objects,
)
from robustvit.masks.annotations.objects import Corners
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.other_formats import name_format
from robustvit.masks.annotations.outlines import Frame, as_rectangle, mask_tools, outline_points
from robustvit.masks.annotations.packed import from_base64, png_values
from robustvit.masks.annotations.shapes import place_mask

_FARTHEST = 1e6
# ``rotation`` and ``quadrilateral`` are X-AnyLabeling's, with four corners as ``oriented_rectangle``.
_AREAS = frozenset({"polygon", "rectangle", "circle", "mask", "oriented_rectangle", "rotation", "quadrilateral"})


def read_labelme(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of LabelMe files; masks as ``read_annotations`` describes.

    ``source`` is a JSON file or a folder of them. A photo is looked up beside its file first, then in ``images``.
    Shapes with the same label and group are one object. Pixels embedded in a file are not used.
    """
    mask_tools()
    problems: list[str] = []
    files = _read_files(source, problems)
    found = _find_photos(source, files, images, problems)
    photos: list[AnnotatedPhoto] = []
    labels: set[str] = set()
    empty: list[Path] = []
    for path, image in found.items():
        try:
            view = view_photo(image, _size(files[path]), orientation)
        except (BrokenEntry, UserError) as error:
            problems.append(f"{path}: {error}; left out")
            continue
        if objects := _objects(files[path]["shapes"], path, problems):
            labels |= {label for label, _ in objects}
            content = partial(json.dumps, files[path]["shapes"])
            photos.append(photo_with_objects(image, partial(_decode, path, view, objects), problems, view, content))
        elif not files[path]["shapes"]:
            empty.append(image)
    if empty:
        problems.append(f"{pluralize(len(empty), 'photo')} of {source} without a shape, the first is {empty[0]}")
    return Annotations(sorted(photos, key=lambda photo: photo.image), problems, tuple(sorted(labels)))


def _read_files(source: Path, problems: list[str]) -> dict[Path, dict]:
    """Return the content of the LabelMe files in a folder, or of one."""
    found = {}
    for path, content in read_json_files(source, "LabelMe", problems).items():
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            found[path] = content
            continue
        coco = isinstance(content, dict) and "annotations" in content
        other = "a COCO file (read it as coco)" if coco else name_format(content) or "none"
        problems.append(f"{path}: expected LabelMe with a list of shapes, found {other}; left out")
    return found


def _find_photos(source: Path, files: dict[Path, dict], images: Path | None, problems: list[str]) -> dict[Path, Path]:
    """Return the photo of each file: the one beside it, else the one that its path fits in ``images``."""
    root = source if source.is_dir() else source.parent
    finder = FileFinder()
    beside: dict[Path, Path] = {}
    wanted: dict[Path, str] = {}
    for path, content in files.items():
        name = content.get("imagePath")
        if not isinstance(name, str) or not name:
            problems.append(f"{path}: expected an imagePath, found {shown(name)}; left out")
            continue
        relative = name.replace("\\", "/")
        # a path from the root is one on the machine of whoever drew the outlines
        absolute = relative.startswith("/") or PureWindowsPath(relative).drive != ""
        place = Path(os.path.normpath(path.parent / relative))
        if not absolute and (photo := finder.find(place)) is not None and photo.is_file():
            beside[path] = photo
        else:
            wanted[path] = relative if absolute else os.path.relpath(place, root)
    found = dict(beside)
    if images is not None:
        found |= PhotoFolder(images).match(wanted, problems)
        wanted = {}
    for path, name in wanted.items():  # the file was moved beside its photo
        if (photo := finder.find(path.parent / name.rpartition("/")[2])) is not None and photo.is_file():
            found[path] = photo
            problems.append(f"{path}: {shown(name)} is taken for {photo.name} beside it")
        else:
            problems.append(f"{path}: no photo {shown(name)} beside it; name the folder of the photos, or leave it out")
    problems.extend(finder.notes)
    return _drop_shared(found, problems)


def _drop_shared(found: dict[Path, Path], problems: list[str]) -> dict[Path, Path]:
    """Leave out photos that several files describe: which one holds is unknown."""
    owners: dict[str, list[Path]] = defaultdict(list)
    for path, image in found.items():
        owners[os.path.realpath(image)].append(path)
    for paths in owners.values():
        if len(paths) > 1:
            named = " and ".join(map(str, paths))
            problems.append(f"{found[paths[0]]} is listed twice, by {named}: left out, which one holds is unknown")
    return {path: image for path, image in found.items() if len(owners[os.path.realpath(image)]) == 1}


def _size(content: dict) -> tuple[object, object] | None:
    said = content.get("imageHeight"), content.get("imageWidth")
    return None if said == (None, None) else said


def _objects(shapes: list, path: Path, problems: list[str]) -> list[tuple[str, list[tuple[int, dict]]]]:
    """Shapes, with their numbers, of each object, with its label."""
    objects: dict[tuple, list[tuple[int, dict]]] = defaultdict(list)
    for number, shape in enumerate(shapes):
        if not isinstance(shape, dict):
            problems.append(f"{path}: shape {number}: expected a shape, found {shown(shape)}; left out")
            continue
        label, group = shape.get("label"), shape.get("group_id")
        if not isinstance(label, str) or not label:
            problems.append(f"{path}: shape {number}: expected a label, found {shown(label)}; left out")
            continue
        alone = group is None or not isinstance(group, (int, str))
        objects[(label, "alone", number) if alone else (label, "group", group)].append((number, shape))
    return [(key[0], members) for key, members in objects.items()]


def _decode(
    path: Path, view: View, objects: list[tuple[str, list[tuple[int, dict]]]], complaints: list[str]
) -> list[MarkedObject]:
    frame = Frame(*view.size)
    found: list[MarkedObject] = []
    for label, shapes in objects:
        mask: np.ndarray | None = None
        for number, shape in shapes:
            where = f"{path}: shape {number} ({shown(label)})"
            try:
                if shape.get("shape_type") == "rectangle" and (corners := _corners(shape.get("points"))):
                    found.append(BoxedObject(label, corners, where, confidence=as_confidence(shape.get("score"))))
                    continue
                part = _shape_mask(shape, frame)
            except BrokenEntry as error:
                complaints.append(f"{where}: {error}; left out")
            else:
                mask = part if mask is None else np.maximum(mask, part)
        if mask is not None:
            found.append(AnnotatedObject(label, mask))
    if complaint := frame.complaint():
        complaints.append(f"{path}: {complaint}")
    return found


def _corners(points: object) -> Corners | None:
    """Corners of a rectangle, stored as two opposite ones or as all four; None if it is not upright."""
    if not _are_pairs(points) or len(points) not in (2, 4):
        raise BrokenEntry("expected a rectangle of points [[x, y], ...], 2 or 4, found something else")
    numbers = _numbers(points, len(points))
    across, down = numbers[::2], numbers[1::2]
    if len(points) == 4 and not as_rectangle(np.array(numbers).reshape(-1, 2)):
        return None
    return min(across), min(down), max(across), max(down)


def _are_pairs(points: object) -> TypeGuard[list[list]]:
    return isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points)


def _shape_mask(shape: dict, frame: Frame) -> np.ndarray:
    kind = shape.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in _AREAS:
        raise BrokenEntry(f"a shape of type {shown(kind)} is not an area")
    points = shape.get("points")
    if not _are_pairs(points):
        raise BrokenEntry("expected points [[x, y], ...], found something else")
    if kind == "mask":
        return _paste(shape.get("mask"), points, frame)
    if kind == "circle":
        return _circle(points, frame)
    return frame.fill([outline_points([number for point in points for number in point])])


def _numbers(points: list, count: int) -> list[float]:
    """Coordinates of a shape that needs ``count`` points, as floats within reach of any photo."""
    numbers = [number for point in points[:count] for number in point]
    if len(numbers) < 2 * count or not all(type(number) in (int, float) for number in numbers):
        raise BrokenEntry(f"expected {count} points of two numbers each, found something else")
    if not all(-_FARTHEST <= number <= _FARTHEST for number in numbers):
        raise BrokenEntry("a point that is NaN, infinite or far from the photo")
    return [float(number) for number in numbers]


def _circle(points: list, frame: Frame) -> np.ndarray:
    x, y, rim_x, rim_y = _numbers(points, 2)
    rows = np.arange(frame.height)[:, None] + 0.5 - y
    columns = np.arange(frame.width)[None, :] + 0.5 - x
    mask = (rows**2 + columns**2 <= (rim_x - x) ** 2 + (rim_y - y) ** 2).astype(np.float32)
    if not mask.any():
        raise BrokenEntry("a circle that covers no pixel of the photo")
    return mask


def _paste(text: object, points: list, frame: Frame) -> np.ndarray:
    """A mask that the file holds as an image of the object's box, whose top left pixel is the first point."""
    left, top = (round(number) for number in _numbers(points, 1))
    return place_mask(frame, png_values(from_base64(text)) > 0, left, top)
