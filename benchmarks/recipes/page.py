"""The recipes on docs/explanation/study.md and in README.md: one table for each kind and number of masks."""

from __future__ import annotations

from typing import Any

from benchmarks.page_tables import points, table
from benchmarks.recipes.arms import ARMS, TITLES
from benchmarks.recipes.table import AT_SHARE, COLUMNS, change_over_both, groups, overlap_change, pooled
from robustvit.common.intervals import Interval

SHOWN = ("ordinary", "mixed-other", "unseen backgrounds", "object alone", "PACS, two-way")
Cells = list[dict[str, Any]]
ENOUGH = 3  # base models for an interval; with two, each is shown


def cell(change: Interval) -> str:
    """A change in points over its interval; bold where that excludes zero."""
    text = f"{100 * change.mean:+.1f}"
    if change.count == 1:  # mIoU of a single base model
        return points(text)
    shown = f"**{text}**" if change.low > 0 or change.high < 0 else text
    return points(f"{shown}<br>[{100 * change.low:+.1f}, {100 * change.high:+.1f}]")


def changes(before: Cells, after: Cells, columns: tuple[str, ...] = SHOWN) -> list[str]:
    """Changes of accuracy."""
    return [cell(change_over_both(pooled(before, COLUMNS[name]), pooled(after, COLUMNS[name]))) for name in columns]


def answers(arm: dict[int, Any], seeds: list[int], mixed: bool) -> Cells:
    """Answers of an arm, as trained or at the share of its weights that validation photos chose."""
    return [arm[seed].get(AT_SHARE, arm[seed]["answers"]) if mixed else arm[seed]["answers"] for seed in seeds]


def compared(cells: dict[str, Any], size: str, arms: dict[str, dict[int, Any]]) -> str:
    """Arms with enough base models against these, as trained and with interpolated weights."""
    rows = []
    for name in (name for name in ARMS if len(arms.get(name, {})) >= ENOUGH):
        seeds = sorted(seed for seed in arms[name] if f"base-{size}-{seed}" in cells)
        base = [cells[f"base-{size}-{seed}"]["answers"] for seed in seeds]
        for mixed in (False, True):
            after = answers(arms[name], seeds, mixed)
            gains = sum(new["mixed-other"].count("1") > old["mixed-other"].count("1")
                        for old, new in zip(base, after, strict=True))  # fmt: skip
            title = f"{TITLES.get(name, name)}, interpolated" if mixed else TITLES.get(name, name)
            rows.append([title, *changes(base, after), cell(overlap_change(base, after)), f"{gains} of {len(seeds)}"])
    return table(["", *SHOWN, "mIoU of the map", "runs that gain on mixed-other"], rows)


def against_swaps(arms: dict[str, dict[int, Any]]) -> str:
    """Arms against swaps alone on the same base models, if these are enough, both interpolated."""
    rows = []
    for name in (name for name in ARMS if name in arms and name != "swaps"):
        seeds = sorted(set(arms[name]) & set(arms.get("swaps", {})))
        if len(seeds) >= ENOUGH:
            rival, own = answers(arms["swaps"], seeds, True), answers(arms[name], seeds, True)
            rows.append([TITLES.get(name, name), *changes(rival, own), str(len(seeds))])
    return table(["", *SHOWN, "base models"], rows)


ADDED = (("cross-entropy", "cross-entropy + relevance"), ("swaps", "swaps + relevance"))
"""Arms without and with the relevance loss, otherwise alike."""


def added_by_relevance(arms: dict[str, dict[int, Any]]) -> str:
    """What the relevance loss adds to the same training without it, with interpolated weights."""
    rows = []
    for without, with_it in ADDED:
        seeds = sorted(set(arms.get(without, {})) & set(arms.get(with_it, {})))
        if seeds:
            before, after = answers(arms[without], seeds, True), answers(arms[with_it], seeds, True)
            row = [*changes(before, after), cell(overlap_change(before, after)), str(len(seeds))]
            rows.append([f"added to {TITLES[without]}", *row])
    return table(["", *SHOWN, "mIoU of the map", "base models"], rows)


MASKS = {"ellipses": "ellipses in the boxes of drawn masks", "tokencut": "found by TokenCut"}
"""Other kinds of masks than drawn ones that arms were trained with, in the order of the page."""


def changes_by_model(before: Cells, after: Cells) -> list[str]:
    """Changes in points: an interval if there are enough base models, else each of them."""
    if len(before) >= ENOUGH:
        return changes(before, after)
    row = []
    for name in SHOWN:
        each = 100 * (pooled(after, COLUMNS[name]) - pooled(before, COLUMNS[name])).mean(axis=1)
        text = f"{each.mean():+.1f}<br>({', '.join(f'{one:+.1f}' for one in each)})"
        row.append(points(text))
    return row


