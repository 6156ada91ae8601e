"""Which photos lend their background to photos of several labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustvit.common.errors import expect_one_of
from robustvit.data.swaps import Swap

_KINDS: tuple[Swap, ...] = ("mixed-same", "mixed-other")


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

    ``mixed-other`` draws from photos that share no class with the photo, so nothing in the background goes with what it
    shows; ``mixed-same`` from photos that share one. Of those that fit, the ones that lent least lend next.

    Args:
        labels: classes of each photo.
        usable: whether a photo has enough background to lend.
        kind: ``mixed-same`` or ``mixed-other``.
        swaps: donors for each photo; none is repeated, so fewer where fewer fit.
        seed: fixes the choice.
        borrowers: photos that need donors, by index; all when left out.

    Returns:
        For each photo the indices of its donors.
    """
    expect_one_of("the background swap of photos of several labels", kind, _KINDS)
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
