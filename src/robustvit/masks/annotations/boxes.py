"""Boxes around objects, and the soft masks that are drawn in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robustvit.masks.annotations.broken import BrokenEntry

DrawnShape = Literal["ellipse", "box"]
_ROUNDING = 1.0  # pixels by which tools that count pixels from 1, or round, miss the frame


@dataclass(frozen=True)
class Box:
    """An upright box, in pixels from the top left corner of the photo; it may reach beyond the frame."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class BoxedObject:
    """An object of which only the box is known.

    Attributes:
        category: its class as in the annotation; None if the format has no classes.
        box: in the frame of the annotation.
        confidence: of the detector, in [0, 1]; None if a person drew it.
        crowd: whether it holds a group of objects.
    """

    category: str | None
    box: Box
    confidence: float | None = None
    crowd: bool = False


def check_box(corners: Sequence[float], size: tuple[int, int], where: str, complaints: list[str]) -> Box:
    """Return the box with the corners left, top, right, bottom in pixels.

    Args:
        corners: as the annotation has them.
        size: height and width of the frame.
        where: words for the object, to begin a complaint with.
        complaints: gets a line if the box reaches beyond the frame.

    Raises:
        BrokenEntry: NaN or infinite numbers, no area, or a box outside the frame.
    """
    left, top, right, bottom = map(float, corners)
    height, width = size
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise BrokenEntry("a box with NaN or infinite numbers")
    if right <= left or bottom <= top:
        raise BrokenEntry(f"a box of {right - left:g} x {bottom - top:g} pixels (width x height)")
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise BrokenEntry("a box outside the photo")
    if min(left, top) < -_ROUNDING or right > width + _ROUNDING or bottom > height + _ROUNDING:
        complaints.append(f"{where}: the box reaches beyond the photo, cut off at the edge")
    return Box(left, top, right, bottom)


def draw_box(box: Box, size: tuple[int, int], shape: DrawnShape = "ellipse", feather: float = 0.2) -> np.ndarray:
    """Draw a soft mask in a box: the ellipse that it holds, or the box itself.

    With the distance ``r`` of a pixel's centre from that of the box, in half widths and half heights, the value is
    ``(1 - r) / feather``, cut to [0, 1]. ``r`` is the Euclidean norm for an ellipse, the largest coordinate for a box.

    Args:
        box: in pixels; what lies outside the frame is cut off.
        size: height and width of the frame.
        shape: what to draw.
        feather: width of the soft edge, which lies inside, as a share of half the width and height; 0 is a sharp edge.

    Returns:
        float32 ``(height, width)`` in [0, 1].

    Raises:
        BrokenEntry: the box is too small to cover the centre of a pixel.
    """
    mask = np.zeros(size, np.float32)
    rows = slice(max(0, math.floor(box.top)), min(size[0], math.ceil(box.bottom)))
    columns = slice(max(0, math.floor(box.left)), min(size[1], math.ceil(box.right)))
    down = _distances(rows, box.top, box.bottom)[:, None]
    across = _distances(columns, box.left, box.right)[None, :]
    radius = np.hypot(down, across) if shape == "ellipse" else np.maximum(down, across)
    inside = ((1 - radius) / feather).clip(0, 1) if feather else radius <= 1
    mask[rows, columns] = inside
    if not mask.any():
        raise BrokenEntry("a box that covers no pixel of the photo")
    return mask


def _distances(pixels: slice, low: float, high: float) -> np.ndarray:
    """Distances of the centres of pixels from the middle of a side, in half its length."""
    centres = np.arange(pixels.start, pixels.stop) + 0.5
    return np.abs(centres - (low + high) / 2) / ((high - low) / 2)
