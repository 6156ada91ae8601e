"""Reading photos of any common mode and depth, upright, with clear errors; ``pixels`` has the scales.

Only the formats in ``IMAGE_FORMATS`` are tried, whatever the file is called: some others of Pillow start programs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.data.deep_pixels import Numbers, PixelError, describe_storage
from robustvit.data.dicom import CONVERT, DICOM_SUFFIXES, read_dicom
from robustvit.data.image_tags import MAX_TAG_BYTES, tag_bytes
from robustvit.data.pixels import PLAIN, Pixels, to_rgb

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_PLAIN_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".bmp", ".webp"}
    | {".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
)
_FURTHER_FORMATS = dict.fromkeys((".heic", ".heif", ".hif"), "HEIF") | {".avif": "AVIF"}
IMAGE_SUFFIXES = _PLAIN_SUFFIXES | _FURTHER_FORMATS.keys() | DICOM_SUFFIXES
_FIRST_BYTES = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n": ".png", b"GIF8": ".gif", b"II*\0": ".tif", b"MM\0*": ".tif", b"BM": ".bmp"
}  # fmt: skip
MAX_PIXELS = 120_000_000  # more than most cameras have; half of it where decoding takes up to 24 bytes a pixel
_LONGEST_SHAPE = 100


def expect_image(path: str | Path) -> None:
    """Refuse a path that does not exist, before a model is loaded, which takes longer."""
    if not Path(path).exists():
        raise UserError(f"expected an image at {path}, found none: check the path")


def open_image(path: str | Path, at_least: int | None = None) -> Image.Image:
    """Open and decode an image file, in its own mode, rotated upright by its EXIF tag.

    If ``at_least`` that many pixels per side suffice, a JPEG is decoded at a fraction of its size, which is faster.
    """
    with open_header(path) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        stored = describe_storage(image)
        image.load()
        upright = ImageOps.exif_transpose(image)
        upright.format = image.format
        upright.info.update(stored)
        return upright


def open_photo(path: str | Path, at_least: int | None = None) -> Image.Image | Numbers:
    """Open and decode a photo as ``open_image`` does; DICOM, and colours of 16 bits in PNG, as numbers."""
    if Path(path).suffix.lower() in DICOM_SUFFIXES:
        return read_dicom(path, MAX_PIXELS // 2)
    image = open_image(path, at_least)
    if "narrowed" in image.info and image.format == "PNG":
        return _read_deep_colours(path)
    return image


def _read_deep_colours(path: str | Path) -> Numbers:
    """Read a PNG of 16 bits a colour, which was opened before, so that its size is known to be allowed."""
    from torchvision.io import ImageReadMode, decode_image, read_file

    with open_header(path) as image:
        values = decode_image(read_file(str(path)), ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    return Numbers(rotate_upright(values, turn))


def rotate_upright(values: np.ndarray, turn: int) -> np.ndarray:
    """Rotate an array ``(H, W)`` or ``(H, W, C)`` as the orientation tag of EXIF says."""
    if turn in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if turn in (2, 3, 6, 7) else values


@contextmanager
def open_header(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file without decoding it; errors inside the block become one line, as in ``open_image``."""
    expect_image(path)
    if not Path(path).is_file():  # reading a pipe would block forever
        raise UserError(f"expected an image at {path}, found a folder or device: name the file of a photo")
    try:
        with _open_checked(path) as image:
            if image.width * image.height > (most := _most_pixels(image)):
                raise UserError(
                    f"refused to decode {path}: {image.width:,} x {image.height:,} pixels are more than the "
                    f"{most:,} that are read; make it smaller"
                )
            yield image
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"cannot read {path}: no permission; change its rights, or move it elsewhere") from error
    except UnidentifiedImageError as error:
        raise UserError(f"cannot read {path}: {_explain_unknown(Path(path))}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"refused to decode {path}: {error}; make it smaller") from error
    except Exception as error:  # decoding a broken file can raise any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"cannot read {path}: it is broken or cut off ({reason}); replace it, or move it elsewhere"
        ) from error


def _open_checked(path: str | Path) -> Image.Image:
    """Open an image file whose tags claim no more bytes than are allowed."""
    if (claimed := tag_bytes(path)) > MAX_TAG_BYTES:
        raise UserError(
            f"refused to read {path}: its EXIF data or tags claim {claimed:,} bytes, more than {MAX_TAG_BYTES:,}; "
            "remove them, as with exiftool -all="
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is stricter
        return Image.open(path, formats=formats_of(path))


def formats_of(path: str | Path) -> tuple[str, ...]:
    """Return the formats that Pillow tries for a file: HEIC and AVIF only if its name ends so."""
    further = _FURTHER_FORMATS.get(Path(path).suffix.lower())
    if further == "HEIF":
        import_extra("pillow_heif", "heic", f"reading {path}", CONVERT).register_heif_opener()
    elif further == "AVIF" and not features.check("avif"):
        raise UserError(f"cannot read {path}: this Pillow reads no AVIF: pip install 'pillow>=11.3', or convert it")
    return IMAGE_FORMATS if further is None else (*IMAGE_FORMATS, further)


def kind_of(path: Path) -> str:
    """Return the ending that a photo should have by its first bytes; empty if it seems not to be a photo."""
    try:
        if not path.is_file():  # reading a pipe would block forever
            return ""
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return ""
    return kind_by_start(start)


def kind_by_start(start: bytes) -> str:
    """Return the ending that a photo should have by its first 132 bytes; empty if they are not those of a photo."""
    if start[8:12] == b"WEBP" or start[128:] == b"DICM":
        return ".webp" if start[8:12] == b"WEBP" else ".dcm"
    if start[4:8] == b"ftyp":
        return {b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}.get(
            start[8:12], ""
        )
    return next((ending for first, ending in _FIRST_BYTES.items() if start.startswith(first)), "")


def _explain_unknown(path: Path) -> str:
    """Return why Pillow cannot read a file, and what to do."""
    found = kind_of(path)
    if found == ".tif":
        return "it is a TIFF of a kind that is not read, such as floats of 64 bits or two bands of 16: save it as PNG"
    if found in (".heic", ".avif", ".dcm") and path.suffix.lower() != found:
        return f"it is not an image of a kind that {path.suffix} stands for, but {found[1:].upper()}: name it {found}"
    return "it is not an image; convert it to PNG or JPEG, or move it elsewhere"


def _most_pixels(image: Image.Image) -> int:
    """Return the limit of an image: JPEGs are decoded at a fraction of their size, grey images take a byte a pixel."""
    light = image.format == "JPEG" or (image.mode in ("1", "L", "P") and "transparency" not in image.info)
    return MAX_PIXELS if light else MAX_PIXELS // 2


def read_photo(path: str | Path, at_least: int | None = None, pixels: Pixels = PLAIN) -> Image.Image:
    """Read a photo as 8-bit RGB, upright: CMYK is converted, 16 bits and floats are scaled, transparency turns white.

    See ``Pixels`` for what is doubtful, and ``open_image`` for ``at_least``.
    """
    image = open_photo(path, at_least)
    width, height = image.size
    if max(image.size) > _LONGEST_SHAPE * min(image.size):  # resizing its shorter side to 256 would fill the memory
        raise UserError(
            f"cannot use {path}: of its {width:,} x {height:,} pixels one side is more than "
            f"{_LONGEST_SHAPE} times the other; crop it"
        )
    try:
        return to_rgb(image, pixels)
    except PixelError as error:
        raise UserError(f"cannot read {path}: {error}") from error
