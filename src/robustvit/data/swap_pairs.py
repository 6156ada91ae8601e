"""Which photos lend their background to which: by their classes, or by all their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from robustvit.common.errors import expect_one_of
from robustvit.data.swaps import SWAPS, Swap


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
    donors = _group_donors(labels, usable, rng)
    classes = sorted(set(labels))
    following = dict(zip(classes, classes[1:] + classes[:1], strict=True))
    decks: dict[tuple[int, bool], _Deck] = {}
    chosen: list[list[int]] = [[] for _ in labels]
    needing = range(len(labels)) if borrowers is None else borrowers
    deals = Counter(labels[index] for index in needing)
    lending = np.array(list(donors), dtype=np.int64)
    for index in (i for _ in range(swaps) for i in rng.permutation(needing).tolist()):
        label = labels[index]
        own = label in donors and any(donor != index for donor in donors[label].cards[:2])
        if (label, own) not in decks:
            lenders = _list_lenders(kind, label, own, lending, following[label])
            decks[label, own] = _Deck(lenders, rng, swaps * deals[label])
        # Classes are dealt as donors are: the images of a class get every class in turn.
        if decks[label, own].size:
            donors[decks[label, own].next()].lend(index, chosen[index])
    return chosen


def pair_by_labels(
    labels: Sequence[Sequence[int]],
    usable: Sequence[bool],
    kind: Swap,
    *,
    swaps: int = 1,
    seed: int = 0,
    borrowers: Sequence[int] | None = None,
) -> list[list[int]]:
    """Choose the photos that lend their background to each photo: ``pair_backgrounds`` for photos of several labels.

    ``mixed-other`` draws from photos that share no class with the photo, so nothing in the background belongs to its
    classes; ``mixed-same`` from photos that share a class. Of those that fit, those that lent least lend next. No donor
    of a photo is repeated, so that there are fewer than ``swaps`` if fewer fit.
    """
    expect_one_of("the background swap of photos of several labels", kind, ("mixed-same", "mixed-other"))
    rng = np.random.default_rng(seed)
    sets = [frozenset(own) for own in labels]
    lent = np.zeros(len(sets))
    chosen: list[list[int]] = [[] for _ in sets]
    lenders = [index for index, ok in enumerate(usable) if ok]
    for index in rng.permutation(range(len(sets)) if borrowers is None else borrowers).tolist():
        fits = [
            other for other in lenders if other != index and bool(sets[index] & sets[other]) == (kind == "mixed-same")
        ]
        order = sorted(rng.permutation(fits).tolist(), key=lambda donor: lent[donor])
        chosen[index] = order[:swaps]
        lent[chosen[index]] += 1
    return chosen


def _group_donors(labels: Sequence[int], usable: Sequence[bool], rng: np.random.Generator) -> dict[int, _Donors]:
    """Return the images of each class that can lend."""
    members: dict[int, list[int]] = {}
    for index, (label, ok) in enumerate(zip(labels, usable, strict=True)):
        if ok:
            members.setdefault(label, []).append(index)
    return {label: _Donors(own, rng) for label, own in sorted(members.items())}


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
        had.append(self._exchange(image, had) if at is None else self.left.pop(at))
        self.lent.append((image, had))

    def _fits(self, donor: int, image: int, had: Sequence[int]) -> bool:
        """Whether a donor may be the next of an image: not itself, and none again before it had all others."""
        others = len(self.members) - (image in self.members)
        rounds = sum(one in self.members for one in had) // others
        return donor != image and had.count(donor) <= rounds

    def _exchange(self, image: int, had: Sequence[int]) -> int:
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
