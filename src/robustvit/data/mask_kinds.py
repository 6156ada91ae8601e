"""What a mask file holds: recognised if there is one reading, asked about if there are several."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.data.mask_pixels import MaskPixels, black_or_white, is_grey
from robustvit.data.mask_values import (
    IMAGENET_S_IGNORE,
    VOID_COLOUR,
    VOID_ID,
    count_levels,
    imagenet_s_ids,
    is_noisy,
    is_one_on_black,
    is_whole,
    list_levels,
    pack_colours,
    voc_ids_by_colour,
    white_of,
)

# The values of --mask-format, as in docs/reference/mask-files.md: what the file holds, and which part is the object.
MASK_KINDS: dict[MaskFormat, tuple[str, str]] = {
    "soft": ("degrees: 0 to 1, 0 to 255 or 0 to 65,535; or transparency", "white or opaque, greys in part"),
    "binary": ("two values", "the greater value"),
    "inverted": ("as `binary` or `soft`", "black"),
    "ids": ("class ids: grey, a palette, VOC's colours or `.npy`", "all ids but 0 (background) and 255 (void)"),
    "imagenet-s": ("class ids in colour, id = R + 256 G", "all ids but 0 (background) and 1000 (ignored)"),
    "trimap": ("1, 2 and 3 (Oxford-IIIT Pet), or 0, 128 and 255", "1, or 255; the border and unknown pixels are not"),
}
MOST_IDS = 128  # in one photo; a soft mask read as ids would give an object for each of its greys
_FEW = 32
_PIXELS_EACH = 8  # fewer pixels for each value are the rim of an outline, or a slope


def guess_kind(pixels: MaskPixels) -> MaskFormat:
    """Return the kind of mask in a file."""
    if pixels.ours:
        return "soft"
    if pixels.palette is not None:
        return _guess_palette(pixels, pixels.palette)
    if pixels.alpha is not None:
        return _guess_transparent(pixels, pixels.alpha)
    return _guess_colours(pixels) if pixels.in_colour else guess_greys(pixels, pixels.values)


def guess_greys(pixels: MaskPixels, values: np.ndarray, indexed: bool = False) -> MaskFormat:
    """Return whether whole numbers are degrees; numbers that could be both are ids if they are ``indexed``."""
    if not is_whole(values):
        return "soft"
    levels, counts = count_levels(values)
    if levels.min(initial=0) < 0 or levels.max(initial=0) > 65535:
        return "soft"  # whose reader refuses it
    full = white_of(levels)
    if _is_two_toned(levels, full) or is_noisy(levels * (255 / full), pixels.lossy):
        return "soft"
    between = (levels > 0) & (levels < full) & (levels != VOID_ID)
    inner, rim = levels[between], counts[between].sum()
    bright = bool((2 * inner >= full).any())
    if bright and not _is_trimap(levels) and (pixels.lossy or rim < _PIXELS_EACH * len(inner) or len(inner) > _FEW):
        return "soft"
    if bright and not _is_trimap(levels) and 2 * rim <= counts[levels == full].sum():
        return "soft"  # a smoothed outline
    if indexed and levels[0] == 0 and not bright:
        return "ids"
    ask_about_greys(pixels, levels)


def ask_about_greys(pixels: MaskPixels, levels: np.ndarray) -> NoReturn:
    """Refuse values that may be ids or degrees, or without any that is the background."""
    listed = list_levels(levels)
    if levels[0] > 0 and len(levels) > 1:
        ask_for_background(pixels, levels)
    if _is_trimap(levels):
        raise UserError(
            f"mask {pixels.path} has the grey values {listed}: a trimap, soft values or class ids? say so with "
            "--mask-format trimap (255 is the object), --mask-format soft or --mask-format ids"
        )
    bright = 2 * levels[levels != VOID_ID].max(initial=0) >= white_of(levels)
    half = "" if bright else ", none of which reaches one half"
    raise UserError(
        f"mask {pixels.path} has the grey values {listed}{half}: class ids or soft values? say so with "
        "--mask-format ids or --mask-format soft"
    )


def ask_for_background(pixels: MaskPixels, levels: np.ndarray) -> NoReturn:
    """Refuse values of which none is 0."""
    if set(levels.tolist()) <= {1, 2, 3}:
        raise UserError(
            f"mask {pixels.path} has the values {list_levels(levels)} and no pixel is 0, the background: a trimap or "
            "class ids? say so with --mask-format trimap (1 is the object, 2 the background, 3 the border) or "
            "--mask-format ids (all are objects)"
        )
    raise UserError(
        f"mask {pixels.path} has the values {list_levels(levels)} and no pixel is 0, the background: class ids or soft "
        "values? say so with --mask-format ids (all but 255 are objects) or --mask-format soft, or save the "
        "background as 0"
    )


def refuse_black_object(pixels: MaskPixels) -> None:
    """Refuse a palette of two colours whose order says that the black one is the object."""
    if pixels.palette is None:
        return
    tones = [black_or_white(pixels.palette[[index]]) for index in np.unique(pixels.values)]
    if len(tones) == 2 and tones[1] == "black" != tones[0]:
        raise UserError(
            f"the palette of mask {pixels.path} has another colour before black, though index 0 is the background of "
            "class ids: what is the object? say so with --mask-format binary (the other colour) or --mask-format "
            "inverted (black)"
        )


def _is_two_toned(levels: np.ndarray, full: int) -> bool:
    black = levels[levels < levels.max(initial=0)]
    return len(levels) <= 2 and not black.any() and (levels[-1] == 0 or levels[-1] >= 0.98 * full)


def _is_trimap(levels: np.ndarray) -> bool:
    found = set(levels.tolist())
    return len(found) == 3 and {0, 255} <= found <= {0, 127, 128, 255}


def _guess_palette(pixels: MaskPixels, palette: np.ndarray) -> MaskFormat:
    used = np.unique(pixels.values)
    colours = palette[used]
    if black_or_white(colours):
        return "soft"  # white is the object, whatever its index
    refuse_black_object(pixels)
    dark = black_or_white(palette[:1]) == "black"
    if set(used.tolist()) <= {0, VOID_ID} and tuple(palette[VOID_ID]) != VOID_COLOUR and (dark or used[0] > 0):
        return "soft"
    objects = used[(used > 0) & (used != VOID_ID)]
    if is_grey(colours, 2) and not (dark and len(objects) == 1):
        return _guess_grey_palette(pixels, palette)
    if not dark or len(used) > MOST_IDS:
        where = "is it a mask of class ids?" if dark else "in which index 0 is not black: is index 0 the background?"
        raise UserError(
            f"mask {pixels.path} has {len(used)} colours in a palette, {where} say so with --mask-format ids, or save "
            "the mask in black and white"
        )
    if used[0] > 0 and len(objects) > 1:
        ask_for_background(pixels, used)
    return "ids"


def _guess_grey_palette(pixels: MaskPixels, palette: np.ndarray) -> MaskFormat:
    greys = palette[..., 0][pixels.values]
    if (greys == pixels.values).all():
        return guess_greys(pixels, greys, indexed=True)
    try:
        return guess_greys(pixels, greys)
    except UserError as error:
        raise UserError(
            f"mask {pixels.path} has a palette of greys, {list_levels(np.unique(greys))}: degrees by its colours or "
            "class ids by its indices? say so with --mask-format soft or --mask-format ids"
        ) from error


def _guess_transparent(pixels: MaskPixels, alpha: np.ndarray) -> MaskFormat:
    shown_colours = pixels.values[alpha > 127].reshape(-1, 3 if pixels.in_colour else 1)
    if black_or_white(shown_colours) == "both":
        raise UserError(
            f"mask {pixels.path} is black and white where it is opaque: are the colours or the transparency the mask? "
            "save the right one in grey, without transparency"
        )
    return "soft"


def _guess_colours(pixels: MaskPixels) -> MaskFormat:
    if not pixels.values[..., 2].any():
        counts = np.bincount(imagenet_s_ids(pixels.values).ravel())
        if len(counts) <= IMAGENET_S_IGNORE + 1 and np.count_nonzero(counts) <= _FEW:  # more are shades of a colour
            return "imagenet-s"
    _, colours = pack_colours(pixels.values)
    if is_one_on_black(colours):
        return "soft"
    if set(colours.tolist()) <= set(voc_ids_by_colour()):
        return "ids"
    raise UserError(
        f"cannot tell what the colours of mask {pixels.path} mean, there are {len(colours)}: save it in black and "
        "white, in grey, with a palette, or as ImageNet-S does"
    )
