"""Tables of the study: what each arm changed against the base model, with intervals."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dated import write_dated
from benchmarks.study.arms import ABLATIONS, METHODS, RATES, TITLES
from benchmarks.study.demo_seeds import t_interval
from robustvit.common.intervals import paired_difference
from robustvit.common.provenance import versions

HEADS = {
    "ordinary": "ordinary",
    "mixed-rand": "mixed-rand",
    "shift swapped": "rendered anew",
    "shift location": "location",
    "shift size": "size",
    "shift rotation": "rotation",
    "shift only-fg": "object alone",
    "shift only-bg-t": "background alone ↓",
    "miou": "mIoU of the map",
}
WHOSE = {"drawn": "drawn masks", "tokencut": "TokenCut masks"}


def results(folder: Path) -> tuple[dict[int, dict], dict[tuple, dict[int, dict]]]:
    """Values of the base models by seed, and records by arm, masks and samples, then by seed."""
    bases, runs = {}, defaultdict(dict)
    for place in sorted(folder.glob("*.json")):
        found = json.loads(place.read_text(encoding="utf-8"))
        if place.stem.startswith("base-"):
            bases[int(place.stem.removeprefix("base-"))] = found
        else:
            cell = found["cell"]
            runs[cell["arm"], cell["masks"], cell["samples"]][cell["seed"]] = found
    return bases, dict(runs)


def is_share(measure: str) -> bool:
    """Whether a measure is a share of answers; the place of a map is none."""
    return measure not in ("miou", "energy")


def change(before: list[list[float]], after: list[list[float]], shares: bool = True) -> dict[str, Any]:
    """One measure: lists of values by photo, a list for each seed; photos without a value are left out."""
    old, new = np.array(before, dtype=float), np.array(after, dtype=float)
    kept = ~(np.isnan(old).any(axis=0) | np.isnan(new).any(axis=0))
    old, new = old[:, kept], new[:, kept]
    photos = paired_difference(old.mean(axis=0), new.mean(axis=0), shares=shares)
    old, new = 100 * old, 100 * new
    seeds = (new - old).mean(axis=1)
    return {
        "before": old.mean(),
        "after": new.mean(),
        "change": 100 * photos.mean,
        "over_photos": [100 * photos.low, 100 * photos.high],
        "over_seeds": t_interval(seeds) if len(seeds) > 1 else None,
        "by_seed": seeds.round(2).tolist(),
        "photos": photos.count,
    }


def compared(bases: dict[int, dict], seeds: dict[int, dict]) -> dict[str, Any]:
    """All measures of one arm against the base models of the same seeds."""
    names = [name for name in HEADS if name in bases[next(iter(seeds))]]
    train = [record["seconds"]["train"] for record in seeds.values()]
    return {
        "seeds": sorted(seeds),
        "options": {k: v for k, v in seeds[min(seeds)]["options"].items() if k not in ("images", "masks")
                    and not k.startswith("val_")},
        "seconds_to_train": round(float(np.mean(train)), 1),
        "measures": {
            name: change(
                [bases[s][name] for s in seeds], [record["values"][name] for record in seeds.values()], is_share(name)
            )
            for name in names
        },
    }  # fmt: skip


def shown(found: dict[str, Any]) -> str:
    """A change with its interval over photos; bold where that excludes zero."""
    low, high = found["over_photos"]
    text = f"{found['change']:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def rows(arms: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    """A Markdown table of some arms that were run."""
    chosen = {arm: groups[arm] for arm in arms if arm in groups}
    if not chosen:
        return ["(not run)", ""]
    names = list(next(iter(chosen.values()))["measures"])
    lines = [
        "| | " + " | ".join(HEADS[n] for n in names) + " | seeds that gain on mixed-rand |",
        "|---" * (len(names) + 2) + "|",
    ]
    first = next(iter(chosen.values()))["measures"]
    lines.append("| base model | " + " | ".join(f"{first[n]['before']:.1f}" for n in names) + " | |")
    for arm, found in chosen.items():
        measures = found["measures"]
        gains = measures["mixed-rand"]["by_seed"]
        cells = " | ".join(shown(measures[n]) for n in names)
        lines.append(f"| {TITLES.get(arm, arm)} | {cells} | {sum(g > 0 for g in gains)} of {len(gains)} |")
    return [*lines, ""]


def as_markdown(record: dict[str, Any]) -> str:
    """All tables to read."""
    lines = [f"# The study, {record['date']}", "", record["about"], ""]
    for testbed, groups in record["testbeds"].items():
        for group, arms in groups.items():
            lines += [f"## {testbed}: {group}", "", *rows(METHODS, arms)]
            attention = {"attention": METHODS["attention"]}
            for title, others in {"Ablations": attention | ABLATIONS, "Other rates": RATES}.items():
                if any(arm in others and arm not in METHODS for arm in arms):
                    lines += [f"{title}:", "", *rows(others, arms)]
    lines.append("Versions: " + ", ".join(f"{name} {value}" for name, value in record["versions"].items()))
    return "\n".join([*lines, ""])


ABOUT = (
    "Changes in points against the base model of the same seed: mean over the seeds, 95 % interval over photos "
    "(Bonett and Price; of mIoU Student's t); bold where it excludes zero. By seed, and as a t interval over "
    "seeds, in the JSON file. ↓: lower is better (the object is not in the picture, so what is right is read off "
    "the background). Kept: the last epoch, whatever it gave."
)


def with_earlier(testbeds: dict[str, dict[str, dict]], earlier: dict[str, Any]) -> None:
    """Add the arms of an earlier record that were not run anew, with the date they were measured."""
    for testbed, groups in earlier["testbeds"].items():
        for group, arms in groups.items():
            here = testbeds.setdefault(testbed, {}).setdefault(group, {})
            for arm, found in arms.items():
                here.setdefault(arm, {"measured": earlier["date"], **found})


def write_tables(work: Path, out: Path, earlier: dict[str, Any] | None) -> None:
    """Pool what was run so far, and an earlier record, and write ``study-DATE.json`` and ``.md``."""
    testbeds: dict[str, dict[str, dict]] = {}
    for testbed in ("embedded", "photos"):
        bases, runs = results(work / testbed / "results")
        for (arm, masks, samples), seeds in sorted(runs.items(), key=lambda item: (item[0][1], item[0][2])):
            group = f"{samples} {WHOSE[masks]} a class"
            own = {seed: bases[0 if testbed == "embedded" else seed] for seed in seeds}  # embedded: one base model
            testbeds.setdefault(testbed, {}).setdefault(group, {})[arm] = compared(own, seeds)
    rates = work / "embedded" / "rates.json"
    if earlier is not None:
        with_earlier(testbeds, earlier)
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.study.study rates, run --testbed embedded (photos, --arms ablations), table",
        "about": ABOUT,
        "versions": versions(),
        "rates_tried_on_embedded": (
            json.loads(rates.read_text(encoding="utf-8"))
            if rates.is_file()
            else (earlier or {}).get("rates_tried_on_embedded")
        ),
        "testbeds": testbeds,
    }
    write_dated("study", record, as_markdown(record), out)


if __name__ == "__main__":
    raise SystemExit("python -m benchmarks.study.study table")
