"""The size of an image's tags before Pillow reads them: it copies the bytes of each, and thousands may share theirs."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

MAX_TAG_BYTES = 10_000_000  # a camera writes less than a hundredth of it
_MOST_PAGES = 1000
_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a value by type; else one
_FURTHER = (0x8769, 0x8825, 0xA005)  # tags that lead to more tags


def tag_bytes(path: str | Path) -> int:
    """Return the number of bytes that the tags of a JPEG, PNG, WebP, TIFF, HEIC or AVIF file claim; 0 without tags."""
    with open(path, "rb") as file, suppress(struct.error):
        start = file.read(12)
        if start[:4] in (b"II*\0", b"MM\0*"):
            size = file.seek(0, io.SEEK_END)
            claimed = _claimed(file, size)
            return claimed if claimed > size else 0  # the layers of an editor are tags too
        parts = _jpeg_parts if start[:2] == b"\xff\xd8" else None
        if start[1:4] == b"PNG" or start[8:] == b"WEBP":
            parts = _chunk_parts
        if start[4:8] == b"ftyp":
            parts = _heif_parts
        if parts is not None:
            block = b"".join(part.removeprefix(b"Exif\0\0") for part in parts(file))[: 2 * MAX_TAG_BYTES]
            return len(block) if len(block) > MAX_TAG_BYTES else _claimed(io.BytesIO(block), len(block))
    return 0


def count_pages(path: str | Path) -> int:
    """Return the number of pages of a TIFF file, of which no more than 1,000 are counted."""
    with open(path, "rb") as file, suppress(struct.error):
        start = file.read(16)
        order, large = "<" if start[:2] == b"II" else ">", 43 in start[2:4]
        seen: list[int] = []
        (place,) = struct.unpack(order + ("Q" if large else "I"), start[8:16] if large else start[4:8])
        while place and place not in seen and len(seen) < _MOST_PAGES:
            seen.append(place)
            file.seek(place)
            (count,) = struct.unpack(order + ("Q" if large else "H"), file.read(8 if large else 2))
            file.seek(count * (20 if large else 12), io.SEEK_CUR)
            (place,) = struct.unpack(order + ("Q" if large else "I"), file.read(8 if large else 4))
    return max(1, len(seen))


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


def _chunk_parts(file: BinaryIO) -> Iterator[bytes]:
    """Yield the first EXIF data among the chunks of a PNG or WebP file."""
    file.seek(0)
    png = file.read(12)[1:4] == b"PNG"
    file.seek(8 if png else 12)
    while len(head := file.read(8)) == 8:
        kind, size = (head[4:], head[:4]) if png else (head[:4], head[4:])
        length = int.from_bytes(size, "big" if png else "little")
        if kind == (b"eXIf" if png else b"EXIF"):
            yield file.read(min(length, 2 * MAX_TAG_BYTES))
            return
        file.seek(length + (4 if png else length % 2), io.SEEK_CUR)  # a checksum, or padding


def _heif_parts(file: BinaryIO) -> Iterator[bytes]:
    """Yield the EXIF data of a HEIC or AVIF file, which its boxes "iinf" and "iloc" lead to (ISO/IEC 23008-12)."""
    size = file.seek(0, io.SEEK_END)
    meta = next((body for kind, body in _boxes(file, 0, size) if kind == b"meta"), b"")
    inner = dict(_boxes(io.BytesIO(meta), 4, len(meta)))
    listed, places = inner.get(b"iinf", b""), inner.get(b"iloc", b"")
    if not listed or not places:
        return
    exif = set()
    for kind, body in _boxes(io.BytesIO(listed), 6 if listed[0] == 0 else 8, len(listed)):
        end = 8 if body[:1] == b"\3" else 6  # of the item's number, by the version
        if kind == b"infe" and body[end + 2 : end + 6] == b"Exif":
            exif.add(int.from_bytes(body[4:end]))
    left = 2 * MAX_TAG_BYTES
    for item, offset, length in _item_places(places):
        if item in exif and left > 0 and length > 4:
            file.seek(offset)
            start = int.from_bytes(file.read(4))  # of the TIFF header in the block
            left -= length
            yield file.read(min(length, 2 * MAX_TAG_BYTES))[start:]


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of boxes; pixels are not read."""
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if length == 1:
            (length,), head = struct.unpack(">Q", file.read(8)), 16
        length = length or end - start
        yield kind, b"" if kind == b"mdat" else file.read(max(0, min(length - head, 2 * MAX_TAG_BYTES)))
        start += max(length, head)


def _item_places(iloc: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield item, offset and length of the extents of a box "iloc"."""
    version, sizes = iloc[0], int.from_bytes(iloc[4:6])
    widths = [sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version else 0]
    reader = io.BytesIO(iloc[6:])

    def number(width: int) -> int:
        return int.from_bytes(reader.read(width))

    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        number(4 if version else 2)  # how the offset counts, and which file it is in
        base = number(widths[2])
        for _ in range(number(2)):
            number(widths[3])
            offset, length = number(widths[0]), number(widths[1])
            yield item, base + offset, length
            if reader.tell() >= len(iloc) - 6:
                return


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
