"""The figure of docs/explanation/study.md: what 1, 3, 10 and 30 masks a class give.

    python -m benchmarks.recipes.curve --seeds 1 2

Lines are means over the same base models, with interpolated weights; every base model is a dot, because an interval
over two or three of them would say little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from benchmarks.dated import parser_of
from benchmarks.page_tables import RESULTS, ROOT, newest
from benchmarks.recipes.page import answers
from benchmarks.recipes.table import COLUMNS, groups, pooled
from robustvit.common.charts import save_figure

SHOWN = ("ordinary", "mixed-other", "unseen backgrounds")
LINES = {
    ("swaps + relevance", "drawn"): "swaps and relevance, drawn masks",
    ("swaps", "drawn"): "swaps alone, drawn masks",
    ("swaps + relevance", "tokencut"): "swaps and relevance, found masks",
    ("cross-entropy + relevance", "drawn"): "cross-entropy and relevance, drawn masks",
}
Points = dict[tuple[str, str], dict[int, dict[str, list[float]]]]


def points(cells: dict[str, Any], size: str, seeds: list[int]) -> Points:
    """Change of every base model in points, by arm and masks, then by masks a class, then by what was measured.

    Cells that were not run for all of these base models are left out.
    """
    base = [cells[f"base-{size}-{seed}"]["answers"] for seed in seeds]
    found: Points = {line: {} for line in LINES}
    for (masks, samples, side), arms in groups(cells).items():
        for arm in arms:
            if side == size and (arm, masks) in LINES and set(seeds) <= set(arms[arm]):
                after = answers(arms[arm], seeds, True)
                found[arm, masks][int(samples)] = {
                    name: (100 * (pooled(after, tests) - pooled(base, tests)).mean(axis=1)).tolist()
                    for name, tests in ((name, COLUMNS[name]) for name in SHOWN)
                }
    return found


def draw(found: Points) -> Figure:
    """A panel for each measure, a line for each kind of masks."""
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    axes = figure.subplots(1, len(SHOWN), sharey=True)
    for axis, measure in zip(axes, SHOWN, strict=True):
        for place, ((arm, masks), title) in enumerate(LINES.items()):
            numbers = sorted(found[arm, masks])
            if not numbers:
                continue
            changes = np.array([found[arm, masks][number][measure] for number in numbers])
            shifted = [number * (1 + 0.07 * (place - 1.5)) for number in numbers]  # so that dots do not hide another
            (line,) = axis.plot(shifted, changes.mean(axis=1), marker="os^D"[place], label=title)
            axis.plot(shifted, changes, linestyle="", marker=".", markersize=4, color=line.get_color(), alpha=0.6)
        axis.axhline(0, color="0.5", linewidth=0.8)
        axis.set(xscale="log", title=measure, xlabel="masks a class")
        axis.xaxis.set_major_locator(FixedLocator([1, 3, 10, 30]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("change in points")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def main() -> None:
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--seeds", nargs="+", type=int, required=True, help="base models to show")
    seeds = parser.parse_args().seeds
    cells = newest(RESULTS, "recipes")[1]["cells"]
    save_figure(draw(points(cells, "112", seeds)), ROOT / "docs" / "explanation" / "study-masks")


if __name__ == "__main__":
    main()
