"""How often is a model called better that changed nothing: by the choice of an epoch, and by shared backgrounds?

    python -m benchmarks.study.selection_rates

Nothing is trained: answers are simulated. Better means that the whole 95 % interval of the change lies above zero; an
interval that holds calls at most 2.5 % of such models better.

*Selection*: 50 epochs, of which none changes accuracy. In each, a share of the photos turns, to right and to wrong
alike; who turns stays alike from epoch to epoch by a correlation. The epoch is chosen by the very change that is then
judged (the worst case), or by a criterion that correlates with it less. Judged are all photos, which also chose (as
before 2026-11-29), or the half that did not choose.

*Shared backgrounds*: 40 % of the donors turn the answers of all objects that stand on them, to right or to wrong
alike. Before: donors are drawn independently, and the interval is over photos alone. Now: ``pair_backgrounds`` and
``crossed_difference``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import date

import numpy as np

from benchmarks.dated import parser_of, write_dated
from robustvit.common.intervals import ClusteredAnswers, crossed_difference
from robustvit.common.provenance import versions
from robustvit.data.swap_pairs import pair_backgrounds

_Z = 1.959963984540054


def called_better(changes: np.ndarray) -> np.ndarray:
    """Whether Bonett and Price's interval of changes in {-1, 0, 1} lies above zero; photos along the last axis."""
    count = changes.shape[-1] + 2
    up, down = ((changes == sign).sum(axis=-1) + 1 for sign in (1, -1))
    mean = (up - down) / count
    return mean - _Z * np.sqrt(((up + down) / count - mean**2) / count) > 0


def epochs_of(rng: np.random.Generator, repeats: int, epochs: int, photos: int, likeness: float, turned: float):
    """Changes ``(epochs, repeats, photos)`` in {-1, 0, 1} of a model that changes nothing in expectation."""
    from scipy.stats import norm

    limit = norm.ppf(1 - turned / 2)
    latent = rng.standard_normal((repeats, photos), dtype=np.float32)
    found = np.empty((epochs, repeats, photos), dtype=np.int8)
    for epoch in range(epochs):
        if epoch:
            fresh = rng.standard_normal((repeats, photos), dtype=np.float32)
            latent = likeness * latent + np.float32((1 - likeness**2) ** 0.5) * fresh
        found[epoch] = (latent > limit).astype(np.int8) - (latent < -limit)
    return found


