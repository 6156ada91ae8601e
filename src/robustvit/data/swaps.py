"""Background swaps of masked photos, after ImageNet-9 (Xiao et al. 2020, the Backgrounds Challenge)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from robustvit.common.errors import UserError

Swap = Literal["mixed-same", "mixed-rand", "mixed-next", "mixed-other"]
SWAPS: tuple[Swap, ...] = ("mixed-same", "mixed-rand", "mixed-next", "mixed-other")
_MOST_OF_FRAME = 0.9  # that an object's box may cover, for the rest to be a background


class ObjectBox(NamedTuple):
    """Pixel bounds of an object; ``bottom`` and ``right`` lie outside it."""

    top: int
    left: int
    bottom: int
    right: int


def bounding_box(mask: Tensor) -> ObjectBox | None:
    """Return the box around the pixels of a mask, ``(1, H, W)`` in [0, 1], above 0.5, or None if there are none."""
    inside = mask[0] > 0.5
    rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
    if len(rows) == 0:
        return None
    return ObjectBox(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def usable_background(mask: Tensor) -> bool:
    """Whether enough of the frame lies outside the object's box to serve as background; ``mask`` as above."""
    box = bounding_box(mask)
    if box is None:
        return True
    area = (box.bottom - box.top) * (box.right - box.left)
    return area <= _MOST_OF_FRAME * mask.shape[-1] * mask.shape[-2]


def tiled_background(image: Tensor, mask: Tensor) -> Tensor:
    """Fill the object's box by tiling the largest strip beside it (ImageNet-9's only-bg-t).

    ``image`` is ``(3, H, W)`` and ``mask`` ``(1, H, W)`` in [0, 1]; the image itself is returned if the mask is empty.
    """
    box = bounding_box(mask)
    if box is None:
        return image
    strips = [image[:, : box.top], image[:, box.bottom :], image[:, :, : box.left], image[:, :, box.right :]]
    strip = max(strips, key=lambda part: part.shape[-2] * part.shape[-1])
    if strip.numel() == 0:
        raise UserError("expected some background around the object's box, but the box fills the frame")
    rows, columns = box.bottom - box.top, box.right - box.left
    repeats = (1, -(-rows // strip.shape[-2]), -(-columns // strip.shape[-1]))
    filled = image.clone()
    filled[:, box.top : box.bottom, box.left : box.right] = strip.repeat(repeats)[:, :rows, :columns]
    return filled


def boxed_background(image: Tensor, mask: Tensor) -> Tensor:
    """Return the photo with the object's box black (ImageNet-9's only-bg-b); shapes as in ``tiled_background``."""
    box = bounding_box(mask)
    if box is None:
        return image
    boxed = image.clone()
    boxed[:, box.top : box.bottom, box.left : box.right] = 0
    return boxed


def only_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """Return the object on a black background (ImageNet-9's only-fg); shapes as in ``tiled_background``."""
    return mask * image


def no_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """Return the photo with the object black, so its silhouette stays (no-fg); shapes as in ``tiled_background``."""
    return (1 - mask) * image


def paste(image: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """Paste the masked object of ``image`` on ``background`` at the same position; soft values of the mask blend.

    The background, ``(3, h, w)``, is resized to the size of the image.
    """
    if background.shape[-2:] != image.shape[-2:]:
        background = F.interpolate(background[None], size=image.shape[-2:], mode="bilinear", antialias=True)[0]
    return mask * image + (1 - mask) * background
