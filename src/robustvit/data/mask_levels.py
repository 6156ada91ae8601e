"""The values in a mask file: which occur, what full is, and whether they are noise."""

from __future__ import annotations

import numpy as np

FAINT = 32  # noise of a black and white JPEG stays below this, or from the next on
NEARLY_FULL = 224
_BLACK_NOISE = 8  # of a JPEG in which all is black
_SHOWN = 6


def count_levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that occur, in ascending order, and how often."""
    if values.dtype == np.uint8:  # counting is much faster than sorting
        counts = np.bincount(values.ravel(), minlength=256)
        levels = counts.nonzero()[0]
        counts = counts[levels]
    else:
        levels, counts = np.unique(values, return_counts=True)
    return levels.astype(np.float64), counts  # doubling 8-bit numbers would overflow


def list_levels(levels: np.ndarray) -> str:
    """List values, not more than a few."""
    more = f", ... {levels[-1]:g}" if len(levels) > _SHOWN else ""
    return "[" + ", ".join(f"{level:g}" for level in levels[:_SHOWN]) + more + "]"


def white_of(levels: np.ndarray) -> int:
    """Return the value of a full pixel: 1, 255 or 65,535."""
    top = levels.max(initial=0)
    return 1 if top <= 1 else 255 if top <= 255 else 65535


def is_whole(values: np.ndarray) -> bool:
    """Whether all numbers are integers."""
    return values.dtype.kind != "f" or bool(np.isfinite(values).all() and (values == np.rint(values)).all())


def is_noisy(levels: np.ndarray, lossy: bool) -> bool:
    """Whether values from 0 to 255 are black and white with the noise of a lossy format."""
    if not ((levels < FAINT) | (levels >= NEARLY_FULL)).all():
        return False
    if lossy:
        return bool(levels.max(initial=0) >= NEARLY_FULL or levels.max(initial=0) <= _BLACK_NOISE)
    return bool(((levels >= NEARLY_FULL) & (levels < 255)).any() and levels.min(initial=255) < FAINT)
