"""Shapes that tools draw objects with, as masks: boxes, ellipses, outlines with holes, pasted images."""

from __future__ import annotations

import numpy as np

from robustvit.masks.annotations.objects import Box, BrokenEntry, expect_pixels
from robustvit.masks.annotations.outlines import Frame, outline_points
from robustvit.masks.annotations.values import FARTHEST


def turn(points: np.ndarray, degrees: float, pivot: tuple[float, float]) -> np.ndarray:
    """Turn points ``(N, 2)``, x and y downwards, clockwise around a point."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - pivot) @ matrix + pivot


def mark_box(
    frame: Frame, box: Box, degrees: float = 0.0, pivot: tuple[float, float] | None = None
) -> Box | np.ndarray:
    """Return an upright box as it is, and one that is turned clockwise around a pivot, or its centre, as a mask."""
    left, top, right, bottom = box
    if not (left < right and top < bottom):
        raise BrokenEntry("a box without an area")
    if degrees % 360 == 0:
        return box
    centre = ((left + right) / 2, (top + bottom) / 2)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)
    return frame.fill([turn(corners, degrees, pivot or centre)])


def points_of_shares(numbers: object, frame: Frame, whole: float) -> np.ndarray:
    """Return an outline in pixels, ``(N, 2)``, from shares of width and height; ``whole`` is 1, or 100 for per cent."""
    return outline_points(numbers).clip(-FARTHEST, FARTHEST) * (frame.width / whole, frame.height / whole)


def ellipse_mask(frame: Frame, x: float, y: float, radii: tuple[float, float], degrees: float = 0.0) -> np.ndarray:
    """Return the mask of an ellipse, turned clockwise around its centre: 1 on pixels whose centre it holds."""
    if min(radii) <= 0:
        raise BrokenEntry("an ellipse without an area")
    angle = np.deg2rad(degrees)
    across = np.arange(frame.width)[None, :] + 0.5 - x
    down = np.arange(frame.height)[:, None] + 0.5 - y
    along, beside = across * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - across * np.sin(angle)
    return expect_pixels(((along / radii[0]) ** 2 + (beside / radii[1]) ** 2 <= 1).astype(np.float32), "an ellipse")


def place_mask(frame: Frame, inner: np.ndarray, left: int, top: int) -> np.ndarray:
    """Return a mask of the frame's size with a smaller one ``(h, w)``, in [0, 1], whose first pixel is at left and top.

    What is outside the frame is cut off.
    """
    mask = np.zeros((frame.height, frame.width), dtype=np.float32)
    rows, columns = slice(max(top, 0), max(top + inner.shape[0], 0)), slice(max(left, 0), max(left + inner.shape[1], 0))
    window = mask[rows, columns]
    window[:] = inner[max(-top, 0) :, max(-left, 0) :][: window.shape[0], : window.shape[1]]
    return expect_pixels(mask, "a mask")
