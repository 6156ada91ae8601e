"""COCO's run lengths: lists of counts, and the same packed into text."""

from __future__ import annotations

import numpy as np

from robustvit.common.wording import shown
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.ids import whole_number

_MOST_BITS = 35  # seven characters; a count in a photo of a size that is read at all has 28 bits


def decode_run_lengths(segmentation: dict, height: int, width: int) -> np.ndarray:
    """Decode ``{"size": [height, width], "counts": ...}``, where counts run down the columns, background first.

    The counts are checked here before anything is decoded: pycocotools reads beyond the end of broken ones.

    Returns:
        float32 ``(height, width)``, 0 or 1.

    Raises:
        BrokenEntry: a size that is not the photo's, counts that do not fill it, or no pixel on the object.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        given = " x ".join(map(shown, size)) if isinstance(size, list) and len(size) == 2 else shown(size)
        raise BrokenEntry(f"run lengths of size {given} (height x width), the photo has {height} x {width}")
    if isinstance(counts, str):
        counts = _unpack(counts)
    whole = [whole_number(count) for count in counts] if isinstance(counts, list) else [None]
    if None in whole:
        raise BrokenEntry("run lengths that are neither a list of whole numbers nor text")
    counts = [count for count in whole if count is not None]
    mask = np.ascontiguousarray(fill_runs(counts, height, width).reshape(width, height).T)
    if not mask.any():
        raise BrokenEntry("run lengths that cover no pixel of the photo")
    return mask


def fill_runs(counts: list[int], height: int, width: int) -> np.ndarray:
    """Return float32 ``(height * width,)``, 0 or 1, from the lengths of runs in turn, background first.

    Raises:
        BrokenEntry: a negative length, or they do not fill the frame.
    """
    if min(counts, default=0) < 0:
        raise BrokenEntry("run lengths with a negative count: they are broken")
    if sum(counts) != height * width:
        raise BrokenEntry(f"run lengths that sum to {shown(sum(counts))}, not to {height} x {width} = {height * width}")
    return np.repeat((np.arange(len(counts)) % 2).astype(np.float32), counts)


def _unpack(text: str) -> list[int]:
    """Counts from text: five bits a character, low ones first, from the fourth on as difference to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= _MOST_BITS:
            raise BrokenEntry("run lengths in text that is not packed as COCO does: they are broken")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise BrokenEntry("run lengths in text that is cut off")
    return counts
