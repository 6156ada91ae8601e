"""Masks that an annotation holds as text: images and arrays, packed or not, unpacked only up to a limit."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from robustvit.data.read_photos import MAX_PIXELS
from robustvit.masks.annotations.objects import BrokenEntry

_MOST_BYTES = MAX_PIXELS + 1000  # an array of a byte for each pixel, and its header; a PNG needs less


def from_base64(text: object) -> bytes:
    """Return the bytes that a text stands for."""
    if not isinstance(text, str):
        raise BrokenEntry("a mask without its image")
    try:
        return base64.b64decode(text)
    except (ValueError, binascii.Error) as error:
        raise BrokenEntry("a mask whose base64 text is broken") from error


def unpack(data: bytes, most: int = _MOST_BYTES) -> bytes:
    """Unpack zlib's format; what was never packed comes back as it is.

    Raises:
        BrokenEntry: it is cut off, or unpacks to more than ``most`` bytes.
    """
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, most)
    except zlib.error:
        return data
    if not unpacking.eof:
        raise BrokenEntry("a packed mask that is cut off or too large to be read")
    return plain


def png_values(data: bytes) -> np.ndarray:
    """Return the numbers of a PNG, ``(h, w)``: its transparency if it has a channel of it, else indices or greys."""
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BrokenEntry("a mask too large to be read")
            if image.mode in ("RGBA", "LA"):
                return np.asarray(image.getchannel("A"))
            return np.asarray(image if image.mode in ("1", "P") else image.convert("L"))
    except BrokenEntry:
        raise
    except Image.DecompressionBombError as error:
        raise BrokenEntry("a mask too large to be read, or broken") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise BrokenEntry("a mask whose PNG image is broken") from error


def numpy_array(data: bytes) -> np.ndarray:
    """Return an array that ``numpy.save`` wrote, without Python objects, whose header does not lie."""
    stream = BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, kind = read(stream)
        if kind.hasobject or kind.kind not in "buif" or len(shape) != 2 or min(shape) < 1:
            raise BrokenEntry("an array that is not a mask of height x width numbers")
        if shape[0] * shape[1] * kind.itemsize != len(data) - stream.tell():
            raise BrokenEntry("an array of another length than its header says")
        values = np.frombuffer(data, kind, offset=stream.tell())
        return values.reshape(shape, order="F" if by_columns else "C")
    except BrokenEntry:
        raise
    except Exception as error:  # a broken header can raise any error
        raise BrokenEntry("an array that is not NumPy's") from error
