"""Reading photos of any common mode and depth, upright, with clear errors; ``pixels`` has the scales.

Only the formats in ``IMAGE_FORMATS`` are tried, whatever the file is called: some others of Pillow start programs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from robustvit.common.errors import UserError
from robustvit.data.image_tags import MAX_TAG_BYTES, tag_bytes
from robustvit.data.pixels import DEEP_SUFFIXES, PLAIN, PixelError, Pixels, decide_tops, is_deep, narrowed, to_rgb

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".pjpeg",
        ".pjp",
        ".mpo",
        ".png",
        ".apng",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
    }
    | {".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
)
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
        halved = narrowed(image)
        image.load()
        upright = ImageOps.exif_transpose(image)
        upright.format = image.format
        if halved:
            upright.info["narrowed"] = True
        return upright


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


def read_photo(path: str | Path, at_least: int | None = None, pixels: Pixels = PLAIN) -> Image.Image:
    """Read a photo as 8-bit RGB: CMYK is converted, 16 bits and floats are scaled, transparency turns white, and the
    photo is rotated upright; see ``Pixels`` for what is doubtful, and ``open_image`` for ``at_least``.
    """
    image = open_image(path, at_least)
    if max(image.size) > _LONGEST_SHAPE * min(image.size):  # resizing its shorter side to 256 would fill the memory
        raise UserError(
            f"cannot use {path}: of its {image.width:,} x {image.height:,} pixels one side is more than "
            f"{_LONGEST_SHAPE} times the other; crop it"
        )
    try:
        return to_rgb(image, pixels)
    except PixelError as error:
        raise UserError(f"cannot read {path}: {error}") from error


def find_scales(paths: Iterable[Path]) -> dict[Path, float | None]:
    """Return the number that is white for each photo of more than 8 bits: one for all, as they are one set.

    It is None where several numbers are plausible.
    """
    deep = {path: _find_largest(path) for path in paths if _may_be_deep(path)}
    return decide_tops({path: found for path, found in deep.items() if found is not None})


def read_together(paths: Sequence[str | Path], pixels: Pixels = PLAIN) -> list[Image.Image]:
    """Read photos as one set: those of more than 8 bits are on one scale."""
    tops = find_scales(map(Path, paths)) if pixels.top is None else {}
    return [read_photo(path, pixels=replace(pixels, top=tops.get(Path(path), pixels.top))) for path in paths]


def _find_largest(path: Path) -> tuple[float, bool] | None:
    """Return the largest number in a photo of more than 8 bits, and whether it holds floats; None for other photos."""
    try:
        with open_header(path) as image:
            if not is_deep(image) and not narrowed(image):
                return None
            if not is_deep(image):
                return 256.0 * (1 + int(np.asarray(image.convert("RGB")).max(initial=0))) - 1, False
            values = np.asarray(image)
            return (float(values.max(initial=0)), image.mode == "F") if np.isfinite(values).all() else None
    except UserError:
        return None  # it is refused where it is read


def _may_be_deep(path: Path) -> bool:
    """Whether a photo may hold more than 8 bits, by its ending, and by the first bytes of a PNG."""
    if path.suffix.lower() not in DEEP_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(25)
    except (OSError, ValueError):  # it is refused where it is read; a name may hold a null
        return False
    return not start.startswith(b"\x89PNG") or start[24:] == b"\x10"