def selection_rates(
    photos: int, *, repeats: int = 2000, epochs: int = 50, likeness: float = 0.99, turned: float = 0.1,
    criterion: float = 1.0, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Shares of models called better that changed nothing.

    Args:
        photos: held out.
        repeats: simulated runs.
        epochs: to choose among.
        likeness: correlation of a photo's state in one epoch with that in the next.
        turned: share of the photos whose answer differs from the original's.
        criterion: correlation of what chooses the epoch with the change on the photos that choose.
        seed: of the simulation.

    Returns:
        ``all``: the photos that choose judge too; ``halves``: half chooses, the other half judges; ``one``: a single
        epoch, judged by all.
    """
    rng = np.random.default_rng(seed)
    changes = epochs_of(rng, repeats, epochs, photos, likeness, turned)
    runs = np.arange(repeats)

    def chosen(part: np.ndarray) -> np.ndarray:
        score = part.mean(axis=-1)
        noise = rng.standard_normal(score.shape) * score.std()
        return (criterion * score + (1 - criterion**2) ** 0.5 * noise).argmax(axis=0)

    half = changes[:, :, : photos // 2]
    return {
        "all": float(called_better(changes[chosen(changes), runs]).mean()),
        "halves": float(called_better(changes[chosen(half), runs][:, photos // 2 :]).mean()),
        "one": float(called_better(changes[-1]).mean()),
    }


def donor_rates(
    photos: int, *, classes: int, swaps: int = 2, flipping: float = 0.4, pairings: int = 40, draws: int = 50,
    kind: str = "mixed-other", seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Shares of models called better that changed nothing, where some donors turn all answers given on them.

    Args:
        photos: held out, in ``classes`` equally large classes.
        classes: how many.
        swaps: backgrounds for each photo.
        flipping: share of the donors that turn their guests' answers: half of them to right, half to wrong.
        pairings: draws of the donors, with ``draws`` draws of who flips for each.
        draws: see ``pairings``.
        kind: of swap.
        seed: of the simulation.

    Returns:
        ``before``: donors drawn independently, interval over photos alone; ``now``: as the package does.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(photos) % classes
    before, now = [], []
    for pairing in range(pairings):
        drawn = pair_backgrounds(labels.tolist(), [True] * photos, kind, swaps=swaps, seed=seed + pairing)  # type: ignore[arg-type]
        for _ in range(draws):
            effect = np.sign(rng.uniform(-1, 1, photos)) * (rng.random(photos) < flipping)
            shares = effect[_independent(rng, labels, swaps)].mean(axis=1)
            before.append(shares.mean() > _Z * shares.std(ddof=1) / photos**0.5)
            now.append(_crossed_low(drawn, effect) > 0)
    return {"before": float(np.mean(before)), "now": float(np.mean(now))}


def _independent(rng: np.random.Generator, labels: np.ndarray, swaps: int) -> np.ndarray:
    """For each photo photos of other classes, drawn independently, ``(photos, swaps)``."""
    drawn = rng.integers(len(labels), size=(len(labels), swaps))
    while (own := labels[drawn] == labels[:, None]).any():
        drawn = np.where(own, rng.integers(len(labels), size=drawn.shape), drawn)
    return drawn


def _crossed_low(drawn: Sequence[Sequence[int]], effect: np.ndarray) -> float:
    """Lower end of the interval of the change; a donor that turns answers to right found them wrong."""
    places = [index for index, donors in enumerate(drawn) for _ in donors]
    lent = np.array([donor for donors in drawn for donor in donors])
    return crossed_difference(
        ClusteredAnswers((effect[lent] < 0).astype(float), places, lent),
        ClusteredAnswers((effect[lent] > 0).astype(float), places, lent),
    ).low


def main() -> None:
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    start = time.perf_counter()
    selection = [
        {"photos": photos, "likeness": likeness, "turned": turned, "criterion": criterion}
        | selection_rates(photos, repeats=repeats, likeness=likeness, turned=turned, criterion=criterion)
        for photos in (50, 150, 600)
        for likeness, turned, criterion in (
            (0.99, 0.1, 1.0), (0.99, 0.3, 1.0), (0.999, 0.1, 1.0), (0.9, 0.1, 1.0), (0.0, 0.1, 1.0), (0.99, 0.1, 0.7)
        )
    ]  # fmt: skip
    donors = [
        {"photos": photos, "classes": classes, "swaps": swaps}
        | donor_rates(photos, classes=classes, swaps=swaps, pairings=repeats // 50)
        for photos, classes, swaps in ((20, 2, 2), (50, 5, 2), (150, 2, 2), (150, 10, 1), (150, 10, 2), (600, 10, 2))
    ]
    found = {"date": str(date.today()), "command": ["benchmarks/study/selection_rates.py", *sys.argv[1:]]}
    found |= {"versions": versions(), "processors": os.cpu_count(), "repeats": repeats}
    found |= {"seconds": time.perf_counter() - start, "selection": selection, "donors": donors}
    write_dated("selection_rates", found, text_of(found))


def text_of(found: dict) -> str:
    """The record as Markdown."""
    lines = [
        f"# Called better without any change, {found['date']}", "",
        f"`{' '.join(found['command'])}`: {found['repeats']} simulated runs for each row ({found['seconds']:.0f} s, "
        f"{found['versions']['machine']}, numpy {found['versions']['numpy']}, robustvit "
        f"{found['versions']['robustvit']}). Shares in %, of which 2.5 are what a 95 % interval allows.", "",
        "## The best of 50 epochs", "",
        "| photos held out | likeness of epochs | photos turned | criterion | the same photos choose and judge | half "
        "chooses, the other half judges | one epoch |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {row['photos']} | {row['likeness']:g} | {100 * row['turned']:.0f} % | {row['criterion']:g} | "
        + " | ".join(f"{100 * row[name]:.1f}" for name in ("all", "halves", "one")) + " |"
        for row in found["selection"]
    ]  # fmt: skip
    lines += [
        "", "## 40 % of the donors turn all their guests", "",
        "| photos | classes | swaps | independent draws, interval over photos | without reuse, interval over photos "
        "and donors |", "|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {row['photos']} | {row['classes']} | {row['swaps']} | {100 * row['before']:.1f} | {100 * row['now']:.1f} |"
        for row in found["donors"]
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
