"""Photos given as masks, and masks as photos: recognised by their colours."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.data.read_photos import open_image

_LOOKED_AT = 5
_SIDE = 128  # a photo has many colours even if it is that small
_FEW, _MANY = 4, 64  # colours of a mask at most, and of a photo at least


def refuse_exchanged(images: Iterable[Path], masks: Iterable[Path]) -> None:
    """Refuse folders of which the first looks like masks and the second like photos.

    Args:
        images: files given as photos; a few are looked at.
        masks: files given as masks.
    """
    photos, drawn = list(islice(images, _LOOKED_AT)), list(islice(masks, _LOOKED_AT))
    if not photos or not drawn:
        return
    few = all(count <= _FEW for count in map(count_colours, photos))
    if few and all(count >= _MANY for count in map(count_colours, drawn)):
        raise UserError(
            f"{photos[0]}, given as a photo, has the few colours of a mask, and {drawn[0]}, given as a mask, those of "
            "a photo: are --images and --masks exchanged? Name them the other way round"
        )


def count_colours(path: Path) -> int:
    """Count the colours of a picture, scaled down without mixing any; 16, which says nothing, if it cannot be read."""
    try:
        image = open_image(path)
        image = image.convert("RGB" if image.mode in ("P", "RGBA", "LA", "CMYK", "YCbCr") else image.mode)
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
        pixels = np.asarray(image)
    except (UserError, OSError, ValueError):
        return 16
    return len(np.unique(pixels.reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1), axis=0))
