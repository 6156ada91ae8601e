"""Polygons around a mask, with few points, without holes, as annotation tools edit them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from contourpy import FillType, contour_generator
from matplotlib.path import Path as Line
from scipy import ndimage

from robustvit.masks.annotations.objects import BrokenEntry
from robustvit.masks.annotations.shapes import Frame
from robustvit.masks.confidence import overlap

_LEAST_OVERLAP = 0.98
_TOLERANCES = (2.0, 1.0, 0.5, 0.25, 0.1)  # pixels by which a simpler outline may differ
_NEXT_TO = np.ones((3, 3), dtype=bool)


def polygons_of(inside: np.ndarray) -> list[np.ndarray] | None:
    """Return outlines ``(N, 2)``, x and y in pixels, that cover a mask ``(H, W)`` bool together.

    A part with holes is cut into parts without. Outlines have as few points as an IoU of 0.98 allows.

    Returns:
        None if no outlines reach that.
    """
    rings = list(_rings(inside))
    ways = ([one for ring in rings if len(one := _simplify(ring, tolerance)) >= 3] for tolerance in _TOLERANCES)
    return min((way for way in ways if _covers(way, inside)), key=lambda way: sum(map(len, way)), default=None)


def _covers(outlines: list[np.ndarray], inside: np.ndarray) -> bool:
    try:
        covered = Frame(*inside.shape).fill(outlines) > 0.5
    except BrokenEntry:
        return False
    return overlap(covered, inside) >= _LEAST_OVERLAP


def _rings(inside: np.ndarray) -> Iterator[np.ndarray]:
    """Outlines of the parts of a mask."""
    labels, _ = ndimage.label(inside, structure=_NEXT_TO)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        yield from (ring + np.array([place[1].start, place[0].start]) for ring in _of_part(labels[place] == number))


def _of_part(part: np.ndarray) -> Iterator[np.ndarray]:
    """Outlines of one part, which is cut through its first hole until there is none."""
    generator = contour_generator(z=np.pad(part, 1).astype(np.float64), fill_type=FillType.OuterOffset)
    points, offsets = cast(tuple[list[np.ndarray], list[np.ndarray]], generator.filled(0.5, 2.0))
    hole = next(
        (ring[first[1] : first[2]] for ring, first in zip(points, offsets, strict=True) if len(first) > 2), None
    )
    if hole is None:
        yield from (ring[:-1] - 0.5 for ring in points)  # the last point is the first; pixels are padded by one
        return
    column = int(np.clip(round(hole[:, 0].mean()) - 1, 1, part.shape[1] - 1))
    for start, piece in ((0, part[:, :column]), (column, part[:, column:])):
        yield from (ring + np.array([start, 0]) for ring in _rings(piece))


def _simplify(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Merge lines that are nearly straight, and round to hundredths of a pixel."""
    line = Line(np.concatenate([ring, ring[:1]]))
    line.simplify_threshold, line.should_simplify = tolerance, True
    points = np.array(line.cleaned(simplify=True).vertices)[:-1]  # the last is matplotlib's mark of the end
    return (points[:-1] if np.array_equal(points[0], points[-1]) else points).round(2)
