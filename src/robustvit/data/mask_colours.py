"""The colours of class ids in mask files: VOC's and ImageNet-S's."""

from __future__ import annotations

import numpy as np

VOID_ID = 255  # VOC: border of an object, or not annotated
VOID_COLOUR = (224, 224, 192)
IMAGENET_S_IGNORE = 1000


def voc_colours() -> np.ndarray:
    """Return the colour of each id in VOC's masks, ``(256, 3)``: every third bit of an id belongs to one channel."""
    ids, colours = np.arange(256)[:, None], np.zeros((256, 3), np.int64)
    for bit in range(3):
        colours |= ((ids >> (3 * bit + np.arange(3))) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def pack_colours(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(..., 3)`` colours as one number each, of 24 bits, red first, and the numbers that occur."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    packed = red << 16 | green << 8 | blue
    return packed, np.unique(packed)


def imagenet_s_ids(colours: np.ndarray) -> np.ndarray:
    """Return the ids of ImageNet-S, ``(H, W)``, of ``(H, W, 3)`` colours."""
    return colours[..., 0].astype(np.int64) + 256 * colours[..., 1].astype(np.int64)


def is_one_on_black(colours: np.ndarray) -> bool:
    """Whether packed colours are black and at most one other."""
    return len(colours) <= 2 and colours[0] == 0


def voc_ids_by_colour() -> dict[int, int]:
    """Return the ids of VOC's colours, packed as in ``pack_colours``; void is 0, as the background."""
    packed = pack_colours(voc_colours())[0].tolist()
    return {colour: number % VOID_ID for number, colour in enumerate(packed)}
