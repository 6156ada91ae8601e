"""How often the intervals of the worst group, of the gap and of changes hold the truth, in simulations.

Run ``python -m benchmarks.group_intervals``; it takes about a minute, and writes a record to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np

from robustvit.common.files import write_json, write_text
from robustvit.common.group_intervals import gap_interval, worst_change, worst_interval
from robustvit.common.intervals import mean_interval

RESULTS = Path(__file__).parent / "results"
CASES = (
    ((0.7,) * 4, (30,) * 4),
    ((0.6, 0.8, 0.9, 0.9), (30,) * 4),
    ((0.7,) * 10, (20,) * 10),
    ((0.9,) * 12, (100,) * 12),
    ((0.5, 0.9), (40, 400)),
    ((0.8, 0.85, 0.9, 0.95), (20, 50, 200, 400)),
)
CHANGES = (
    ((0.7,) * 4, (0.7,) * 4, (40,) * 4),
    ((0.6, 0.9, 0.9, 0.9), (0.8, 0.9, 0.9, 0.9), (40,) * 4),
    ((0.6, 0.7, 0.8, 0.9), (0.8, 0.65, 0.8, 0.9), (40,) * 4),
    ((0.9, 0.1), (0.85, 0.85), (300, 40)),
    ((0.9, 0.1), (0.85, 0.85), (40, 40)),
    ((0.85, 0.85), (0.9, 0.1), (300, 40)),
)


def simulate_groups(true: tuple[float, ...], counts: tuple[int, ...], trials: int) -> dict[str, float]:
    """Return shares of intervals that hold the truth, and the mean error of the lowest accuracy."""
    rng = np.random.default_rng(0)
    held = {"worst": 0, "of the lowest group": 0, "gap": 0}
    error = 0.0
    for _ in range(trials):
        groups = [(rng.random(n) < p).astype(float) for p, n in zip(true, counts, strict=True)]
        worst, gap = worst_interval(groups), gap_interval(groups)
        usual = mean_interval(min(groups, key=np.mean))
        held["worst"] += worst.low <= min(true) <= worst.high
        held["of the lowest group"] += usual.low <= min(true) <= usual.high
        held["gap"] += gap.low <= max(true) - min(true) <= gap.high
        error += worst.mean - min(true)
    return {name: count / trials for name, count in held.items()} | {"error": error / trials}


def simulate_changes(old: tuple[float, ...], new: tuple[float, ...], counts: tuple[int, ...], trials: int) -> float:
    """Return how many intervals of the change hold the truth; six photos in ten are as hard for both models."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(trials):
        before, after = [], []
        for p, q, photos in zip(old, new, counts, strict=True):
            hard = rng.random(photos)
            before.append((hard < p).astype(float))
            after.append((np.where(rng.random(photos) < 0.6, hard, rng.random(photos)) < q).astype(float))
        found = worst_change(before, after)
        held += found.low <= min(new) - min(old) <= found.high
    return held / trials


def main() -> None:
    """Simulate, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    rows = [{"true": true, "photos": counts} | simulate_groups(true, counts, trials) for true, counts in CASES]
    changes = [
        {"before": old, "after": new, "photos": counts, "worst": simulate_changes(old, new, counts, trials)}
        for old, new, counts in CHANGES
    ]
    name = RESULTS / f"group_intervals-{date.today()}"
    write_json({"trials": trials, "groups": rows, "changes": changes}, name.with_suffix(".json"))
    lines = [
        f"# Intervals of the worst group in simulations ({date.today()})\n",
        f"Share of 95 % CIs that hold the truth in {trials} simulations each (`python -m benchmarks.group_intervals`).",
        "*Usual*: the interval of the group that happened to be lowest. *Error*: measured lowest minus true lowest.\n",
        "| true accuracies | photos | worst group | usual | gap | error, points |\n|---|---|---|---|---|---|",
        *(
            f"| {_list(row['true'])} | {_list(row['photos'])} | {row['worst']:.3f} | {row['of the lowest group']:.3f} "
            f"| {row['gap']:.3f} | {100 * row['error']:+.1f} |"
            for row in rows
        ),
        "\nChange of the worst group:\n",
        "| before | after | photos | holds |\n|---|---|---|---|",
        *(
            f"| {_list(row['before'])} | {_list(row['after'])} | {_list(row['photos'])} | {row['worst']:.3f} |"
            for row in changes
        ),
    ]
    write_text("\n".join(lines) + "\n", name.with_suffix(".md"))


def _list(values: object) -> str:
    numbers = list(values)  # type: ignore[call-overload]
    return f"{len(numbers)} × {numbers[0]}" if len(set(numbers)) == 1 else ", ".join(map(str, numbers))


if __name__ == "__main__":
    main()
