"""LabelMe: a JSON file for each photo with its shapes; rectangles are boxes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TypeGuard

import numpy as np

from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.file_finder import FileFinder
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import read_json_files
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry, expect_pixels
from robustvit.masks.annotations.packed import from_base64, png_values
from robustvit.masks.annotations.photo_folder import PhotoFolder, find_photos_inside
from robustvit.masks.annotations.shapes import Frame, as_rectangle, outline_points, place_mask
from robustvit.masks.annotations.values import expect_numbers, holds

# ``rotation`` and ``quadrilateral`` are X-AnyLabeling's, with four corners as ``oriented_rectangle``.
_AREAS = frozenset({"polygon", "rectangle", "circle", "mask", "oriented_rectangle", "rotation", "quadrilateral"})


def read_labelme(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of LabelMe files; masks as ``read_annotations`` describes.

    ``source`` is a JSON file or a folder of them. A photo is looked up beside its file first, then in ``images``.
    Shapes with the same label and group are one object. Pixels embedded in a file are not used.
    """
    listing = PhotoListing(source, orientation)
    files = dict(read_json_files(source, "LabelMe", "a list of shapes", is_labelme, listing.problems))
    found = _find_photos(source, files, images, listing.problems)
    listing.add({path: _photo(path, files[path], listing) for path in found}, found)
    return listing.finish(images or (find_photos_inside(source) if source.is_dir() else None))


def is_labelme(content: object) -> bool:
    """Whether a JSON value is LabelMe's annotation of a photo."""
    return holds(content, shapes=list)


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
    """Leave out photos that several files describe, since it is unknown which of them is right."""
    owners: dict[str, list[Path]] = defaultdict(list)
    for path, image in found.items():
        owners[os.path.realpath(image)].append(path)
    for paths in owners.values():
        if len(paths) > 1:
            named = " and ".join(map(str, paths))
            problems.append(
                f"{found[paths[0]]} is listed twice, by {named}: left out, since it is unknown which of them is right"
            )
    return {path: image for path, image in found.items() if len(owners[os.path.realpath(image)]) == 1}


def _photo(path: Path, content: dict, listing: PhotoListing) -> MarkedPhoto:
    areas = []
    for number, shape in enumerate(content["shapes"]):
        with listing.leaving_out(f"{path}: shape {number}"):
            areas.append(_area(number, shape))
    size = content.get("imageHeight"), content.get("imageWidth")
    return MarkedPhoto(str(path), size, areas, partial(json.dumps, content["shapes"]), where=str(path))


def _area(number: int, shape: object) -> MarkedArea:
    if not isinstance(shape, dict):
        raise BrokenEntry(f"expected a shape, found {shown(shape)}")
    label, group = shape.get("label"), shape.get("group_id")
    if not isinstance(label, str) or not label:
        raise BrokenEntry(f"expected a label, found {shown(label)}")
    return MarkedArea(
        label,
        partial(_draw, shape),
        f"shape {number} ({shown(label)})",
        confidence=shape.get("score") if shape.get("shape_type") == "rectangle" else None,
        group=(label, group) if isinstance(group, (int, str)) else None,
    )


def _draw(shape: dict, frame: Frame) -> np.ndarray | Box:
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if not isinstance(kind, str) or kind not in _AREAS:
        raise BrokenEntry(f"a shape of type {shown(kind)} is not an area")
    if not _are_pairs(points):
        raise BrokenEntry("expected points [[x, y], ...], found something else")
    if kind == "rectangle" and (box := _rectangle(points)):
        return box
    if kind == "mask":
        return _paste(shape.get("mask"), points, frame)
    if kind == "circle":
        return _circle(points, frame)
    return frame.fill([outline_points([number for point in points for number in point])])


def _are_pairs(points: object) -> TypeGuard[list[list]]:
    return isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points)


def _numbers(what: str, points: list, count: int) -> list[float]:
    """Coordinates of the first points of a shape."""
    if len(points) < count:
        raise BrokenEntry(f"expected {count} points of {what}, found {len(points)}")
    return expect_numbers(what, *(number for point in points[:count] for number in point))


def _rectangle(points: list) -> Box | None:
    """The box of a rectangle, stored as two opposite corners or as all four; None if it is not upright."""
    if len(points) not in (2, 4):
        raise BrokenEntry(f"expected a rectangle of 2 or 4 points [[x, y], ...], found {len(points)}")
    numbers = _numbers("a rectangle", points, len(points))
    across, down = numbers[::2], numbers[1::2]
    if len(points) == 4 and not as_rectangle(np.array(numbers).reshape(-1, 2)):
        return None
    return Box(min(across), min(down), max(across), max(down))


def _circle(points: list, frame: Frame) -> np.ndarray:
    x, y, rim_x, rim_y = _numbers("a circle", points, 2)
    rows = np.arange(frame.height)[:, None] + 0.5 - y
    columns = np.arange(frame.width)[None, :] + 0.5 - x
    inside = rows**2 + columns**2 <= (rim_x - x) ** 2 + (rim_y - y) ** 2
    return expect_pixels(inside.astype(np.float32), "a circle")


def _paste(text: object, points: list, frame: Frame) -> np.ndarray:
    """A mask that the file holds as an image of the object's box, whose top left pixel is the first point."""
    left, top = map(round, _numbers("a mask", points, 1))
    return place_mask(frame, png_values(from_base64(text)) > 0, left, top)
