"""Reading foreground masks in common formats, as numbers in [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import MaskFormat
from robustvit.data.read_photos import MAX_PIXELS, open_image

FAINTEST = 32  # a few grey values below this would be taken for class ids

MASK_SUFFIXES = frozenset({".png", ".npy", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg"})
_OPAQUE = 255
_VOID_ID = 255  # VOC: border of an object, or not annotated
_IMAGENET_S_IGNORE = 1000


def read_mask(path: str | Path, mask_format: MaskFormat = "auto") -> np.ndarray:
    """Read a foreground mask.

    ``auto`` takes ``.npy`` arrays and grey images as soft masks (values 0 and 1, or 0 and 255, are binary), palette
    images as class ids (VOC: 0 is background, 255 void), an alpha channel as a soft mask, and colour images as
    ImageNet-S (id = R + 256 G; 0 is background, 1000 is ignored). Void and ignored pixels count as background.

    Args:
        path: image file or ``.npy``.
        mask_format: ``auto``, ``soft``, ``ids`` or ``imagenet-s``.

    Returns:
        float32 ``(H, W)`` in [0, 1], 1 on the object.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        values = _read_array(path)
        if mask_format == "ids":
            return ((values > 0) & (values != _VOID_ID)).astype(np.float32)
        return _soft(values, path)
    image = open_image(path)
    if "A" in image.getbands() and image.getchannel("A").getextrema()[0] == _OPAQUE:
        image = image.convert("RGB" if image.mode == "RGBA" else "L")  # an opaque alpha channel carries no mask
    if mask_format == "auto":
        mask_format = _guess_format(image, path)
    if mask_format == "imagenet-s":
        channels = np.asarray(image.convert("RGB")).astype(np.int64)
        ids = channels[..., 0] + 256 * channels[..., 1]
        return ((ids > 0) & (ids != _IMAGENET_S_IGNORE)).astype(np.float32)
    if mask_format == "ids":
        values = np.asarray(image if image.mode in ("P", "L") or image.mode.startswith("I") else image.convert("L"))
        return ((values > 0) & (values != _VOID_ID)).astype(np.float32)
    expect_one_of("--mask-format", mask_format, get_args(MaskFormat))
    return _soft(_grey(image), path)


def check_mask(mask: np.ndarray, path: str | Path) -> None:
    """Refuse a mask that is empty or covers everything."""
    if mask.max(initial=0) <= 0:
        raise UserError(f"empty mask {path}: no pixel is on the object; draw it or remove the pair")
    if mask.min(initial=1) >= 1:
        raise UserError(f"mask {path} covers the whole frame: no background is left; draw it or remove the pair")


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
    return np.array(values)


def _grey(image: Image.Image) -> np.ndarray:
    if "A" in image.getbands():
        return np.asarray(image.getchannel("A"))
    if image.mode == "P" and set(np.unique(np.asarray(image)).tolist()) <= {0, 255}:
        return np.asarray(image)  # the indices are the mask, whatever colours the palette has
    return np.asarray(image.convert("L") if image.mode in ("P", "RGB", "CMYK", "YCbCr", "HSV") else image)


def _soft(values: np.ndarray, path: Path) -> np.ndarray:
    """Scale numbers to [0, 1], by 255 or 65,535 if they are integers above 1."""
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all() or numbers.min(initial=0) < 0:
        raise UserError(f"expected mask values from 0 upwards in {path}, got negative ones or NaN")
    top = numbers.max(initial=0)
    if top > 1:
        if values.dtype.kind == "f":
            raise UserError(f"expected mask values in [0, 1] in {path}, got up to {top:g}: divide by the largest")
        if top > 65535:
            raise UserError(f"expected mask values of 8 or 16 bits in {path}, got up to {top:g}: save it as 8 bits")
        numbers /= 255 if top <= 255 else 65535
    return numbers.astype(np.float32)


def _guess_format(image: Image.Image, path: Path) -> MaskFormat:
    if image.mode == "P":
        ids = np.unique(np.asarray(image))
        return "soft" if set(ids.tolist()) <= {0, 255} else "ids"
    if image.mode == "RGB":
        red, green, blue = (np.asarray(channel) for channel in image.split())
        if (red == green).all() and (green == blue).all():
            return "soft"
        if blue.any():
            raise UserError(f"cannot tell what the colours of mask {path} mean: save it as grey, palette or ImageNet-S")
        return "imagenet-s"
    if image.mode == "L" or image.mode.startswith("I"):
        levels = np.unique(np.asarray(image))
        inner = levels[(levels > 0) & (levels != _VOID_ID) & (levels < 65535)]
        if 0 < len(inner) <= 3 and levels.max() > 1 and inner.min() < 32:
            raise UserError(
                f"mask {path} has the grey values {levels.tolist()}: class ids or soft values? say so with "
                "--mask-format ids or --mask-format soft"
            )
    return "soft"
