"""Reading photos of any common mode and depth, upright, with clear errors.

Only the formats in ``IMAGE_FORMATS`` are tried, whatever the file is called: some others of Pillow start programs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from robustvit.common.errors import UserError
from robustvit.data.image_tags import MAX_TAG_BYTES, tag_bytes

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 120_000_000  # more than most cameras have; half of it where decoding takes up to 24 bytes a pixel
_LONGEST_SHAPE = 100


def open_image(path: str | Path, at_least: int | None = None) -> Image.Image:
    """Open and decode an image file, in its own mode, rotated upright by its EXIF tag.

    Args:
        path: the file.
        at_least: sufficient pixels per side; a JPEG is then decoded at a fraction of its size, which is faster.
    """
    with open_header(path) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        return ImageOps.exif_transpose(image)


@contextmanager
def open_header(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file without decoding it; errors inside the block become one line, as in ``open_image``."""
    if Path(path).exists() and not Path(path).is_file():  # reading a pipe would block forever
        raise UserError(f"expected an image at {path}, found something that is not a file: remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is stricter
            if (claimed := tag_bytes(path)) > MAX_TAG_BYTES:
                raise UserError(
                    f"refused to read {path}: its EXIF data or tags claim {claimed:,} bytes, more than "
                    f"{MAX_TAG_BYTES:,}; remove them, as with exiftool -all="
                )
            image = Image.open(path, formats=IMAGE_FORMATS)
        with image:
            if image.width * image.height > (most := _most_pixels(image)):
                raise UserError(
                    f"refused to decode {path}: {image.width:,} x {image.height:,} pixels are more than the "
                    f"{most:,} that are read; make it smaller"
                )
            yield image
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"expected an image at {path}, found none: check the path") from error
    except PermissionError as error:
        raise UserError(f"cannot read {path}: no permission; change its rights, or remove it") from error
    except UnidentifiedImageError as error:
        raise UserError(f"cannot read {path}: it is not an image; remove it or convert it to PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"refused to decode {path}: {error}; make it smaller") from error
    except Exception as error:  # decoding a broken file can raise any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read {path}: it is broken or cut off ({reason}); replace or remove it") from error


def _most_pixels(image: Image.Image) -> int:
    """Return the limit of an image: JPEGs are decoded at a fraction of their size, grey images take a byte a pixel."""
    light = image.format == "JPEG" or (image.mode in ("1", "L", "P") and "transparency" not in image.info)
    return MAX_PIXELS if light else MAX_PIXELS // 2


def read_photo(path: str | Path, at_least: int | None = None) -> Image.Image:
    """Read a photo as 8-bit RGB: CMYK is converted, 16 bits and floats in [0, 1] are scaled, transparency turns white,
    and the photo is rotated upright; ``at_least`` as in ``open_image``.
    """
    image = open_image(path, at_least)
    if max(image.size) > _LONGEST_SHAPE * min(image.size):  # resizing its shorter side to 256 would fill the memory
        raise UserError(
            f"cannot use {path}: of its {image.width:,} x {image.height:,} pixels one side is more than "
            f"{_LONGEST_SHAPE} times the other; crop it"
        )
    try:
        return as_photo(image)
    except _NoNumbers as error:
        raise UserError(f"cannot read {path}: {error}; replace or remove it") from error


class _NoNumbers(UserError):
    """Floating-point pixels that are NaN or infinite."""


def as_photo(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB, as ``read_photo`` does."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise _NoNumbers("expected pixels that are numbers, some are NaN or infinite")
        largest = values.max(initial=0)
        top = 1 if image.mode == "F" and largest <= 1 else 65535 if largest > 255 else 255
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
