"""Results of a sweep: a row per trial and means over seeds, as CSV and as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from robustvit.common.csv_files import csv_text, read_csv
from robustvit.common.files import write_text
from robustvit.common.verdict_files import read_verdict
from robustvit.evaluation.photo_measures import MEASURES
from robustvit.experiments.trials import Trial, state_of, trial_seconds

SweepRow = dict[str, Any]
SEED = "seed"
SIDES = ("before", "after", "difference")
_OUTCOME = "outcome"
_AFTER = ("photos", "accepted", "verdict", "seconds", "error")


def result_row(trial: Trial, folder: Path, error: str = "") -> SweepRow:
    """Return a trial of a sweep folder as a row: its labels, the measures of its verdict from 0 to 1 with 95 % CI, and
    its error in this call.
    """
    run = folder / trial.key
    finished = state_of(run) == "finished"
    row: SweepRow = {"trial": trial.key, _OUTCOME: "finished" if finished else "failed" if error else "not run"}
    row |= trial.labels
    row |= {name: "" for measure in MEASURES for side in SIDES for name in _columns(measure, side)}
    row |= dict.fromkeys(_AFTER, "") | {"error": error}
    if not finished:
        return row
    verdict = read_verdict(run / "verdict.json")
    for comparison in verdict.comparisons:
        for side in SIDES:
            interval = getattr(comparison, side)
            values = (interval.mean, interval.low, interval.high)
            row |= dict(zip(_columns(comparison.measure, side), values, strict=True))
        row["photos"] = max(row["photos"] or 0, comparison.difference.count)
    accepted = "open" if verdict.outcome else "cannot tell"
    if verdict.accepted is not None:
        accepted = "yes" if verdict.accepted else "no"
    return row | {"accepted": accepted, "verdict": verdict.sentence, "seconds": trial_seconds(run)}


def _columns(measure: str, side: str) -> tuple[str, str, str]:
    return f"{measure} {side}", f"{measure} {side} low", f"{measure} {side} high"


def write_rows(rows: Sequence[SweepRow], path: Path) -> Path:
    """Write rows with the same columns as CSV, atomically."""
    columns = list(rows[0])
    write_text(csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)]), path)
    return path


def read_rows(path: str | Path) -> list[SweepRow]:
    """Read the output of ``write_rows``; every value is text."""
    return read_csv(path, fix="name the results.csv of a sweep").rows


def varying(rows: Sequence[SweepRow]) -> list[str]:
    """Return the columns that vary in a sweep."""
    names = list(rows[0])
    return names[names.index(_OUTCOME) + 1 : names.index(_columns(next(iter(MEASURES)), SIDES[0])[0])]


def average_seeds(rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Merge rows that differ in the seed only: means, standard deviations and 95 % t intervals over seeds.

    The interval of the mean is ``mean ± t(0.975, n - 1) · sd / √n``; it is empty for a single seed. Only finished
    trials count.
    """
    axes = [name for name in varying(rows) if name != SEED]
    groups: dict[tuple[str, ...], list[SweepRow]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[name]) for name in axes), []).append(row)
    means = []
    for members in groups.values():
        finished = [row for row in members if row[_OUTCOME] == "finished"]
        summary: SweepRow = {name: members[0][name] for name in axes} | {"seeds": len(finished)}
        for measure in MEASURES:
            for side in SIDES:
                values = [float(row[name]) for row in finished if row.get(name := f"{measure} {side}", "") != ""]
                summary |= _measure_spread(f"{measure} {side}", values)
        means.append(summary)
    return means


def shifted_measure(rows: Sequence[SweepRow]) -> str:
    """Return the accuracy on other backgrounds that all trials have: older versions have no mixed-other."""
    old = any(row.get("mixed-rand after", "") != "" == row.get("mixed-other after", "") for row in rows)
    return "mixed-rand" if old else "mixed-other"


def _measure_spread(name: str, values: Sequence[float]) -> SweepRow:
    row: SweepRow = {name: "", f"{name} sd": "", f"{name} low": "", f"{name} high": ""}
    if values:
        row[name] = float(np.mean(values))
    if len(values) > 1:
        deviation = float(np.std(values, ddof=1))
        reach = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
        row |= {f"{name} sd": deviation, f"{name} low": row[name] - reach, f"{name} high": row[name] + reach}
    return row


def format_rows(rows: Sequence[SweepRow]) -> str:
    """Return the rows as a text table, in percent and points; means ± standard deviations if seeds vary."""
    axes = varying(rows)
    spread = SEED in axes and len({str(row[SEED]) for row in rows}) > 1
    if spread:
        axes.remove(SEED)
    shown = ("ordinary", shifted_measure(rows), "miou")
    table = [[*axes, "seeds" if spread else "outcome", *shown]]
    for row in average_seeds(rows) if spread else rows:
        labels = [str(row[name]) for name in axes]
        table.append([*labels, str(row[table[0][len(axes)]]), *(_format_cell(row, name, spread) for name in shown)])
    legend = "before → after, change ± standard deviation over seeds [95 % t interval of the mean], in percent"
    if not spread:
        legend = "before → after, change [95 % CI over photos], in percent"
    failed = [f"failed: {_label_row(row)}: {row['error']}" for row in rows if row[_OUTCOME] == "failed"]
    return "\n".join([align(table), legend, *failed])


def _label_row(row: SweepRow) -> str:
    return ", ".join([row["trial"], *(f"{name}={row[name]}" for name in varying([row]))])


def _format_cell(row: SweepRow, measure: str, spread: bool) -> str:
    before, after, change = (row[f"{measure} {side}"] for side in SIDES)
    if "" in (before, after, change):
        return "–"
    text = f"{100 * before:.1f} → {100 * after:.1f}  {100 * change:+.1f}"
    name = f"{measure} difference"
    if spread:
        if row[f"{name} sd"] == "":
            return text
        text += f" ± {100 * row[f'{name} sd']:.1f}"
    return text + f" [{100 * row[f'{name} low']:+.1f}, {100 * row[f'{name} high']:+.1f}]"


def align(table: Sequence[Sequence[str]]) -> str:
    """Return the lines of a table with aligned columns."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in table)  # fmt: skip
