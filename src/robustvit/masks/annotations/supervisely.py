"""Supervisely: a JSON file for each photo, ``ann/a.jpg.json`` for ``img/a.jpg``; packed images and polygons."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import read_json_files
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry, expect_pixels
from robustvit.masks.annotations.packed import from_base64, png_values, unpack
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import Frame, cut_to, mark_box, outline_points, place_mask
from robustvit.masks.annotations.values import as_dict, as_list, expect_category, expect_numbers, holds

_NO_PHOTOS = frozenset({"meta.json", "obj_class_to_machine_color.json", "key_id_map.json"})


def read_supervisely(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of a project or data set of Supervisely; masks as ``read_annotations`` describes.

    ``source`` is the folder of the project, of a data set, or of its JSON files, or one of these. Photos are looked up
    in ``images``, else in the folder ``img`` beside ``ann``.
    """
    listing = PhotoListing(source, orientation)
    marked: dict[Path, MarkedPhoto] = {}
    root = source if source.is_dir() else source.parent
    wanted = "size and objects"
    for path, content in read_json_files(source, "Supervisely", wanted, is_supervisely, listing.problems, _NO_PHOTOS):
        marked[path] = _photo(content, path, path.relative_to(root).with_suffix("").as_posix(), listing)
    folder = PhotoFolder.find(images, root, root.parent / "img")
    listing.match(marked, folder)
    return listing.finish(folder.folder)


def is_supervisely(content: object) -> bool:
    """Whether a JSON value is Supervisely's annotation of a photo."""
    return holds(content, objects=list, size=object)


def _photo(content: dict, path: Path, name: str, listing: PhotoListing) -> MarkedPhoto:
    areas = []
    for number, entry in enumerate(content["objects"]):
        kind = as_dict(entry).get("geometryType")
        where = f"object {number} ({shown(kind)})"
        with listing.leaving_out(f"{path}: {where}"):
            if not isinstance(kind, str):
                raise BrokenEntry("expected an object with a geometryType")
            if kind in _DRAWN:
                areas.append(MarkedArea(expect_category(entry.get("classTitle")), partial(_DRAWN[kind], entry), where))
            else:
                listing.no_areas[kind] += 1
    size = as_dict(content["size"])
    return MarkedPhoto(name, (size.get("height"), size.get("width")), areas, partial(json.dumps, content["objects"]))


def _points(entry: dict, inner: str) -> list:
    return as_list(as_dict(entry.get("points")).get(inner))


def _polygon(entry: dict, frame: Frame) -> np.ndarray:
    """An outline whose points are pixels, which belong to it; those of its holes do not."""
    image = Image.new("L", (frame.width, frame.height))
    edge = np.array([frame.width - 1, frame.height - 1], dtype=np.float64)
    for rings, value in (([_points(entry, "exterior")], 1), (_points(entry, "interior"), 0)):
        for ring in rings:
            inside = cut_to(outline_points(ring), edge).round()
            if len(inside) >= 3:
                ImageDraw.Draw(image).polygon([(x, y) for x, y in inside.tolist()], fill=value, outline=value)
    return expect_pixels(np.asarray(image, dtype=np.float32), "an outline")


def _rectangle(entry: dict, frame: Frame) -> np.ndarray | Box:
    """A box whose two corners are pixels of it."""
    corners = _points(entry, "exterior")
    if len(corners) != 2 or not all(isinstance(corner, list) and len(corner) == 2 for corner in corners):
        raise BrokenEntry("a rectangle that has not two corners")
    x, y, other_x, other_y = expect_numbers("a rectangle", *corners[0], *corners[1])
    return mark_box(frame, Box(min(x, other_x), min(y, other_y), max(x, other_x) + 1, max(y, other_y) + 1))


def _bitmap(entry: dict, frame: Frame) -> np.ndarray:
    values, left, top = _unpack(entry.get("bitmap"))
    return place_mask(frame, values > 0, left, top)


def _alpha_mask(entry: dict, frame: Frame) -> np.ndarray:
    values, left, top = _unpack(entry.get("bitmap", entry.get("alpha_mask")))
    return place_mask(frame, values.astype(np.float32) / 255, left, top)


def _unpack(packed: object) -> tuple[np.ndarray, int, int]:
    """A packed image, and the column and row of its first pixel."""
    if not holds(packed, origin=list) or len(origin := packed["origin"]) != 2:
        raise BrokenEntry("a bitmap without data and origin")
    left, top = (round(number) for number in expect_numbers("a bitmap", *origin))
    return png_values(unpack(from_base64(packed.get("data")))), left, top


_DRAWN = {"polygon": _polygon, "rectangle": _rectangle, "bitmap": _bitmap, "alpha_mask": _alpha_mask}
