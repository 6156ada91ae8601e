"""Boxes around objects, and the soft masks that are drawn in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robustvit.common.options import BoxUnits
from robustvit.masks.annotations.objects import Box, BoxedObject, BrokenEntry
from robustvit.masks.annotations.values import FARTHEST

_ROUNDING = 1.0  # pixels by which tools that count pixels from 1, or round, miss the frame
_AS_CORNERS = 0.95  # of all boxes: a few may be broken
_CLEARLY_BEYOND = 0.1  # more than the boxes that are drawn over the edge by mistake
_AS_SHARES = 1.01  # a number of pixels is seldom smaller, a share never greater


def doubt_units(boxes: Sequence[Box], units: BoxUnits, source: object) -> str:
    """Return a question if the boxes of a data set do not look as if its format's units were theirs, else no text."""
    numbers = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    shares = (np.abs(numbers) <= _AS_SHARES).all(axis=1)
    if not len(numbers) or (shares.mean() >= 0.5 if units == "shares" else not shares.all()):
        return ""
    found = "lie in [0, 1], as shares of width and height do" if units == "pixels" else "reach beyond [0, 1], as pixels"
    return (
        f"expected boxes in {units} in {source}, {'all' if units == 'pixels' else 'most'} {found}: say --box-units "
        "pixels or --box-units shares"
    )


def doubt_corners(boxes: Sequence[tuple[Box, tuple[int, int]]], source: object) -> str:
    """Return a question if boxes of left, top, width and height look as if they were two corners, else an empty text.

    Each box comes with height and width of its photo.
    """
    sides = [(left, top, right - left, bottom - top) for (left, top, right, bottom), _ in boxes]
    numbers = np.array(sides, dtype=np.float64).reshape(-1, 4)
    ends = np.array([size[::-1] for _, size in boxes], dtype=np.float64).reshape(-1, 2) + _ROUNDING
    whole = np.isfinite(numbers).all(axis=1)  # the others are left out where they are placed
    first, second, ends = numbers[whole, :2], numbers[whole, 2:], ends[whole]
    beyond = (first + second > ends).any(axis=1)
    as_corners = (second > first).all(axis=1) & (second <= ends).all(axis=1)
    if not len(first) or beyond.mean() < _CLEARLY_BEYOND or as_corners.mean() < _AS_CORNERS:
        return ""
    return (
        f"expected boxes of left, top, width and height in {source}, {beyond.sum()} of {len(first)} reach beyond their "
        f"photos, and {as_corners.sum()} fit as two corners: write widths and heights, or say --box-units pixels to "
        "read them as they are"
    )


def place_box(box: BoxedObject, size: tuple[int, int], units: BoxUnits | None, complaints: list[str]) -> Box:
    """Return a box in pixels; add a complaint if it reaches beyond the frame of height and width ``size``.

    ``units`` are those that the user says; None for those of the format.
    """
    height, width = size
    across, down = (width, height) if (units or box.units) == "shares" else (1, 1)
    left, right = (number * across for number in box.corners[::2])
    top, bottom = (number * down for number in box.corners[1::2])
    if not all(abs(number) <= FARTHEST for number in (left, top, right, bottom)):
        raise BrokenEntry("a box with NaN or infinite numbers, or far from the photo")
    if right <= left or bottom <= top:
        raise BrokenEntry(f"a box of {right - left:.4g} x {bottom - top:.4g} pixels (width x height)")
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise BrokenEntry("a box outside the photo")
    if min(left, top) < -_ROUNDING or right > width + _ROUNDING or bottom > height + _ROUNDING:
        complaints.append(f"{box.where}: the box reaches beyond the photo, cut off at the edge")
    return Box(left, top, right, bottom)


def draw_ellipse(corners: Box, size: tuple[int, int], feather: float = 0.2) -> np.ndarray:
    """Draw the ellipse in a box as a soft mask.

    A pixel's value is ``(1 - r) / feather``, cut to [0, 1], where ``r`` is the Euclidean distance of its centre from
    that of the box, in half widths and half heights.

    Args:
        corners: in pixels; what lies outside the frame is cut off.
        size: height and width of the frame.
        feather: width of the soft edge, which lies inside, as a share of half the width and height; 0 is a sharp edge.

    Returns:
        float32 ``(height, width)`` in [0, 1]; zeros for a box too small to cover the centre of a pixel.
    """
    return _draw(corners, size, feather, np.hypot)


def draw_box(corners: Box, size: tuple[int, int], feather: float = 0.2) -> np.ndarray:
    """Draw a box as a soft mask, as ``draw_ellipse``, with the greater of the distances across and down as ``r``."""
    return _draw(corners, size, feather, np.maximum)


def _draw(corners: Box, size: tuple[int, int], feather: float, distance: np.ufunc) -> np.ndarray:
    left, top, right, bottom = corners
    mask = np.zeros(size, np.float32)
    rows, columns = _pixels(top, bottom, size[0]), _pixels(left, right, size[1])
    radius = distance(_distances(rows, top, bottom)[:, None], _distances(columns, left, right)[None, :])
    mask[rows, columns] = ((1 - radius) / feather).clip(0, 1) if feather else radius <= 1
    return mask


def _pixels(low: float, high: float, side: int) -> slice:
    first = max(0, math.floor(low))
    return slice(first, max(first, min(side, math.ceil(high))))


def _distances(pixels: slice, low: float, high: float) -> np.ndarray:
    """Distances of the centres of pixels from the middle of a side, in half its length."""
    centres = np.arange(pixels.start, pixels.stop) + 0.5
    return np.abs(centres - (low + high) / 2) / ((high - low) / 2)
