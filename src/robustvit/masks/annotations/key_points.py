"""YOLO's pose labels: a box and key points in each line, which look like the outline of an object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BOX_NUMBERS = 4  # centre, width and height
_ROUNDING = 0.01


def hold_key_points(lines: Sequence[Sequence[float]]) -> bool:
    """Whether all lines of a data set, without their classes, are boxes with key points.

    They have the same count of numbers, begin with a box that holds all further points, and at least one makes no sense
    as an outline.
    """
    return (
        bool(lines)
        and len({len(line) for line in lines}) == 1
        and all(begins_with_box(line) for line in lines)
        and any(is_no_outline(line) for line in lines)
    )


def begins_with_box(numbers: Sequence[float]) -> bool:
    """Whether a line begins with a box in the frame, and all further points lie in it or are 0 0 (not labelled)."""
    count = len(numbers) - _BOX_NUMBERS
    if count < 2:
        return False
    x, y, width, height = numbers[:_BOX_NUMBERS]
    box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    if not (0 < width <= 1 and 0 < height <= 1) or box.min() < -_ROUNDING or box.max() > 1 + _ROUNDING:
        return False
    return any(count % step == 0 and _all_inside(numbers[_BOX_NUMBERS:], step, box) for step in (2, 3))


def _all_inside(numbers: Sequence[float], step: int, box: np.ndarray) -> bool:
    points = np.array(numbers, dtype=np.float64).reshape(-1, step)  # x, y and, in threes, visibility
    seen = points[:, :2][points[:, :2].any(axis=1)]
    inside = ((seen >= box[:2] - _ROUNDING) & (seen <= box[2:] + _ROUNDING)).all()
    return bool(inside and (step == 2 or np.isin(points[:, 2], (0, 1, 2)).all()))


def is_no_outline(numbers: Sequence[float]) -> bool:
    """Whether a line that begins with a box makes no sense as an outline: its second point lies off, or it crosses."""
    x, y, width, height = numbers[:_BOX_NUMBERS]
    apart = abs(width - x) > width / 2 + _ROUNDING or abs(height - y) > height / 2 + _ROUNDING
    return apart or len(numbers) % 2 == 1 or _crosses(np.array(numbers, dtype=np.float64).reshape(-1, 2))


def _crosses(ring: np.ndarray) -> bool:
    """Whether an outline ``(N, 2)`` crosses or touches itself."""
    count = len(ring)
    return any(
        _meet(ring[one], ring[(one + 1) % count], ring[other], ring[(other + 1) % count])
        for one in range(count)
        for other in range(one + 2, count)
        if (other + 1) % count != one
    )


def _meet(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _side(a: np.ndarray, b: np.ndarray, point: np.ndarray) -> float:
    return float((b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]))
