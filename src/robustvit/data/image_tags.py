"""A look at an image's tags before Pillow reads them: it copies the bytes of each, and thousands may share theirs."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

MAX_TAG_BYTES = 10_000_000  # a camera writes less than a hundredth of it
_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a value by type; else one
_FURTHER = (0x8769, 0x8825, 0xA005)  # tags that lead to more tags


def tag_bytes(path: str | Path) -> int:
    """Return how many bytes the tags of a JPEG, PNG, WebP or TIFF file claim, all together; 0 if there are none."""
    with open(path, "rb") as file, suppress(struct.error):
        start = file.read(12)
        if start[:4] in (b"II*\0", b"MM\0*"):
            size = file.seek(0, io.SEEK_END)
            claimed = _claimed(file, size)
            return claimed if claimed > size else 0  # the layers of an editor are tags too
        parts = _jpeg_parts if start[:2] == b"\xff\xd8" else _png_parts if start[1:4] == b"PNG" else None
        if start[8:] == b"WEBP":
            parts = _webp_parts
        if parts is not None:
            block = b"".join(part.removeprefix(b"Exif\0\0") for part in parts(file))
            return len(block) if len(block) > MAX_TAG_BYTES else _claimed(io.BytesIO(block), len(block))
    return 0


def _jpeg_parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(2)
    left = 2 * MAX_TAG_BYTES
    while left > 0:
        mark, code, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or code == 0xDA:  # pixels follow
            return
        if code != 0xE1:
            file.seek(length - 2, io.SEEK_CUR)
        elif (content := file.read(length - 2)).startswith(b"Exif\0\0"):
            left -= length
            yield content


def _png_parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(8)
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"eXIf":
            yield file.read(min(length, 2 * MAX_TAG_BYTES))
            return
        file.seek(length + 4, io.SEEK_CUR)


def _webp_parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(12)
    while True:
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"EXIF":
            yield file.read(min(length, 2 * MAX_TAG_BYTES))
            return
        file.seek(length + length % 2, io.SEEK_CUR)


def _claimed(file: BinaryIO, size: int) -> int:
    file.seek(0)
    order = ">" if file.read(4).startswith(b"MM") else "<"
    (first,) = struct.unpack(order + "I", file.read(4))
    total, places = 0, [first]
    for place in places:  # grows on the way, by no more than three
        file.seek(place)
        (count,) = struct.unpack(order + "H", file.read(2))
        entries = file.read(12 * count)
        for tag, kind, number, value in struct.iter_unpack(order + "HHII", entries[: len(entries) // 12 * 12]):
            total += min(size, number * _SIZES.get(kind, 1))
            if tag in _FURTHER and len(places) < 4:
                places.append(value)
    return total
