"""The values and colours in mask files: which occur, what full is, noise, and the colours of class ids."""

from __future__ import annotations

import numpy as np

FAINT = 32  # noise of a black and white JPEG stays below this, or from the next on; ids are as low, too
NEARLY_FULL = 224
_BLACK_NOISE = 8  # of a JPEG in which all is black
_SHOWN = 6
VOID_ID = 255  # VOC: border of an object, or not annotated
VOID_COLOUR = (224, 224, 192)
IMAGENET_S_IGNORE = 1000


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
    """List the first few values and the last."""
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


def voc_colours() -> np.ndarray:
    """Return the colour of each id in VOC's masks, ``(256, 3)``: every third bit of an id belongs to one channel."""
    ids, colours = np.arange(256)[:, None], np.zeros((256, 3), np.int64)
    for bit in range(3):
        colours |= ((ids >> (3 * bit + np.arange(3))) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def pack_colours(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each of ``(..., 3)`` colours as a number of 24 bits, red first, and the numbers that occur."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    packed = red << 16 | green << 8 | blue
    return packed, np.unique(packed)


def imagenet_s_ids(colours: np.ndarray) -> np.ndarray:
    """Return the ids of ImageNet-S, ``(H, W)``, of ``(H, W, 3)`` colours."""
    return colours[..., 0].astype(np.int64) + 256 * colours[..., 1].astype(np.int64)


def is_one_on_black(colours: np.ndarray) -> bool:
    """Whether packed colours are black and at most one other colour."""
    return len(colours) <= 2 and colours[0] == 0


def voc_ids_by_colour() -> dict[int, int]:
    """Return the ids of VOC's colours, packed as in ``pack_colours``; void is 0, as the background."""
    packed = pack_colours(voc_colours())[0].tolist()
    return {colour: number % VOID_ID for number, colour in enumerate(packed)}
