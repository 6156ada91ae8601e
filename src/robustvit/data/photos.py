"""Reading photos as people have them: any common mode and depth, upright, or a clear word about what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from robustvit.errors import UserError

__all__ = ["IMAGE_SUFFIXES", "as_photo", "open_image", "read_photo"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})


def open_image(path: str | Path) -> Image.Image:
    """Open and decode an image file whole, in its own mode, turned upright as its EXIF tag says.

    Raises:
        UserError: no such file, not an image, cut off, or too large to decode safely.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise UserError(f"expected an image at {path}, found none: check the path") from error
    except UnidentifiedImageError as error:
        raise UserError(f"cannot read {path}: it is not an image; remove it or convert it to PNG or JPEG") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"refused to decode {path}: {error}; make it smaller") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"cannot read {path}: it is broken or cut off ({error}); replace or remove it") from error


def read_photo(path: str | Path) -> Image.Image:
    """Read a photo as 8-bit RGB: CMYK converted, 16 bits scaled, transparency laid on white, EXIF turned upright.

    Raises:
        UserError: as ``open_image``.
    """
    return as_photo(open_image(path))


def as_photo(image: Image.Image) -> Image.Image:
    """Bring an image of any mode to 8-bit RGB, as ``read_photo`` does."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535 if values.max(initial=0) > 255 else 255
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
