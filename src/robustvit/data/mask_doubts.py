"""Doubts about a set of masks: background and object, or photos and masks, may be exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.common.wording import pluralize
from robustvit.data.mask_files import read_mask
from robustvit.data.mask_kinds import guess_kind
from robustvit.data.mask_pixels import is_signed, read_pixels
from robustvit.data.photo import Photo
from robustvit.data.read_photos import open_image

AT_BORDER = 0.6  # none of 1,519 masks of animals and tiles covers that much of the frame's border
_NEARLY_ALL = 0.95  # of the frame: nothing that could be a background is left
_LOOKED_AT = 512  # masks, evenly spread: reading them takes a second, and most of a set is known from them
_COMPARED = 5  # photos and masks that may be exchanged
_SIDE = 128  # a photo has many colours even if it is that small
_FEW, _MANY = 4, 64  # colours of a mask at most, and of a photo at least


def border_contact(mask: np.ndarray) -> float:
    """Return the share of the frame's border, one pixel wide, on the object; ``mask`` is ``(H, W)`` bool."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(edge.mean())


def check_masks(photos: Sequence[Photo], mask_format: MaskFormat) -> list[str]:
    """Check some of the masks, and return a note on each doubt; masks that cannot be read are ignored."""
    masks = list(dict.fromkeys(photo.mask for photo in photos if photo.mask is not None))
    masks = [mask for mask in masks[:: -(-len(masks) // _LOOKED_AT) or 1] if not is_signed(mask)]
    outside: list[Path] = []
    faint: list[Path] = []
    full: list[Path] = []
    read = 0
    for mask, values in _read_all(masks, mask_format):
        if values.min(initial=1) >= 1:
            full.append(mask)
        if values.max(initial=0) <= 0 or values.min(initial=1) >= 1:
            continue  # no object, or nothing else: neither says what the others mean
        read += 1
        if border_contact(values > 0.5) >= AT_BORDER or (values > 0.5).mean() >= _NEARLY_ALL:
            outside.append(mask)
        if values.max() < 0.5:
            faint.append(mask)
    if len(full) > 1 and 2 * len(full) > len(masks):
        _refuse_full(full, len(masks), mask_format)
    notes = []
    if 2 * len(outside) > read:
        notes.append(_ask_for_polarity(outside, read, mask_format))
    if faint:
        notes.append(
            f"{len(faint)} of {pluralize(read, 'mask')} looked at never reach one half, the first is {faint[0]}: no "
            "pixel there counts as the object. If the values are class ids, use --mask-format ids."
        )
    return notes


def _read_all(masks: Iterable[Path], mask_format: MaskFormat) -> Iterator[tuple[Path, np.ndarray]]:
    for mask in masks:
        with suppress(UserError):
            yield mask, read_mask(mask, mask_format)


def _refuse_full(full: list[Path], looked: int, mask_format: MaskFormat) -> None:
    given = "" if mask_format == "auto" else f", read by --mask-format {mask_format}"
    raise UserError(
        f"{len(full)} of {pluralize(looked, 'mask')} looked at, such as {full[0]}{given}, cover the whole frame: no "
        "background is left. Say what their values mean with --mask-format (inverted, ids or trimap), or draw the "
        "objects"
    )


def _ask_for_polarity(outside: list[Path], read: int, mask_format: MaskFormat) -> str:
    found = (
        f"in {len(outside)} of {pluralize(read, 'mask')} looked at, such as {outside[0]}, the object covers the border "
        "of the frame, or nearly all of it: is it the background?"
    )
    if mask_format != "auto":
        colour, other = ("white", "soft") if mask_format == "inverted" else ("black", "inverted")
        return f"{found[0].upper()}{found[1:]} If {colour} is the object, use --mask-format {other}."
    kind = guess_kind(read_pixels(outside[0]))
    raise UserError(
        f"{found} say so with --mask-format inverted (black is the object) or --mask-format {kind} (it is the object)"
    )


def refuse_exchanged(images: Iterable[Path], masks: Iterable[Path]) -> None:
    """Refuse files given as photos that look like masks, with files given as masks that look like photos."""
    photos, drawn = list(islice(images, _COMPARED)), list(islice(masks, _COMPARED))
    if not photos or not drawn:
        return
    few = all(count <= _FEW for count in map(count_colours, photos))
    if few and all(count >= _MANY for count in map(count_colours, drawn)):
        raise UserError(
            f"{photos[0]}, given as a photo, has the few colours of a mask, and {drawn[0]}, given as a mask, those of "
            "a photo: are --images and --masks exchanged? Name them the other way round"
        )


def count_colours(path: Path) -> int:
    """Count the colours of a picture, scaled down without mixing; 16, which decides nothing, if it is unreadable."""
    try:
        image = open_image(path)
        image = image.convert("RGB" if image.mode in ("P", "RGBA", "LA", "CMYK", "YCbCr") else image.mode)
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
        pixels = np.asarray(image)
    except (UserError, OSError, ValueError):
        return 16
    return len(np.unique(pixels.reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1), axis=0))
