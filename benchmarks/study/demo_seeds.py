"""The embedded benchmark over several seeds: what guidance gains on swapped backgrounds, and what it costs.

    python -m benchmarks.study.demo_seeds [--seeds 5] [--processes 1] [--out benchmarks/results]

Each seed runs ``robustvit demo``: other scenes to train on, another order, the same model and test scenes.
A scene's paired differences are averaged over the seeds before they are bootstrapped over scenes; the spread over seeds
is given beside it as a t interval. Writes a dated JSON and Markdown file.
"""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.dated import parser_of, write_dated
from robustvit import demo
from robustvit.cli.demo import SETTINGS
from robustvit.common.intervals import paired_difference
from robustvit.common.provenance import versions
from robustvit.evaluation.photo_measures import MEASURES, read_measures


def run_seed(seed: int, folder: Path) -> dict:
    """One demo: values of every test scene before and after, accuracies on the shifted tests, seconds."""
    start = time.perf_counter()
    demo(out=str(folder), seed=seed)
    seconds = time.perf_counter() - start
    run = folder / "run"
    sides = {when: [found.values for found in read_measures(run / f"{when}.json")] for when in ("before", "after")}
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "verdict": json.loads((run / "verdict.json").read_text())["sentence"],
        "shifts": json.loads((run / "shifts.json").read_text()),
        **sides,
    }


def pooled(runs: list[dict], measure: str) -> dict:
    """Paired difference of one measure in points: pooled over scenes, and each seed's own with their t interval."""
    before = np.array([[scene[measure] for scene in run["before"]] for run in runs])
    after = np.array([[scene[measure] for scene in run["after"]] for run in runs])
    return summary(before, after)


def t_interval(per_seed: np.ndarray) -> list[float]:
    """95 % interval of a mean over seeds, NaN for one seed."""
    reach = stats.t.ppf(0.975, len(per_seed) - 1) * stats.sem(per_seed) if len(per_seed) > 1 else float("nan")
    return [float(per_seed.mean() - reach), float(per_seed.mean() + reach)]


def summary(before: np.ndarray, after: np.ndarray, shares: bool = True) -> dict:
    """Both arrays are ``(seeds, scenes)`` in [0, 1]."""
    over_scenes = paired_difference(before.mean(axis=0).tolist(), after.mean(axis=0).tolist(), shares=shares)
    per_seed = 100 * (after - before).mean(axis=1)
    return {
        "before": 100 * float(before.mean()),
        "after": 100 * float(after.mean()),
        "gain": 100 * over_scenes.mean,
        "interval_over_scenes": [100 * over_scenes.low, 100 * over_scenes.high],
        "per_seed": per_seed.round(2).tolist(),
        "interval_over_seeds": t_interval(per_seed),
    }


def as_markdown(record: dict) -> str:
    """The record as a table to read."""
    lines = [
        f"# Embedded benchmark, {record['seeds']} seeds, {record['date']}",
        "",
        f"`{record['command']}`, settings {json.dumps(record['settings'])}; {record['scenes']} test scenes; "
        f"{record['seconds_per_seed']} s a seed.",
        "",
        "| measure, % | before | after | change | 95 % over scenes | 95 % over seeds | each seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in record["measures"].items():
        scenes, seeds = (f"{low:+.1f} … {high:+.1f}" for low, high in
                         (found["interval_over_scenes"], found["interval_over_seeds"]))  # fmt: skip
        each = ", ".join(f"{value:+.1f}" for value in found["per_seed"])
        values = f"{found['before']:.1f} | {found['after']:.1f} | {found['gain']:+.1f}"
        lines.append(f"| {name} | {values} | {scenes} | {seeds} | {each} |")
    lines += [
        "",
        "Shifted tests, top-1 (mean over seeds):",
        "",
        "| test | before | after | change by seed |",
        "|---|---|---|---|",
    ]
    for name, rows in record["shifts"].items():
        each = ", ".join(f"{100 * row['difference']['mean']:+.1f}" for row in rows)
        means = [100 * np.mean([row[side]["mean"] for row in rows]) for side in ("before", "after")]
        lines.append(f"| {name} | {means[0]:.1f} | {means[1]:.1f} | {each} |")
    return "\n".join([*lines, "", "Versions: " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()), ""])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1, help="seeds that run at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work) / str(seed) for seed in range(options.seeds)]
        with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
            runs = list(pool.map(run_seed, range(options.seeds), folders))
    names = [shift["measure"] for shift in runs[0]["shifts"]]
    record = {
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.study.demo_seeds --seeds {options.seeds} --processes {options.processes}",
        "settings": SETTINGS,
        "seeds": options.seeds,
        "scenes": len(runs[0]["before"]),
        "seconds_per_seed": [run["seconds"] for run in runs],
        "verdicts": [run["verdict"] for run in runs],
        "measures": {name: pooled(runs, name) for name in MEASURES},
        "shifts": {name: [s for run in runs for s in run["shifts"] if s["measure"] == name] for name in names},
        "versions": versions(),
    }
    write_dated("demo_seeds", record, as_markdown(record), options.out)


if __name__ == "__main__":
    main()
