"""Shapes that tools draw objects with, as masks: outlines, COCO's segmentations, boxes, ellipses, pasted images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import NamedTuple

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.wording import pluralize
from robustvit.masks.annotations.objects import Box, BrokenEntry, expect_pixels
from robustvit.masks.annotations.run_lengths import decode_run_lengths
from robustvit.masks.annotations.values import FARTHEST

_NUMBERS = frozenset({int, float})
_TOLERANCE = 0.01  # of a pixel: tools round
_FAR = 1e9
_LONGEST_OUTLINE = 1e7  # pycocotools needs 40 bytes for each pixel that an outline passes


def mask_tools() -> ModuleType:
    """The module ``pycocotools.mask``."""
    try:
        import pycocotools.mask
    except ImportError as error:
        raise UserError(
            "expected pycocotools to fill outlines, it is not installed: pip install pycocotools"
        ) from error
    return pycocotools.mask


def split_outlines(segmentation: object) -> list:
    """Return the outlines of an object, which may also be stored as the only one, without a list around it."""
    if not isinstance(segmentation, list) or not segmentation:
        raise BrokenEntry("a segmentation that is neither a list of polygons nor run lengths")
    if all(type(number) in _NUMBERS for number in segmentation) or all(map(_is_pair, segmentation)):
        return [segmentation]
    if not all(isinstance(polygon, list) for polygon in segmentation):
        raise BrokenEntry("a segmentation that is neither a list of polygons nor run lengths")
    return segmentation


def _is_pair(point: object) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(type(number) in _NUMBERS for number in point)


def outline_points(numbers: object) -> np.ndarray:
    """Points of an outline from a list x1, y1, x2, ... or [x1, y1], [x2, y2], ..., as float64 ``(N, 2)``, N above 2."""
    if isinstance(numbers, list) and numbers and all(map(_is_pair, numbers)):
        numbers = [number for point in numbers for number in point]
    if not isinstance(numbers, list) or not set(map(type, numbers)) <= _NUMBERS:
        raise BrokenEntry("a polygon that is not a list of numbers x1, y1, x2, y2, ...")
    if len(numbers) % 2:
        raise BrokenEntry(f"a polygon with an odd number of coordinates ({len(numbers)})")
    if len(numbers) < 6:
        raise BrokenEntry(f"a polygon of {pluralize(len(numbers) // 2, 'point')}, at least 3 are needed")
    try:
        points = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise BrokenEntry("a polygon with NaN or infinite coordinates") from error
    if not np.isfinite(points).all():
        raise BrokenEntry("a polygon with NaN or infinite coordinates")
    return points


def as_rectangle(outline: np.ndarray) -> Box | None:
    """Return an outline, ``(N, 2)``, that is an upright rectangle as a box; None for any other."""
    ring = outline[:-1] if len(outline) == 5 and (outline[0] == outline[-1]).all() else outline
    sides = np.roll(ring, -1, axis=0) - ring
    turns = (sides != 0).sum(axis=1)
    if len(ring) != 4 or (turns != 1).any() or (sides[0] != -sides[2]).any() or (sides[1] != -sides[3]).any():
        return None
    (left, top), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    return Box(left, top, right, bottom) if left < right and top < bottom else None


class Outline(NamedTuple):
    """A filled outline: its mask, float32 ``(H, W)``, and the outline itself if that is an upright rectangle."""

    mask: np.ndarray
    rectangle: Box | None


@dataclass
class Frame:
    """The frame of a photo in pixels, in which outlines are filled.

    Attributes:
        height: of the photo.
        width: of the photo.
        points: number of points of all outlines.
        outside: number of those that lie outside.
        notes: on parts of an object that are left out.
    """

    height: int
    width: int
    points: int = 0
    outside: int = 0
    notes: list[str] = field(default_factory=list)

    def fill(self, outlines: Sequence[np.ndarray]) -> np.ndarray:
        """Fill outlines, ``(N, 2)`` each in pixels from the top left corner; parts outside the frame are cut off.

        Returns:
            float32 ``(height, width)``, 1 on pixels whose centre lies in any of the outlines.
        """
        tools = mask_tools()
        edge = np.array([self.width, self.height], dtype=np.float64)
        for outline in outlines:
            beyond = (outline < -_TOLERANCE) | (outline > edge + _TOLERANCE)
            self.points += len(outline)
            self.outside += int(beyond.any(axis=1).sum())
        rings = [ring for ring in (cut_to(outline, edge) for outline in outlines) if len(ring) >= 3]
        if sum(map(_length, rings)) > _LONGEST_OUTLINE:
            raise BrokenEntry("an outline too long and tangled to be filled")
        if not rings:
            raise BrokenEntry("an outline that covers no pixel of the photo")
        parts = tools.frPyObjects([ring.ravel().tolist() for ring in rings], self.height, self.width)
        return self.check(tools.decode(tools.merge(parts)), "an outline")

    def outline(self, points: np.ndarray) -> Outline:
        """Fill an outline, ``(N, 2)``."""
        return Outline(self.fill([points]), as_rectangle(points))

    def check(self, mask: np.ndarray, what: str) -> np.ndarray:
        """Return a mask as float32; refuse one of another size, or without a pixel on the object."""
        if mask.shape != (self.height, self.width):
            size = f"{mask.shape[0]} x {mask.shape[1]}"
            raise BrokenEntry(f"{what} of {size} pixels (height x width), the photo has {self.height} x {self.width}")
        return expect_pixels(np.ascontiguousarray(mask, dtype=np.float32), what)

    def take_notes(self) -> list[str]:
        """Return the notes, and forget them."""
        notes, self.notes = self.notes, []
        return notes


def draw_segmentation(segmentation: object, frame: Frame) -> Outline:
    """Draw a segmentation as COCO writes it: a list of polygons, or run lengths; broken polygons are left out."""
    if isinstance(segmentation, dict):
        return Outline(decode_run_lengths(segmentation, frame.height, frame.width), None)
    outlines, broken = [], []
    for polygon in split_outlines(segmentation):
        try:
            outlines.append(outline_points(polygon))
        except BrokenEntry as error:
            broken.append(error)
    if not outlines:
        raise broken[0]
    mask = frame.fill(outlines)
    frame.notes += [f"{error}; this part is left out" for error in broken]
    return Outline(mask, as_rectangle(outlines[0]) if len(outlines) + len(broken) == 1 else None)


def draw_whole_segmentation(segmentation: object, frame: Frame) -> np.ndarray:
    """Return the mask of a segmentation as ``draw_segmentation`` does, if no part of it is broken."""
    mask, _ = draw_segmentation(segmentation, frame)
    if notes := frame.take_notes():
        raise BrokenEntry(notes[0].removesuffix("; this part is left out"))
    return mask


def cut_to(ring: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return the part of a ring between (0, 0) and ``edge``; moving points there would bend lines that cross it."""
    ring = ring.clip(-_FAR, _FAR)
    for axis in (0, 1):
        ring = _cut(ring, ring[:, axis])
        ring = _cut(ring, edge[axis] - ring[:, axis])
    return ring.clip(0, edge)


def _cut(ring: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Keep the side of a line where ``depth`` of the points, ``(N,)``, is not negative, and add the crossings."""
    inside = depth >= 0
    if inside.all():
        return ring
    following, next_depth = np.roll(ring, -1, axis=0), np.roll(depth, -1)
    crossing = inside != (next_depth >= 0)
    share = depth / np.where(crossing, depth - next_depth, 1)
    crossings = ring + share[:, None] * (following - ring)
    both = np.stack([ring, crossings], axis=1).reshape(-1, 2)
    return both[np.stack([inside, crossing], axis=1).reshape(-1)]


def _length(ring: np.ndarray) -> float:
    return float(np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1).sum())


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
