"""How often the intervals of metrics over classes hold, by simulation.

python -m benchmarks.study.metric_coverage

For sets of few photos with classes of equal and of very unequal size: the share of simulated tests whose 95 % interval
holds the true value of a metric, and the true change between two models that make many of the same mistakes. Nothing is
trained and no photo is read: scores are a softmax of normal numbers, higher by the model's skill for the true class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.dated import parser_of, write_dated
from robustvit.common.derived_intervals import derived_difference, derived_interval
from robustvit.common.provenance import versions
from robustvit.evaluation.metrics import ACCURACY, METRICS, Metric, Predictions

SETS = ((10, 30), (5, 100), (20, 200), (15, 15, 15), (3, 5, 10, 20, 30), (10,) * 10, (5,) * 20)
SKILLS = ((0.5, 0.8), (1.0, 2.0), (2.0, 2.0), (2.5, 3.5))  # of the first and of the second model
SHARED = 0.8  # of the variance of both models' scores
LARGE = 12_000  # photos of the sets that the true values are from


def draw_pair(draw: np.random.Generator, counts: tuple[int, ...], skills: tuple[float, float]) -> list[Predictions]:
    """Return the answers of two models to the same photos."""
    labels = np.repeat(np.arange(len(counts)), counts)
    shared = draw.normal(size=(len(labels), len(counts)))
    pair = []
    for skill in skills:
        logits = math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * draw.normal(size=shared.shape)
        logits[np.arange(len(labels)), labels] += skill
        scores = np.exp(logits - logits.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        pair.append(Predictions(labels, scores.argmax(1), scores))
    return pair


def cover(metric: Metric, pairs: list[list[Predictions]], truth: list[Predictions]) -> dict[str, Any]:
    """Return how often the intervals of one model and of the change hold the truth, and how wide the latter is."""
    old, new = (metric.derive(one).value for one in truth)
    single, change, width = 0, 0, 0.0
    for pair in pairs:
        before, after = (metric.derive(one) for one in pair)
        one, two = derived_interval(after), derived_difference(before, after)
        single += one.low <= new <= one.high
        change += two.low <= new - old <= two.high
        width += two.half_width
    times = len(pairs)
    return {
        "value": new,
        "change": new - old,
        "single": single / times,
        "paired": change / times,
        "reach": width / times,
    }


def main() -> None:
    """Simulate, and write record and page."""
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    given = parser.parse_args()
    rows = []
    for counts in SETS:
        for skills in SKILLS:
            draw = np.random.default_rng([0, len(rows)])
            times = LARGE // sum(counts)
            truth = draw_pair(draw, tuple(times * count for count in counts), skills)
            pairs = [draw_pair(draw, counts, skills) for _ in range(given.repeats)]
            for name, metric in METRICS.items():
                if name != ACCURACY:
                    rows.append({"metric": name, "photos": counts, "skills": skills} | cover(metric, pairs, truth))
    write_dated(
        "metric_coverage", {"repeats": given.repeats, "rows": rows, "versions": versions()},
        _page(rows, given.repeats), given.out,
    )  # fmt: skip


def _page(rows: list[dict[str, Any]], repeats: int) -> str:
    lines = [
        "# Coverage of the intervals of metrics over classes\n",
        f"Simulated, {repeats} tests a row: the lowest and the mean share of tests, over four pairs of models, whose "
        "95 % interval holds the true value, or the true change between two models, and the mean half-width of the "
        "latter in points.\n",
        "| photos of each class | metric | value, lowest | mean | change, lowest | mean | half-width |",
        "|---|---|---|---|---|---|---|",
    ]
    for counts in SETS:
        said = (
            ", ".join(map(str, counts)) if len(set(counts)) > 1 or len(counts) < 4 else f"{len(counts)} × {counts[0]}"
        )
        for name in METRICS:
            own = [row for row in rows if row["photos"] == counts and row["metric"] == name]
            if own:
                single, paired = ([100 * row[key] for row in own] for key in ("single", "paired"))
                reach = 100 * np.mean([row["reach"] for row in own])
                lines.append(
                    f"| {said} | {METRICS[name].title} | {min(single):.0f} % | {np.mean(single):.0f} % | "
                    f"{min(paired):.0f} % | {np.mean(paired):.0f} % | {reach:.0f} |"
                )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
