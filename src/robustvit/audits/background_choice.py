"""The backgrounds that objects are put on in an audit: which photos lend theirs, and which borrow it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.swap_pairs import pair_backgrounds, pair_by_labels
from robustvit.data.swaps import usable_background

_CANDIDATES = 5  # backgrounds drawn for an object to be moved, in case the first is unusable


@dataclass(frozen=True)
class Pasting:
    """An object to be moved and its background: a file, or the first usable one of some photos."""

    index: int
    file: Path | None
    donors: tuple[int, ...]


def fit_photos(photos: CachedPhotos) -> tuple[list[int], list[bool]]:
    """Return the photos whose objects can be put on other backgrounds, and whether each photo can lend its background.

    As in ImageNet-9, the crop must keep over half of the object's box, and a photo lends its background if the object's
    box covers at most 90 % of the frame. A photo without an object lends the whole frame.
    """
    able, usable = [], []
    for index in range(len(photos)):
        item = photos[index]
        fit = bool((item["mask"] > 0.5).any()) and item["label"] >= 0 and item["kept"] > 0.5
        able += [index] * fit
        usable.append((item["empty"] and item["label"] >= 0) or (fit and usable_background(item["mask"])))
    return able, usable


def choose_tries(
    labels: Sequence[int], able: Sequence[int], usable: Sequence[bool], tries: int, seed: int
) -> list[tuple[int, int]]:
    """Choose pairs of a photo and another that lends its background.

    Each able photo gets ``tries`` different backgrounds, if there are that many, from the other classes in turn (see
    ``pair_backgrounds``). If a class has too few, those used least are added.
    """
    drawn = pair_backgrounds(labels, usable, "mixed-other", swaps=tries, seed=seed, borrowers=able)
    donors = {index: list(dict.fromkeys(drawn[index])) for index in able}
    lent = Counter(donor for own in donors.values() for donor in own)
    for index, own in donors.items():
        others = [i for i, ok in enumerate(usable) if ok and labels[i] != labels[index]] if len(own) < tries else []
        spare = sorted(set(others).difference(own), key=lambda i: (lent[i], i))[: tries - len(own)]
        own += spare
        lent.update(spare)
    return [(index, donor) for index, own in donors.items() for donor in own]


def choose_tries_by_labels(
    labels: Sequence[Sequence[int]], able: Sequence[int], usable: Sequence[bool], tries: int, seed: int
) -> list[tuple[int, int]]:
    """Choose backgrounds as ``choose_tries`` does, of photos that share no label."""
    chosen = pair_by_labels(labels, usable, "mixed-other", swaps=tries, seed=seed, borrowers=list(able))
    return [(index, donor) for index, donors in enumerate(chosen) for donor in donors]


def choose_pastings(
    labels: Sequence[int],
    able: Sequence[int],
    usable: Sequence[bool],
    count: int,
    seed: int,
    backgrounds: Sequence[Path] = (),
) -> list[Pasting]:
    """Choose up to ``count`` objects from the classes in turn, and draw a background for each.

    It is the same at every placement: one of ``backgrounds`` or, if there are none, the tiled background of a photo of
    another class. Each is used once before any is used twice where possible (see ``pair_backgrounds``).
    """
    rng = np.random.default_rng(seed)
    classes = {c: [i for i in able if labels[i] == c] for c in sorted({labels[i] for i in able})}
    shuffled = [rng.permutation(members).tolist() for members in classes.values()]
    longest = max(map(len, shuffled), default=0)
    chosen = [members[turn] for turn in range(longest) for members in shuffled if turn < len(members)][:count]
    chosen.sort()
    if backgrounds:
        rounds = -(-len(chosen) // len(backgrounds))
        drawn = [backgrounds[at] for _ in range(rounds) for at in rng.permutation(len(backgrounds))]
        return [Pasting(index, file, ()) for index, file in zip(chosen, drawn, strict=False)]
    first, more = (
        pair_backgrounds(labels, usable, "mixed-other", swaps=swaps, seed=seed, borrowers=chosen)
        for swaps in (1, _CANDIDATES)  # the first ones alone are even
    )
    return [Pasting(i, None, tuple(dict.fromkeys(first[i] + more[i]))) for i in chosen if first[i]]
