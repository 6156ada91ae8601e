"""Background swaps of masked photos, after ImageNet-9 (Xiao et al. 2020, the Backgrounds Challenge)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from robustvit.common.errors import UserError, expect_one_of

Swap = Literal["mixed-same", "mixed-rand", "mixed-next", "mixed-other"]
SWAPS: tuple[Swap, ...] = ("mixed-same", "mixed-rand", "mixed-next", "mixed-other")


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


def usable_background(mask: Tensor, max_share: float = 0.9) -> bool:
    """Whether enough of the frame lies outside the object's box to serve as background; ``mask`` as above."""
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
        ``(3, H, W)``, ``image`` itself if the mask is empty.
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
    """Return the photo with the object's box black (ImageNet-9's only-bg-b).

    Args:
        image: ``(3, H, W)``.
        mask: ``(1, H, W)`` in [0, 1].

    Returns:
        ``(3, H, W)``, ``image`` itself if the mask is empty.
    """
    box = bounding_box(mask)
    if box is None:
        return image
    boxed = image.clone()
    boxed[:, box.top : box.bottom, box.left : box.right] = 0
    return boxed


def only_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """Return the object on a black background (ImageNet-9's only-fg); shapes as in ``boxed_background``."""
    return mask * image


def no_foreground(image: Tensor, mask: Tensor) -> Tensor:
    """Return the photo with the object black, so its silhouette stays (no-fg); shapes as in ``boxed_background``."""
    return (1 - mask) * image


def paste(image: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """Paste the masked object of ``image`` on ``background`` at the same position.

    Args:
        image: ``(3, H, W)``.
        mask: ``(1, H, W)`` in [0, 1]; soft values blend.
        background: ``(3, h, w)``, resized to the image's size.
    """
    if background.shape[-2:] != image.shape[-2:]:
        background = F.interpolate(background[None], size=image.shape[-2:], mode="bilinear", antialias=True)[0]
    return mask * image + (1 - mask) * background


def pair_backgrounds(
    labels: Sequence[int],
    usable: Sequence[bool],
    kind: Swap,
    *,
    swaps: int = 1,
    seed: int = 0,
    borrowers: Sequence[int] | None = None,
) -> list[list[int]]:
    """Choose the images that lend their background to each image, all of them as equally often as possible.

    ``mixed-same`` draws from the image's class, ``mixed-other`` from a class drawn uniformly from the others,
    ``mixed-rand`` from all classes including its own (ImageNet-9's rule), and ``mixed-next`` from the next class in
    order. Over all images, each donor of a class lends once before any lends twice. An image never lends to itself, and
    no donor is repeated for an image before all donors of the drawn class were used.

    Args:
        labels: class index of each image.
        usable: whether an image has enough background to lend.
        kind: one of ``SWAPS``.
        swaps: donors for each image.
        seed: fixes the choice.
        borrowers: images that need donors, by index; all when left out.

    Returns:
        For each image the indices of its donors; empty if it is not a borrower or no class of that kind can lend to it.
        Classes that cannot lend are not drawn.
    """
    expect_one_of("the background swap", kind, SWAPS)
    rng = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for index, (label, ok) in enumerate(zip(labels, usable, strict=True)):
        if ok:
            members.setdefault(label, []).append(index)
    donors = {label: _Donors(own, rng) for label, own in sorted(members.items())}
    classes = sorted(set(labels))
    following = dict(zip(classes, classes[1:] + classes[:1], strict=True))
    decks: dict[tuple[int, bool], _Deck] = {}
    chosen: list[list[int]] = [[] for _ in labels]
    needing = range(len(labels)) if borrowers is None else borrowers
    deals = Counter(labels[index] for index in needing)
    lending = np.array(list(donors), dtype=np.int64)
    for index in (i for _ in range(swaps) for i in rng.permutation(needing).tolist()):
        label = labels[index]
        own = any(donor != index for donor in members.get(label, [])[:2])
        if (label, own) not in decks:
            lenders = _list_lenders(kind, label, own, lending, following[label])
            decks[label, own] = _Deck(lenders, rng, swaps * deals[label])
        # Classes are dealt as donors are: the images of a class get every class in turn.
        if decks[label, own].size:
            donors[decks[label, own].next()].lend(index, chosen[index])
    return chosen


def _list_lenders(kind: Swap, label: int, own: bool, lending: np.ndarray, following: int) -> np.ndarray:
    """Return the classes to draw from for an image of class ``label``; ``own`` says whether its own can lend to it."""
    others = lending[lending != label]
    mine = np.array([label] if own else [], dtype=np.int64)
    if kind == "mixed-next":
        return others[others == following]
    return {"mixed-same": mine, "mixed-other": others, "mixed-rand": np.concatenate([mine, others])}[kind]


class _Deck:
    """Cards dealt in random order, each once before any is repeated.

    Only cards that will be dealt are kept: with K classes, K decks of K cards would not fit into memory.
    """

    def __init__(self, cards: np.ndarray, rng: np.random.Generator, deals: int) -> None:
        self.cards, self.rng, self.deals, self.size = cards, rng, deals, len(cards)
        self.left: list[int] = []

    def next(self) -> int:
        """Deal the next card."""
        if not self.left:
            self.left = self.rng.permutation(self.cards)[-self.deals :].tolist()
            if self.deals <= self.size:
                self.cards = self.cards[:0].copy()  # never shuffled again
        self.deals -= 1
        return self.left.pop()


class _Donors:
    """Images of a class that lend their backgrounds, in random order, each once before any is repeated."""

    def __init__(self, cards: Sequence[int], rng: np.random.Generator) -> None:
        self.cards, self.rng = list(cards), rng
        self.left: list[int] = []
        self.members = frozenset(cards)
        self.lent: list[tuple[int, list[int]]] = []  # borrowers, each with all of its donors

    def lend(self, image: int, had: list[int]) -> None:
        """Add a donor to those of an image; one of ``members`` must be another image."""
        if not self.left:
            self.left = self.rng.permutation(self.cards).tolist()
        at = next((at for at in reversed(range(len(self.left))) if self._fits(self.left[at], image, had)), None)
        had.append(self._exchanged(image, had) if at is None else self.left.pop(at))
        self.lent.append((image, had))

    def _fits(self, donor: int, image: int, had: Sequence[int]) -> bool:
        """Whether a donor may be the next of an image: not itself, and none again before it had all others."""
        others = len(self.members) - (image in self.members)
        rounds = sum(one in self.members for one in had) // others
        return donor != image and had.count(donor) <= rounds

    def _exchanged(self, image: int, had: Sequence[int]) -> int:
        """Take a donor from another image in exchange for one that is left, so that all are used equally often; if that
        is impossible, use one that fits once more.
        """
        start = int(self.rng.integers(len(self.lent) + 1))
        for other, theirs in [*self.lent[start:], *self.lent[:start]]:
            for left in self.left if other != image else ():
                for given in dict.fromkeys(reversed(theirs)):
                    fewer = given in self.members and left != other and theirs.count(left) < theirs.count(given)
                    if fewer and self._fits(given, image, had):
                        # Replace its last use: what came before had no repeats, and has none now.
                        theirs[len(theirs) - 1 - theirs[::-1].index(given)] = left
                        self.left.remove(left)
                        return given
        fit = [donor for donor in self.cards if self._fits(donor, image, had)]
        return fit[int(self.rng.integers(len(fit)))]
