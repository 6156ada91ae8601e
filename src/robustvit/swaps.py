"""Background swaps of masked photos, after ImageNet-9 (Xiao et al. 2020, the Backgrounds Challenge)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from robustvit.errors import UserError

__all__ = [
    "SWAPS",
    "Box",
    "bounding_box",
    "boxed_background",
    "no_foreground",
    "only_foreground",
    "pair_backgrounds",
    "paste",
    "tiled_background",
    "usable_background",
]

Swap = Literal["mixed-same", "mixed-rand", "mixed-next"]
SWAPS: tuple[Swap, ...] = ("mixed-same", "mixed-rand", "mixed-next")


class Box(NamedTuple):
    """Pixel bounds of an object; ``bottom`` and ``right`` lie outside it."""

    top: int
    left: int
    bottom: int
    right: int


def bounding_box(mask: Tensor) -> Box | None:
    """Box around a mask's pixels above one half, or None where there are none; ``mask`` is ``(1, H, W)`` in [0, 1]."""
    inside = mask[0] > 0.5
    rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
    if len(rows) == 0:
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def usable_background(mask: Tensor, max_share: float = 0.9) -> bool:
    """Whether enough of the frame lies outside the object's box to make a background of; ``mask`` as above."""
    box = bounding_box(mask)
    if box is None:
        return True
    area = (box.bottom - box.top) * (box.right - box.left)
    return area <= max_share * mask.shape[-1] * mask.shape[-2]


def tiled_background(image: Tensor, mask: Tensor) -> Tensor:
    """Fill the object's box by tiling the largest strip beside it (ImageNet-9's only-bg-t).

    Args:
        image: ``(3, H, W)``.
        mask: ``(1, H, W)`` in [0, 1].

    Returns:
        ``(3, H, W)``, ``image`` itself where the mask is empty.

    Raises:
        UserError: the box leaves no strip of background.
    """
    box = bounding_box(mask)
    if box is None:
        return image
    strips = [
        image[:, : box.top],
        image[:, box.bottom :],
        image[:, :, : box.left],
        image[:, :, box.right :],
    ]
    strip = max(strips, key=lambda part: part.shape[-2] * part.shape[-1])
    if strip.numel() == 0:
        raise UserError("expected some background around the object's box, but the box fills the frame")
    rows, columns = box.bottom - box.top, box.right - box.left
    repeats = (1, -(-rows // strip.shape[-2]), -(-columns // strip.shape[-1]))
    filled = image.clone()
    filled[:, box.top : box.bottom, box.left : box.right] = strip.repeat(repeats)[:, :rows, :columns]
    return filled


def boxed_background(image: Tensor, mask: Tensor) -> Tensor:
    """The photo with the object's box black (ImageNet-9's only-bg-b).

    Args:
        image: ``(3, H, W)``.
        mask: ``(1, H, W)`` in [0, 1].

    Returns:
        ``(3, H, W)``, ``image`` itself where the mask is empty.
    """
    box = bounding_box(mask)
    if box is None:
        return image
    boxed = image.clone()
    boxed[:, box.top : box.bottom, box.left : box.right] = 0
    return boxed


def only_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """The object alone, its background black (ImageNet-9's only-fg); shapes as in ``boxed_background``."""
    return mask * image


def no_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """The photo with the object black; its silhouette stays (ImageNet-9's no-fg); shapes as in ``boxed_background``."""
    return (1 - mask) * image


def paste(image: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """Put the masked object of ``image`` on ``background``, in its place.

    Args:
        image: ``(3, H, W)``.
        mask: ``(1, H, W)`` in [0, 1]; soft values blend.
        background: ``(3, h, w)``, resized to the image's size.
    """
    if background.shape[-2:] != image.shape[-2:]:
        background = F.interpolate(background[None], size=image.shape[-2:], mode="bilinear", antialias=True)[0]
    return mask * image + (1 - mask) * background


def pair_backgrounds(
    labels: Sequence[int], usable: Sequence[bool], kind: Swap, *, swaps: int = 1, seed: int = 0
) -> list[list[int]]:
    """Choose the images that lend their background to each image.

    ``mixed-same`` draws from the image's own class, ``mixed-rand`` from a class drawn uniformly out of all, and
    ``mixed-next`` from the next class in order. An image never lends to itself, and no donor is repeated for an image
    before all donors of the class drawn were used.

    Args:
        labels: class index of each image.
        usable: whether an image has enough background to lend.
        kind: one of ``SWAPS``.
        swaps: donors for each image.
        seed: fixes the choice.

    Returns:
        For each image the indices of its donors; fewer than ``swaps`` (even none) where a class has no donor.

    Raises:
        UserError: ``kind`` is unknown.
    """
    if kind not in SWAPS:
        raise UserError(f"expected a background swap out of {', '.join(SWAPS)}, got {kind!r}")
    generator = torch.Generator().manual_seed(seed)
    classes = sorted(set(labels))
    donors = {
        c: [i for i, (label, ok) in enumerate(zip(labels, usable, strict=True)) if ok and label == c] for c in classes
    }
    following = dict(zip(classes, classes[1:] + classes[:1], strict=True))

    def draw(index: int) -> list[int]:
        chosen: list[int] = []
        for _ in range(swaps):
            label = labels[index]
            if kind == "mixed-rand":
                label = classes[int(torch.randint(len(classes), (1,), generator=generator))]
            elif kind == "mixed-next":
                label = following[label]
            others = [donor for donor in donors[label] if donor != index]
            fresh = [donor for donor in others if donor not in chosen] or others
            if fresh:
                chosen.append(fresh[int(torch.randint(len(fresh), (1,), generator=generator))])
        return chosen

    return [draw(index) for index in range(len(labels))]
