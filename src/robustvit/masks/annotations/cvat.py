"""CVAT for images 1.1: one XML file with a list of photos, each with polygons, masks, boxes and ellipses."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import read_xml
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.run_lengths import fill_runs
from robustvit.masks.annotations.shapes import Frame, ellipse_mask, mark_box, outline_points, place_mask
from robustvit.masks.annotations.values import expect_numbers


def read_cvat(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of an export of CVAT for images; masks as ``read_annotations`` describes.

    ``source`` is the XML file, or a folder that holds one. Photos are looked up in ``images``, else in the folder
    ``images`` beside the file, else beside it. Turned boxes and ellipses are read as they are shown.
    """
    path = find_cvat_file(source) if source.is_dir() else source
    root = read_xml(path)
    if not is_cvat(root):
        raise UserError(f"expected an export of CVAT for images in {path}, found <{root.tag}>: check the format")
    if root.find("track") is not None:
        raise UserError(
            f"expected CVAT for images in {path}, found tracks of a video: export it as CVAT for images 1.1"
        )
    folder = PhotoFolder.find(images, path.parent / "images", path.parent)
    listing = PhotoListing(path, orientation)
    listing.match({_where(image): _photo(image, listing.no_areas) for image in root.iterfind("image")}, folder)
    return listing.finish(folder.folder, _categories(root))


def is_cvat(root: Element) -> bool:
    """Whether an XML file is an export of CVAT, for images or videos."""
    return root.tag == "annotations" and (root.find("image") is not None or root.find("meta") is not None)


def find_cvat_file(folder: Path) -> Path:
    """Return the file ``annotations.xml`` of an export that was unpacked, else the only XML file in a folder."""
    files = list(files_below(folder, {".xml"}).values())
    named = [path for path in files if path.name == "annotations.xml"] or files
    if len(named) != 1:
        found = f"{len(named)}, such as {named[0]} and {named[1]}" if named else "none"
        raise UserError(f"expected one XML file of CVAT in {folder}, found {found}: name the file")
    return named[0]


def _where(image: Element) -> str:
    return f"image id {shown(image.get('id'))} ({shown(image.get('name'))})"


def _categories(root: Element) -> tuple[str, ...] | None:
    named = [label.findtext("name") for label in root.iterfind("./meta//labels/label")]
    return tuple(dict.fromkeys(name for name in named if name)) or None


def _photo(image: Element, no_areas: Counter[str]) -> MarkedPhoto:
    areas = []
    for number, shape in enumerate(image):
        if shape.tag in _DRAWN:
            draw = partial(_DRAWN[shape.tag], dict(shape.attrib))
            areas.append(MarkedArea(shape.get("label") or None, draw, f"{shape.tag} number {number}"))
        else:
            no_areas[shape.tag] += 1
    said = image.get("height"), image.get("width")
    size = None if None in said else said
    return MarkedPhoto(image.get("name") or "", size, areas, partial(_content, image))


def _content(image: Element) -> str:
    return "".join(tostring(shape, "unicode") for shape in image)


def _numbers(shape: dict[str, str], what: str, *names: str) -> list[float]:
    return expect_numbers(what, *map(({"rotation": "0"} | shape).get, names))


def _polygon(shape: dict[str, str], frame: Frame) -> np.ndarray:
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
    return frame.fill([outline_points(expect_numbers("a polygon", *(word for pair in pairs for word in pair)))])


def _box(shape: dict[str, str], frame: Frame) -> np.ndarray | Box:
    """A box, turned around its centre."""
    *sides, degrees = _numbers(shape, "a box", "xtl", "ytl", "xbr", "ybr", "rotation")
    return mark_box(frame, Box(*sides), degrees)


def _ellipse(shape: dict[str, str], frame: Frame) -> np.ndarray:
    x, y, across, down, degrees = _numbers(shape, "an ellipse", "cx", "cy", "rx", "ry", "rotation")
    return ellipse_mask(frame, x, y, (across, down), degrees)


def _mask(shape: dict[str, str], frame: Frame) -> np.ndarray:
    """Runs along the rows of a box, background first."""
    left, top, width, height = map(round, _numbers(shape, "a mask", "left", "top", "width", "height"))
    if not (0 < width <= frame.width and 0 < height <= frame.height):
        raise BrokenEntry(f"a mask of {height} x {width} pixels, the photo has {frame.height} x {frame.width}")
    words = [word.strip() for word in shape.get("rle", "").split(",")]
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise BrokenEntry("run lengths that are not whole numbers with commas between them")
    return place_mask(frame, fill_runs([int(word) for word in words], height, width).reshape(height, width), left, top)


_DRAWN = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}
