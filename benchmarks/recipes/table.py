"""Tables of the recipes: changes against the base models and against swaps alone, over photos and seeds.

    python -m benchmarks.recipes.table [--work runs/recipes] [--earlier benchmarks/results/recipes-DATE.json]

Writes ``recipes-DATE.json``, with every answer, and ``recipes-DATE.md``. Cells of an earlier record that were not run
anew are taken over.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.dated import parser_of, write_dated
from benchmarks.recipes.arms import ARMS
from robustvit.common.intervals import Interval, paired_difference
from robustvit.common.provenance import versions

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
COLUMNS: dict[str, tuple[str, ...]] = {
    "ordinary": ("ordinary",),
    "mixed-other": ("mixed-other",),
    "unseen backgrounds": ("unseen",),
    "object alone": ("only-fg",),
    "PACS": tuple(f"pacs {domain}" for domain in DOMAINS),
    "PACS, two-way": tuple(f"pacs {domain}, two-way" for domain in DOMAINS),
    **{f"two-way, {domain}": (f"pacs {domain}, two-way",) for domain in DOMAINS},
}
NAME = re.compile(r"(?P<arm>.+)-(?P<masks>[^-]+)-(?P<samples>\d+)-(?P<size>\d+)-(?P<seed>\d+)")
AT_SHARE = "answers_at_share"
ABOUT = (
    "Changes in points: means over seeds, 95 % intervals over photos and seeds (both random, with Student's t for the "
    "seeds; of a single seed over photos alone); bold where the interval excludes zero. Each arm is shown as trained "
    "and with weights interpolated between the base model and it, the share chosen on 100 validation photos. PACS: "
    "paintings, cartoons, photos and sketches of dogs and horses; two-way: the logits of these two classes only. The "
    "last column counts the seeds that gain on mixed-other."
)


def pooled(cells: list[dict[str, Any]], tests: tuple[str, ...]) -> np.ndarray:
    """Answers to some tests, 1 or 0, ``(seeds, photos)``; photos are numbered over the tests."""
    return np.array([[int(answer) for test in tests for answer in cell[test]] for cell in cells], dtype=float)


def change_over_both(before: np.ndarray, after: np.ndarray) -> Interval:
    """Mean of ``after - before``, ``(seeds, photos)``, with a 95 % interval for other photos and other seeds.

    The variance of the mean in a two-way layout is that over photos, plus that over seeds, less that of pairs, which is
    in both (Cameron, Gelbach and Miller 2011); never below that over photos, since seeds may agree by chance. The
    seeds' part has Student's t, with one degree of freedom less than seeds. A single seed has the interval over photos
    alone.
    """
    changes = after - before
    seeds, photos = changes.shape
    if seeds == 1:
        return paired_difference(before[0], after[0])
    mean, by_seed, by_photo = changes.mean(), changes.mean(axis=1, keepdims=True), changes.mean(axis=0)
    pairs = ((changes - by_seed - by_photo + mean) ** 2).sum() / ((seeds - 1) * (photos - 1) * seeds * photos)
    of_seeds, of_photos = by_seed.var(ddof=1) / seeds, by_photo.var(ddof=1) / photos
    wider = (stats.t.ppf(0.975, seeds - 1) / stats.norm.ppf(0.975)) ** 2
    variance = max(of_photos, of_photos - pairs + wider * of_seeds)
    reach = stats.norm.ppf(0.975) * float(np.sqrt(variance))
    return Interval(float(mean), float(mean - reach), float(mean + reach), photos)


def overlap_change(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Interval:
    """Change of the mean mIoU over seeds."""
    means = [[sum(cell["miou"]) / len(cell["miou"]) for cell in cells] for cells in (before, after)]
    return paired_difference(*means)


def shown(change: Interval) -> str:
    """A change with its interval; bold where that excludes zero."""
    if change.count == 1:  # mIoU of a single seed
        return f"{100 * change.mean:+.1f}"
    text = f"{100 * change.mean:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    return f"**{text}**" if change.low > 0 or change.high < 0 else text


def row(title: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """A line of a table: every column's change, mIoU, and how many seeds gain."""
    changes = [change_over_both(pooled(before, tests), pooled(after, tests)) for tests in COLUMNS.values()]
    gains = sum(new["mixed-other"].count("1") > old["mixed-other"].count("1")
                for old, new in zip(before, after, strict=True))  # fmt: skip
    cells = [*map(shown, changes), shown(overlap_change(before, after)), f"{gains} of {len(after)}"]
    return f"| {title} | " + " | ".join(cells) + " |"


