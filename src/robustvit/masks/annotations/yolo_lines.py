"""The lines of YOLO's label files: an object's class, and its outline, its box, or its box and key points."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robustvit.common.wording import shown
from robustvit.masks.annotations.objects import Box, BrokenEntry, leaving_out
from robustvit.masks.annotations.values import expect_box, expect_confidence

_BOX_NUMBERS = 4  # centre, width and height
_TRACKED = 6  # numbers of a box with a confidence and the number of a track
_MOST_CLASSES = 1e9
_ROUNDING = 0.01


class YoloLine(NamedTuple):
    """A line: its number in the file, the number of its class, and the values after it, in shares of the photo."""

    number: int
    category: int
    values: list[float]


def read_lines(
    files: Collection[Path], names: Collection[int], problems: list[str]
) -> tuple[dict[Path, list[YoloLine]], set[Path]]:
    """Return the usable lines of label files, and the files that say that there is no object.

    ``names`` are the numbers of the classes that have names; if none has, any number is a class.
    """
    lines: dict[Path, list[YoloLine]] = {}
    blank: set[Path] = set()
    for path in files:
        known = len(problems)
        lines[path] = _read_file(path, names, problems)
        blank |= {path} if not lines[path] and len(problems) == known else set()
    return lines, blank


def _read_file(path: Path, names: Collection[int], problems: list[str]) -> list[YoloLine]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{path}: expected text, found other bytes; left out")
        return []
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); left out")
        return []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if words := line.split():
            with leaving_out(f"{path}: line {number}", problems):
                lines.append(YoloLine(number, _category(words[0], names), _numbers(words[1:])))
    return lines


def _category(word: str, names: Collection[int]) -> int:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not (0 <= value < _MOST_CLASSES and value.is_integer()):
        raise BrokenEntry(f"expected the number of a class, found {shown(word)}")
    if names and int(value) not in names:
        raise BrokenEntry(f"class {int(value)} has no name among the {len(names)} of the data set")
    return int(value)


def _numbers(words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BrokenEntry("expected numbers after the class, found other text") from error


def hold_tracks(lines: Sequence[Sequence[float]]) -> bool:
    """Whether the lines of a data set that have six numbers are tracked boxes, and not outlines of three points.

    The fifth number is a confidence in [0, 1], the sixth the number of a track, in one line at least above 1.
    """
    longest = [line for line in lines if len(line) == _TRACKED]
    return any(line[5] > 1 for line in longest) and all(
        0 <= line[4] <= 1 and line[5] >= 1 and float(line[5]).is_integer() and min(line[2:4]) > 0 for line in longest
    )


def as_box(numbers: Sequence[float], tracked: bool = False) -> tuple[Box, float | None] | None:
    """Return the box and the confidence of a line without its class; None for an outline.

    A box has centre, width and height, perhaps a confidence and, where boxes are ``tracked``, the number of a track.
    """
    count = len(numbers)
    if not (_BOX_NUMBERS <= count < _TRACKED or (count == _TRACKED and tracked)):
        return None
    box = expect_box(list(numbers[:_BOX_NUMBERS]), centred=True)
    without = count == _BOX_NUMBERS or (count == _BOX_NUMBERS + 1 and numbers[4] > 1 and float(numbers[4]).is_integer())
    return box, None if without else expect_confidence(numbers[4])


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
