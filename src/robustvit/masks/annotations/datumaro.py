"""Datumaro's own format: JSON files in ``annotations``, one for each part of a set, photos in ``images``."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import read_json_files
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import Frame, draw_whole_segmentation, ellipse_mask, mark_box
from robustvit.masks.annotations.values import as_dict, as_list, expect_numbers, holds, whole_number


def read_datumaro(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of a set in Datumaro's format; masks as ``read_annotations`` describes.

    ``source`` is the folder of the set, or one of its JSON files, which describes a part. Photos are looked up in
    ``images``, else in the set's folder of that name.
    """
    inner = source / "annotations" if (source / "annotations").is_dir() else source
    root = inner if inner.is_dir() else inner.parent
    root = root.parent if root.name == "annotations" else root
    listing = PhotoListing(source, orientation)
    marked: dict[str, MarkedPhoto] = {}
    names: list[str] = []
    folder = PhotoFolder.find(images, root / "images", root)
    exported = root.resolve() in folder.folder.resolve().parents or root.resolve() == folder.folder.resolve()
    wanted = "items and categories"
    for path, content in read_json_files(inner, "Datumaro", wanted, is_datumaro, listing.problems):
        labels = _labels(content["categories"])
        names += filter(None, labels)
        for number, item in enumerate(content["items"]):
            where = f"{path}: item {shown(item.get('id') if isinstance(item, dict) else number)}"
            with listing.leaving_out(where):
                marked[where] = _photo(item, path.stem if exported else None, labels, listing.no_areas)
    listing.match(marked, folder)
    return listing.finish(folder.folder, names)


def is_datumaro(content: object) -> bool:
    """Whether a JSON value is a part of a set in Datumaro's format."""
    return holds(content, items=list, categories=dict)


def _labels(categories: dict) -> list[str]:
    entries = as_list(as_dict(categories.get("label")).get("labels"))
    names = [as_dict(one).get("name") for one in entries]
    return [name if isinstance(name, str) else "" for name in names]


def _photo(item: object, part: str | None, labels: list[str], no_areas: Counter[str]) -> MarkedPhoto:
    """``part`` is the folder of an exported photo; None if the photos are those that Datumaro's ids name."""
    if not holds(item, annotations=list):
        raise BrokenEntry("expected an item with annotations")
    areas = []
    for number, entry in enumerate(item["annotations"]):
        kind = as_dict(entry).get("type")
        if isinstance(kind, str) and kind in _DRAWN:
            areas.append(MarkedArea(_name(entry, labels), partial(_DRAWN[kind], entry), f"{kind} number {number}"))
        else:
            no_areas[shown(kind).strip("'")] += 1
    image = as_dict(item.get("image"))
    path, size = image.get("path"), as_list(image.get("size"))
    exported = f"{part}/{path}" if part is not None and isinstance(path, str) and path else ""
    said = (size[0], size[1]) if len(size) == 2 else None
    return MarkedPhoto(exported or str(item.get("id")), said, areas, partial(json.dumps, item["annotations"]))


def _name(entry: dict, labels: list[str]) -> str | None:
    number = whole_number(entry.get("label_id"))
    if number is None:
        return None
    return labels[number] if 0 <= number < len(labels) and labels[number] else str(number)


def _polygon(entry: dict, frame: Frame) -> np.ndarray:
    return draw_whole_segmentation([entry.get("points")], frame)


def _mask(entry: dict, frame: Frame) -> np.ndarray:
    return draw_whole_segmentation(entry.get("rle"), frame)


def _box(entry: dict, frame: Frame) -> np.ndarray | Box:
    """A box, turned around its centre as CVAT notes it."""
    turned = as_dict(entry.get("attributes")).get("rotation", 0)
    left, top, across, down, degrees = expect_numbers("a box", *_four(entry.get("bbox")), turned)
    return mark_box(frame, Box(left, top, left + across, top + down), degrees)


def _ellipse(entry: dict, frame: Frame) -> np.ndarray:
    left, top, right, bottom = expect_numbers("an ellipse", *_four(entry.get("points")))
    return ellipse_mask(frame, (left + right) / 2, (top + bottom) / 2, ((right - left) / 2, (bottom - top) / 2))


def _four(numbers: object) -> list:
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise BrokenEntry("expected four numbers")
    return numbers


_DRAWN = {"polygon": _polygon, "mask": _mask, "bbox": _box, "ellipse": _ellipse}
