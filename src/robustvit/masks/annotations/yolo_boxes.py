"""YOLO's lines that are boxes: centre, width and height, perhaps with a confidence and the number of a track."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.masks.annotations.boxes import as_confidence, corners_of
from robustvit.masks.annotations.objects import Corners

_BOX_NUMBERS = 4
_TRACKED = 6


def hold_tracks(lines: Sequence[Sequence[float]]) -> bool:
    """Whether the lines of a data set that have six numbers are tracked boxes, and not outlines of three points.

    The fifth number is a confidence in [0, 1], the sixth the number of a track, in one line at least above 1.
    """
    longest = [line for line in lines if len(line) == _TRACKED]
    return any(line[5] > 1 for line in longest) and all(
        0 <= line[4] <= 1 and line[5] >= 1 and float(line[5]).is_integer() and min(line[2:4]) > 0 for line in longest
    )


def as_box(numbers: Sequence[float], tracked: bool = False) -> tuple[Corners, float | None] | None:
    """Return the corners and the confidence of a line without its class; None for an outline.

    Args:
        numbers: centre, width and height; perhaps a confidence; perhaps the number of a track.
        tracked: whether six numbers are a box.
    """
    count = len(numbers)
    if not (_BOX_NUMBERS <= count < _TRACKED or (count == _TRACKED and tracked)):
        return None
    corners = corners_of(list(numbers[:_BOX_NUMBERS]), centred=True)
    without = count == _BOX_NUMBERS or (count == _BOX_NUMBERS + 1 and numbers[4] > 1 and float(numbers[4]).is_integer())
    return corners, None if without else as_confidence(numbers[4])
