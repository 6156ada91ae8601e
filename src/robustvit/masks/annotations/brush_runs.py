"""Label Studio's brush strokes: run lengths in a stream of bits, four channels for each pixel, row by row."""

from __future__ import annotations

import numpy as np

from robustvit.masks.annotations.broken import BrokenEntry

_CHANNELS = 4


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

    Raises:
        BrokenEntry: not bytes, cut off, or not of the photo's size.
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
