"""Run lengths: COCO's lists of counts, the same packed into text, and the bits of Label Studio's brush strokes."""

from __future__ import annotations

import numpy as np

from robustvit.common.wording import shown
from robustvit.masks.annotations.objects import BrokenEntry, expect_pixels
from robustvit.masks.annotations.values import whole_number

_CHANNELS = 4  # of a pixel in brush strokes
_MOST_BITS = 35  # seven characters; a count in a photo of a size that is read at all has 28 bits


def decode_run_lengths(segmentation: dict, height: int, width: int) -> np.ndarray:
    """Decode ``{"size": [height, width], "counts": ...}``, where counts run down the columns, background first.

    The counts are checked here before anything is decoded: pycocotools reads beyond the end of broken ones.

    Returns:
        float32 ``(height, width)``, 0 or 1.
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
    return expect_pixels(
        np.ascontiguousarray(fill_runs(counts, height, width).reshape(width, height).T), "a list of run lengths"
    )


def fill_runs(counts: list[int], height: int, width: int) -> np.ndarray:
    """Return float32 ``(height * width,)``, 0 or 1, from the lengths of runs in turn, background first."""
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


class _Bits:
    """Numbers of any length in a stream of bits, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        self._place = 0

    def read(self, length: int) -> int:
        return int(self.read_many(1, length)[0])

    def read_many(self, count: int, length: int) -> np.ndarray:
        end = self._place + count * length
        if end > len(self._bits):
            raise BrokenEntry("brush strokes that are cut off")
        found = self._bits[self._place : end].reshape(count, length).astype(np.int64)
        self._place = end
        return found @ (1 << np.arange(length - 1, -1, -1))


def decode_brush(numbers: object, height: int, width: int) -> np.ndarray:
    """Decode the list of bytes under ``rle``: how opaque each pixel is, float32 ``(height, width)`` in [0, 1].

    A header of 53 bits says how many values follow, how long a value is and how long the four kinds of counts are.
    Each run is a bit, the kind of its count, the count less one, and one value (bit 1) or as many as counted (bit 0).
    """
    if not isinstance(numbers, list) or not all(type(one) is int and 0 <= one < 256 for one in numbers):
        raise BrokenEntry("brush strokes that are not a list of bytes")
    bits = _Bits(bytes(numbers))
    total = bits.read(32)
    if total != _CHANNELS * height * width:
        raise BrokenEntry(
            f"brush strokes of {total} values, expected {_CHANNELS} for each of {height} x {width} pixels"
        )
    word, sizes = bits.read(5) + 1, (bits.read_many(4, 4) + 1).tolist()
    if word != 8:
        raise BrokenEntry(f"brush strokes of {word} bits a value, expected 8")
    values = np.zeros(total, np.uint8)
    start = 0
    while start < total:
        same = bits.read(1)
        count = bits.read(sizes[bits.read(2)]) + 1
        if start + count > total:
            raise BrokenEntry("brush strokes with a run beyond the end of the photo")
        values[start : start + count] = bits.read_many(1 if same else count, word)
        start += count
    return values.reshape(height, width, _CHANNELS)[..., -1].astype(np.float32) / 255