def groups(cells: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, dict[int, Any]]]:
    """Cells by masks, their number and the size of the input; then by arm and seed."""
    found: dict[tuple[str, str, str], dict[str, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    for name, cell in cells.items():
        if parts := NAME.fullmatch(name):
            found[parts["masks"], parts["samples"], parts["size"]][parts["arm"]][int(parts["seed"])] = cell
    return found


def rows(cells: dict[str, Any], size: str, arms: dict[str, dict[int, Any]]) -> list[str]:
    """The table of one group."""
    heads = ["", *COLUMNS, "mIoU of the map", "seeds that gain"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    swaps = arms.get("swaps", {})
    for arm in [*(known for known in ARMS if known in arms), *(other for other in arms if other not in ARMS)]:
        seeds = sorted(seed for seed in arms[arm] if f"base-{size}-{seed}" in cells)
        base = [cells[f"base-{size}-{seed}"]["answers"] for seed in seeds]
        trained = [arms[arm][seed]["answers"] for seed in seeds]
        mixed = [arms[arm][seed].get(AT_SHARE, arms[arm][seed]["answers"]) for seed in seeds]
        shares = ", ".join(f"{arms[arm][seed]['share']:g}" for seed in seeds)
        lines += [row(f"{arm} ({len(seeds)} seeds)", base, trained), row(f"{arm}, shares {shares}", base, mixed)]
        both = [seed for seed in seeds if seed in swaps and arm != "swaps"]
        if both:
            rival = [swaps[seed].get(AT_SHARE, swaps[seed]["answers"]) for seed in both]
            own = [arms[arm][seed].get(AT_SHARE, arms[arm][seed]["answers"]) for seed in both]
            lines.append(row(f"{arm} against swaps, both interpolated", rival, own))
    return [*lines, ""]


def base_row(cells: dict[str, Any]) -> list[str]:
    """Accuracy of the base models in percent, seed by seed."""
    lines = []
    for name in sorted(name for name in cells if name.startswith("base-")):
        answers = cells[name]["answers"]
        means = [sum(answers[test].count("1") for test in tests) / sum(len(answers[test]) for test in tests)
                 for tests in COLUMNS.values()]  # fmt: skip
        lines.append(f"- {name}: " + ", ".join(f"{n} {100 * m:.1f}" for n, m in zip(COLUMNS, means, strict=True)))
    return ["Base models, %:", "", *lines, ""]


def as_markdown(record: dict[str, Any]) -> str:
    """All tables to read."""
    cells = record["cells"]
    lines = [f"# Recipes, {record['date']}", "", f"`{record['command']}`", "", ABOUT, "", *base_row(cells)]
    for (masks, samples, size), arms in sorted(groups(cells).items()):
        lines += [f"## {samples} {masks} masks a class, {size} px", "", *rows(cells, size, arms)]
    lines.append("Versions: " + ", ".join(f"{name} {value}" for name, value in record["versions"].items()))
    return "\n".join([*lines, ""])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--earlier", type=lambda place: json.loads(Path(place).read_text(encoding="utf-8")))
    args = parser.parse_args()
    cells = dict((args.earlier or {"cells": {}})["cells"])
    for place in sorted((args.work / "results").glob("*.json")):
        cells[place.stem] = json.loads(place.read_text(encoding="utf-8"))
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.recipes.run; python -m benchmarks.recipes.table",
        "about": ABOUT,
        "versions": versions(),
        "cells": cells,
    }
    write_dated("recipes", record, as_markdown(record), args.out, compact=True)


if __name__ == "__main__":
    main()
