"""Reading foreground masks in common formats, as numbers in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import MaskFormat
from robustvit.data.mask_kinds import ask_for_background, guess_kind, refuse_black_object
from robustvit.data.mask_pixels import MaskPixels, black_or_white, is_grey, read_pixels
from robustvit.data.mask_values import (
    FAINT,
    IMAGENET_S_IGNORE,
    NEARLY_FULL,
    VOID_ID,
    count_levels,
    imagenet_s_ids,
    is_one_on_black,
    is_whole,
    list_levels,
    pack_colours,
    voc_ids_by_colour,
    white_of,
)

_NOISE_SHARE = 0.95


def read_mask(path: str | Path, mask_format: MaskFormat = "auto") -> np.ndarray:
    """Read a foreground mask from an image or ``.npy``: float32 ``(H, W)`` in [0, 1], 1 on the object.

    ``auto`` recognises masks of two values, black and white palettes, soft masks, palettes of class ids, ImageNet-S
    and transparency, and asks if a file could be read in two ways. ``MASK_KINDS`` lists the other formats. Void and
    ignored pixels count as background.
    """
    expect_one_of("--mask-format", mask_format, get_args(MaskFormat))
    pixels = read_pixels(Path(path))
    mask = _READERS[guess_kind(pixels) if mask_format == "auto" else mask_format](pixels)
    if pixels.palette is not None and pixels.alpha is not None and (mask[pixels.alpha == 0] > 0.5).any():
        raise UserError(
            f"mask {path} is transparent where its colours mark the object: which of the two is the mask? save the "
            "right one in black and white, without transparency"
        )
    return mask


def read_ids(path: str | Path, mask_format: MaskFormat = "ids") -> np.ndarray:
    """Read the class id of each pixel, int64 ``(H, W)``, by ``ids`` or ``imagenet-s``; 0 is background or ignored."""
    pixels = read_pixels(Path(path))
    return _read_imagenet_s_ids(pixels) if mask_format == "imagenet-s" else _read_class_ids(pixels)


class FullMask(UserError):
    """A mask that leaves no background."""


def check_mask(mask: np.ndarray, path: str | Path) -> None:
    """Refuse a mask that is empty or covers everything."""
    if mask.max(initial=0) <= 0:
        raise UserError(f"empty mask {path}: no pixel is on the object; draw it, or move photo and mask elsewhere")
    check_background(mask, path)


def check_background(mask: np.ndarray, path: str | Path) -> None:
    """Refuse a mask that covers everything; an empty mask means that the photo shows no object."""
    if mask.min(initial=1) >= 1:
        raise FullMask(
            f"mask {path} covers the whole frame: no background is left; draw it, or move photo and mask elsewhere"
        )


def _read_soft(pixels: MaskPixels) -> np.ndarray:
    """Scale degrees to [0, 1], by 255 or 65,535 if there are whole numbers above 1."""
    values, path = _read_degrees(pixels), pixels.path
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all() or numbers.min(initial=0) < 0:
        raise UserError(f"expected mask values from 0 upwards in {path}, got negative ones or NaN")
    top = numbers.max(initial=0)
    if values.dtype.kind == "f" and top > 1 and (top > 65535 or not (is_whole(values) or 254 <= top <= 255)):
        raise UserError(f"expected mask values in [0, 1] in {path}, got up to {top:g}: divide by the largest")
    if top > 65535:
        raise UserError(f"expected mask values of 8 or 16 bits in {path}, got up to {top:g}: save it as 8 bits")
    if top in (2, 3) and numbers.min() >= 1 and not pixels.lossy:
        ask_for_background(pixels, count_levels(numbers)[0])
    mask = numbers / white_of(numbers)
    return (_remove_noise(mask) if pixels.lossy else mask).astype(np.float32)


def _remove_noise(mask: np.ndarray) -> np.ndarray:
    """Set pixels that compression left near black or white to these, in a black and white mask."""
    faint, full = mask < FAINT / 255, mask >= NEARLY_FULL / 255
    return np.where(faint, 0, np.where(full, 1, mask)) if (faint | full).mean() >= _NOISE_SHARE else mask


def _read_degrees(pixels: MaskPixels) -> np.ndarray:
    """Return greys, transparency, or 255 where a colour is on black."""
    colours = pixels.values
    if pixels.palette is not None:
        used = np.unique(pixels.values)
        colours = pixels.palette[pixels.values]
        if black_or_white(pixels.palette[used]):
            return np.where(colours[..., 0] > 127, np.uint8(255), np.uint8(0))
        if set(used.tolist()) <= {0, VOID_ID}:
            return pixels.values  # the indices are the mask, whatever colours the palette has
    elif pixels.alpha is not None:
        return pixels.alpha
    if colours.ndim == 2:
        return colours
    if is_grey(colours, 2):
        return colours[..., 0]
    packed, found = pack_colours(colours)
    if not is_one_on_black(found):
        raise UserError(
            f"cannot tell what the colours of mask {pixels.path} mean, there are {len(found)}: save it in black and "
            "white or in grey, or read class ids with --mask-format ids"
        )
    return np.where(packed > 0, np.uint8(255), np.uint8(0))


def _read_binary(pixels: MaskPixels) -> np.ndarray:
    """Cut at half of the largest value."""
    values, mask = _read_degrees(pixels), _read_soft(pixels)
    levels, _ = count_levels(values)
    if len(levels) > 2 and levels[-1] > 1 and is_whole(values) and not _is_clear(pixels):
        raise UserError(
            f"expected two values in mask {pixels.path}, found {list_levels(levels)}: class ids, degrees or a trimap? "
            "say so with --mask-format ids, --mask-format soft or --mask-format trimap"
        )
    top = mask.max(initial=0)
    return (mask >= top / 2).astype(np.float32) if top > 0 else mask


def _is_clear(pixels: MaskPixels) -> bool:
    try:
        return guess_kind(pixels) == "soft"
    except UserError:
        return False


def _read_inverted(pixels: MaskPixels) -> np.ndarray:
    two_toned = pixels.alpha is None and len(np.unique(_read_degrees(pixels))) == 2
    return 1 - (_read_binary(pixels) if two_toned or not _is_clear(pixels) else _read_soft(pixels))


def _read_trimap(pixels: MaskPixels) -> np.ndarray:
    if set(np.unique(pixels.values).tolist()) <= {1, 2, 3} and not pixels.in_colour:
        return (pixels.values == 1).astype(np.float32)
    degrees = _read_degrees(pixels)
    if set(np.unique(degrees).tolist()) <= {0, 127, 128, 255}:
        return (degrees == 255).astype(np.float32)
    raise UserError(
        f"expected a trimap in {pixels.path}, 1 object, 2 background and 3 border, or 255 object, 128 unknown and 0 "
        f"background, found {list_levels(count_levels(degrees)[0])}: check it"
    )


def _read_class_ids(pixels: MaskPixels) -> np.ndarray:
    if pixels.in_colour:
        return _ids_by_colour(pixels)
    values = pixels.values
    used = np.unique(values)
    if not is_whole(values) or (pixels.lossy and len(used) > 2):
        reason = "JPEG changes them: save them as PNG" if pixels.lossy else "they are not whole numbers: is it soft?"
        raise UserError(f"expected ids of classes in {pixels.path}, but {reason}")
    refuse_black_object(pixels)
    ids = values.astype(np.int64)
    ids[(ids < 0) | (ids == VOID_ID) | ((ids == 65535) & (values.dtype.itemsize > 1))] = 0
    return ids


def _ids_by_colour(pixels: MaskPixels) -> np.ndarray:
    packed, found = pack_colours(pixels.values)
    known = voc_ids_by_colour()
    if not set(found.tolist()) <= set(known):
        raise UserError(
            f"expected ids of classes in {pixels.path}, found colours: save it with a palette or in grey, or add a "
            "labelmap.txt that names the colours"
        )
    ids: np.ndarray = np.array([known[colour] for colour in found.tolist()])[np.searchsorted(found, packed)]
    return ids


def _read_imagenet_s_ids(pixels: MaskPixels) -> np.ndarray:
    colours = pixels.values if pixels.in_colour else np.repeat(pixels.values[..., None], 3, axis=2)
    if pixels.palette is not None or colours[..., 2].any():
        raise UserError(
            f"expected a colour mask of ImageNet-S (id = R + 256 G, B = 0) in {pixels.path}, found other: check it"
        )
    ids = imagenet_s_ids(colours)
    ids[ids == IMAGENET_S_IGNORE] = 0
    return ids


_READERS: dict[str, Callable[[MaskPixels], np.ndarray]] = {
    "soft": _read_soft,
    "binary": _read_binary,
    "inverted": _read_inverted,
    "ids": lambda pixels: (_read_class_ids(pixels) > 0).astype(np.float32),
    "imagenet-s": lambda pixels: (_read_imagenet_s_ids(pixels) > 0).astype(np.float32),
    "trimap": _read_trimap,
}
