"""Limits on what visitors send, and reading their photos within them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from robustvit.common.errors import UserError
from robustvit.data.dicom import DICOM_SUFFIXES, check_dicom
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.read_photos import formats_of, read_photo

MB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits on what visitors send.

    Attributes:
        photo_bytes: size of a photo, mask or background.
        photo_pixels: its pixels, checked before decoding.
        archive_bytes: size of a zipped folder.
        stored_bytes: size of all uploads together; each is removed after an hour.
        message_bytes: size of a request without a file.
        drawing_bytes: size of a drawing.
        audit_photos: photos in an archive, and as many masks.
        audit_bytes: size of an unpacked archive.
        audit_seconds: duration of an audit.
    """

    photo_bytes: int = 20 * MB
    photo_pixels: int = 50_000_000
    archive_bytes: int = 200 * MB
    stored_bytes: int = 2000 * MB
    message_bytes: int = MB // 4
    drawing_bytes: int = 8 * MB
    audit_photos: int = 1000
    audit_bytes: int = 1000 * MB
    audit_seconds: float = 3600.0


@contextmanager
def hide_folder(path: str | Path) -> Iterator[None]:
    """Give the name of a visitor's file in messages, not its path."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), Path(path).name)) from error


def check_image(path: str | Path, limits: Limits) -> None:
    """Check that an image may be decoded, from its size and header alone."""
    path = Path(path)
    check_size(path, limits)
    if path.suffix.lower() in DICOM_SUFFIXES:
        with hide_folder(path):
            check_dicom(path, limits.photo_pixels)
        return
    try:
        with Image.open(path, formats=formats_of(path)) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(path, "more", limits) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path.name} is not an image in a known format: expected JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, HEIC, AVIF "
            "or DICOM; choose another file or convert it"
        ) from error
    if width * height > limits.photo_pixels:
        raise _too_many_pixels(path, f"{width} x {height}", limits)


def check_size(path: str | Path, limits: Limits) -> None:
    """Check that an image file is not too large."""
    size = Path(path).stat().st_size
    if size > limits.photo_bytes:
        raise UserError(
            f"{Path(path).name} is too large: {size / MB:.1f} MB, expected at most {limits.photo_bytes // MB} MB; "
            "save it smaller"
        )


def _too_many_pixels(path: Path, got: str, limits: Limits) -> UserError:
    most = limits.photo_pixels // 1_000_000
    return UserError(f"{path.name} has too many pixels: expected at most {most} million, got {got}; save it smaller")


def read_limited(path: str | Path, limits: Limits, pixels: Pixels = PLAIN) -> Image.Image:
    """Read a photo of a visitor within the limits."""
    check_image(path, limits)
    with hide_folder(path):
        return read_photo(path, pixels=pixels)
