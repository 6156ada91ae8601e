"""The pixels of a mask file as numbers or colours, before their meaning is decided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from robustvit.common.errors import UserError
from robustvit.data.read_photos import MAX_PIXELS, open_header, open_image

MASK_SUFFIXES = frozenset({".png", ".npy", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg"})
SIGNATURE = ("Software", "robustvit masks")
_DARK, _BRIGHT = 16, 239  # black and white, as far as tools that reduce colours keep them
_MOST_INDICES = 32
_LOSSY_TINT = 24  # how far the channels of a grey JPEG may differ


@dataclass(frozen=True)
class MaskPixels:
    """A decoded mask file.

    Attributes:
        path: the file.
        values: ``(H, W)``, greys, indices of a palette, or the numbers of an array; colours are ``(H, W, 3)`` uint8.
        palette: ``(256, 3)``, the colours of the indices.
        alpha: ``(H, W)`` uint8, transparency that differs from pixel to pixel.
        lossy: whether the format changes values, as JPEG does.
        ours: whether robustvit wrote it.
    """

    path: Path
    values: np.ndarray
    palette: np.ndarray | None = None
    alpha: np.ndarray | None = None
    lossy: bool = False
    ours: bool = False

    @property
    def in_colour(self) -> bool:
        """Whether the values are colours that are not grey."""
        return self.values.ndim == 3


def sign() -> PngInfo:
    """Return the text in a PNG by which its greys are read as soft values, since robustvit wrote it."""
    info = PngInfo()
    info.add_text(*SIGNATURE)
    return info


def is_signed(path: Path) -> bool:
    """Whether robustvit wrote a mask, by the text in the file."""
    try:
        with open_header(path) as image:
            return _has_signature(image)
    except UserError:
        return False


def read_pixels(path: Path) -> MaskPixels:
    """Decode a mask file, upright."""
    if path.suffix.lower() == ".npy":
        return MaskPixels(path, _read_array(path))
    with open_header(path) as header:
        lossy, ours = _is_lossy(header, path), _has_signature(header)
    image, alpha = _split_alpha(open_image(path))
    if image.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        known = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        palette[: len(known)] = known
        return MaskPixels(path, np.asarray(image), palette, alpha=alpha, lossy=lossy, ours=ours)
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        return MaskPixels(path, _to_numbers(np.asarray(image)), alpha=alpha, lossy=lossy, ours=ours)
    colours = np.asarray(image.convert("RGB"))
    if is_grey(colours, _LOSSY_TINT if lossy else 0):
        grey = np.asarray(image.convert("L")) if lossy else colours[..., 0]
        return MaskPixels(path, grey, alpha=alpha, lossy=lossy, ours=ours)
    return MaskPixels(path, colours, alpha=alpha, lossy=lossy, ours=ours)


def black_or_white(colours: np.ndarray) -> Literal["black", "white", "both", ""]:
    """Return which of the two all ``(N, 3)`` colours are; an empty text if any is neither."""
    black, white = (colours <= _DARK).all(axis=-1), (colours >= _BRIGHT).all(axis=-1)
    if not (black | white).all():
        return ""
    return "both" if black.any() and white.any() else "white" if white.any() else "black"


def is_grey(colours: np.ndarray, tolerance: int = 0) -> bool:
    """Whether the channels of all ``(..., 3)`` colours agree."""
    red, green, blue = (colours[..., channel] for channel in range(3))
    if not tolerance:
        return bool((red == green).all() and (green == blue).all())
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return bool((highest - lowest).max(initial=0) <= tolerance)


def _has_signature(image: Image.Image) -> bool:
    return image.info.get(SIGNATURE[0]) == SIGNATURE[1]


def _is_lossy(image: Image.Image, path: Path) -> bool:
    if image.format != "WEBP":
        return image.format == "JPEG"
    with path.open("rb") as file:
        return b"VP8L" not in file.read(64)  # the name of the lossless part


def _split_alpha(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """Split an image into its colours and its transparency, None if that is the same everywhere."""
    if image.mode in ("PA", "La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "P" and "transparency" in image.info:
        shown = image.convert("RGBA")
        alpha = shown.getchannel("A")
        if len(np.unique(np.asarray(image))) > _MOST_INDICES:
            image = shown.convert("RGB")  # a cut-out photo of few colours, whose indices mean nothing
    elif "A" in image.getbands():
        alpha = image.getchannel("A")
        image = image.convert("RGB" if image.mode == "RGBA" else "L")
    else:
        return image, None
    low, high = alpha.getextrema()
    return image, None if low == high else np.asarray(alpha)


def _read_array(path: Path) -> np.ndarray:
    try:
        # memory-mapped, so that a header that claims terabytes allocates nothing
        values: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise UserError(f"expected a mask at {path}, found none: check the path") from error
    except Exception as error:  # a broken header can raise any error; an empty array cannot be mapped
        raise UserError(f"cannot read mask {path}: it is not a plain NumPy array; save it with numpy.save") from error
    if values.size > MAX_PIXELS:
        raise UserError(f"refused to read mask {path}: {values.size:,} values are more than {MAX_PIXELS:,}")
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
        values = values.squeeze(0 if values.shape[0] == 1 else -1)
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise UserError(f"expected a mask of shape (height, width) in {path}, got {values.shape} {values.dtype}")
    return _to_numbers(np.array(values))


def _to_numbers(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint8) if values.dtype.kind == "b" else values