def row_by_model(cells: dict[str, Any], said: str, size: str, name: str, found: dict[int, Any]) -> list[str]:
    """A row of an arm with interpolated weights on some base models, which are the keys of ``found``."""
    seeds = sorted(found)
    base = [cells[f"base-{size}-{seed}"]["answers"] for seed in seeds]
    return [said, TITLES.get(name, name), *changes_by_model(base, answers(found, seeds, True)), str(len(seeds))]


def by_masks(cells: dict[str, Any], size: str, samples: str = "10") -> str:
    """Arms with other masks than drawn ones, each above the same arm with drawn masks on the same base models."""
    grouped, rows = groups(cells), []
    drawn = grouped["drawn", samples, size]
    for kind, title in MASKS.items():
        for arm, found in grouped.get((kind, samples, size), {}).items():
            both = sorted(set(found) & set(drawn[arm]))
            for said, whose in ((title, found), ("drawn, the same base models", drawn[arm])) if both else ():
                rows.append(row_by_model(cells, said, size, arm, {seed: whose[seed] for seed in both}))
    return table([f"{samples} masks a class", "method", *SHOWN, "base models"], rows)


def by_number(cells: dict[str, Any], size: str) -> str:
    """Arms with other numbers of masks than ten, drawn or found, on too few base models for a table of intervals."""
    rows = []
    for (kind, samples, side), arms in sorted(groups(cells).items(), key=lambda one: (one[0][0], int(one[0][1]))):
        if side == size and samples != "10" and kind in ("drawn", "tokencut"):
            said = f"{samples} {MASKS.get(kind, kind)}"
            few = [arm for arm in ARMS if 0 < len(arms.get(arm, {})) < ENOUGH]
            rows += [row_by_model(cells, said, size, arm, arms[arm]) for arm in few]
    return table(["masks a class", "method", *SHOWN, "base models"], rows)


def by_size(cells: dict[str, Any], sizes: tuple[str, str]) -> str:
    """Arms with ten drawn masks at a larger input, each above the same arm at the smaller one on the same seeds."""
    small, large = (groups(cells)["drawn", "10", size] for size in sizes)
    rows = []
    for arm in (arm for arm in ARMS if arm in large):
        both = sorted(set(small[arm]) & set(large[arm]))
        for size, whose in zip(reversed(sizes), (large, small), strict=True):
            rows.append(row_by_model(cells, f"{size} px", size, arm, {seed: whose[arm][seed] for seed in both}))
    return table(["input", "method", *SHOWN, "base models"], rows)


def tables(record: dict[str, Any]) -> dict[str, str]:
    """Tables by the name of their markers."""
    cells = record["cells"]
    found = {
        "recipes by masks, 112 px": by_masks(cells, "112"),
        "recipes by masks, 30 a class": by_masks(cells, "112", "30"),
        "recipes by number of masks, 112 px": by_number(cells, "112"),
        "recipes by size": by_size(cells, ("112", "154")),
    }
    for (masks, samples, size), arms in groups(cells).items():
        found[f"recipes, {samples} {masks}, {size} px"] = compared(cells, size, arms)
        found[f"recipes, added by relevance, {samples} {masks}, {size} px"] = added_by_relevance(arms)
        found[f"recipes against swaps, {samples} {masks}, {size} px"] = against_swaps(arms)
    return found


IN_README = (
    ("swaps + relevance", "10"), ("swaps + relevance", "30"), ("swaps", "10"), ("swaps", "30"),
    ("cross-entropy + relevance", "10"), ("own, to now", "10"), ("cross-entropy", "10"),
)  # fmt: skip
"""Arms of the README's table and their drawn masks a class, with interpolated weights."""
README_COLUMNS = ("ordinary", "mixed-other", "unseen backgrounds", "PACS, two-way")


def readme_table(record: dict[str, Any]) -> str:
    """The base models' accuracy, and changes by a few arms at 112 px; more than ten masks a class are named."""
    cells = record["cells"]
    grouped = groups(cells)
    seeds = sorted(seed for seed in grouped["drawn", "10", "112"]["swaps + relevance"] if f"base-112-{seed}" in cells)
    base = [cells[f"base-112-{seed}"]["answers"] for seed in seeds]
    means = [100 * pooled(base, COLUMNS[name]).mean() for name in README_COLUMNS]
    rows = [["base model, %", *(f"{mean:.1f}" for mean in means), str(len(seeds))]]
    for name, samples in IN_README:
        arms = grouped["drawn", samples, "112"]
        own = sorted(set(arms.get(name, {})) & set(seeds))
        if own:
            before = [cells[f"base-112-{seed}"]["answers"] for seed in own]
            row = changes(before, answers(arms[name], own, True), README_COLUMNS)
            more = f", {samples} masks per class" if samples != "10" else ""
            rows.append([TITLES[name] + more, *row, str(len(own))])
    return table(["", *README_COLUMNS, "base models"], rows)
