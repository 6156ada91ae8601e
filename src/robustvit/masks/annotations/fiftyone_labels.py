"""Labels of FiftyOne as areas: detections with or without a mask, polylines and segmentations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.wording import shown
from robustvit.data.mask_files import read_ids, read_mask
from robustvit.masks.annotations.files import find_named
from robustvit.masks.annotations.marked import MarkedArea
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.packed import from_base64, numpy_array, unpack
from robustvit.masks.annotations.shapes import Frame, mark_box, place_mask, points_of_shares
from robustvit.masks.annotations.values import as_list, expect_numbers, whole_number

_LISTS = {"Detections": "detections", "Polylines": "polylines"}
_AREAS = frozenset({"Detection", "Polyline", "Segmentation", *_LISTS})


def _name(value: object, names: dict[int, str]) -> str | None:
    """Return the name of a label, which may be given as a number."""
    number = whole_number(value)
    if number is not None:
        return names.get(number, str(number))
    return value if isinstance(value, str) and value else None


def is_area(value: object) -> bool:
    """Whether the value of a sample's field holds labels that mark areas."""
    return isinstance(value, dict) and _kind(value) in _AREAS


def _kind(label: dict) -> str:
    kind = label.get("_cls")
    return kind if isinstance(kind, str) else "label without _cls"


def areas_of(label: object, names: dict[int, str], root: Path, no_areas: Counter[str]) -> Iterator[MarkedArea]:
    """Yield the areas of a label, whose mask files lie in ``root``; kinds that mark no area are counted."""
    if not isinstance(label, dict):
        return
    kind = _kind(label)
    if kind in _LISTS:
        for one in as_list(label.get(_LISTS[kind])):
            yield from areas_of(one, names, root, no_areas)
    elif kind == "Detection":
        yield MarkedArea(_name(label.get("label"), names), partial(_detection, label, root), "detection")
    elif kind == "Polyline" and (label.get("closed") or label.get("filled")):
        yield MarkedArea(_name(label.get("label"), names), partial(_polyline, label), "polyline")
    elif kind == "Segmentation":
        yield from _segmentation(label, names, root)
    else:
        no_areas["open Polyline" if kind == "Polyline" else shown(kind).strip("'")] += 1


def _detection(label: dict, root: Path, frame: Frame) -> np.ndarray | Box:
    box = label.get("bounding_box")
    x, y, across, down = expect_numbers("a detection", *(box if isinstance(box, list) and len(box) == 4 else [None]))
    left, right = x * frame.width, (x + across) * frame.width
    top, bottom = y * frame.height, (y + down) * frame.height
    inner = _read_mask(label, root)
    if inner is None:
        return mark_box(frame, Box(left, top, right, bottom))
    left, top, right, bottom = map(round, (left, top, right, bottom))
    size = max(bottom - top, 1), max(right - left, 1)
    if max(size) > 2 * max(frame.height, frame.width):
        raise BrokenEntry("a box much larger than the photo")
    if abs(size[0] - inner.shape[0]) > 1 or abs(size[1] - inner.shape[1]) > 1:  # FiftyOne rounds in one way or another
        image = Image.fromarray(inner.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
        inner = np.asarray(image) > 0
    return place_mask(frame, inner, left, top)


def _read_mask(label: dict, root: Path) -> np.ndarray | None:
    """Return the mask of a detection's box, which may be in the label or in a file; None without a mask."""
    if label.get("mask") is not None:
        return _unpack(label["mask"]) > 0
    found = _read_named(label, root, read_mask)
    return None if found is None else found > 0.5


def _read_named(label: dict, root: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray | None:
    """Read the file that a label names as its mask; None if it names none."""
    name = label.get("mask_path")
    try:
        return read(find_named(root, name)) if isinstance(name, str) and name else None
    except UserError as error:
        raise BrokenEntry(str(error)) from error


def _polyline(label: dict, frame: Frame) -> np.ndarray:
    rings = label.get("points")
    if not isinstance(rings, list) or not rings:
        raise BrokenEntry("a polyline without points")
    return frame.fill([points_of_shares(ring, frame, 1) for ring in rings])


def _segmentation(label: dict, names: dict[int, str], root: Path) -> Iterator[MarkedArea]:
    """Yield an area for each number in a mask of the whole photo; the mask is read again when the area is drawn."""
    for number in np.unique(_read_ids(label, root)).tolist():
        if number > 0:
            yield MarkedArea(
                _name(number, names), partial(_equal, label, root, number), f"segmentation, number {number}"
            )


def _read_ids(label: dict, root: Path) -> np.ndarray:
    found = _read_named(label, root, read_ids)
    if found is None and label.get("mask") is None:
        raise BrokenEntry("a segmentation without a mask")
    return _unpack(label["mask"]) if found is None else found


def _unpack(packed: object) -> np.ndarray:
    """An array that is packed into text, also as MongoDB notes it."""
    binary = packed.get("$binary") if isinstance(packed, dict) else packed
    return numpy_array(unpack(from_base64(binary.get("base64") if isinstance(binary, dict) else binary)))


def _equal(label: dict, root: Path, number: int, frame: Frame) -> np.ndarray:
    return frame.check(_read_ids(label, root) == number, "a segmentation")
