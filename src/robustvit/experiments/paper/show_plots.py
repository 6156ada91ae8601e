"""Plot figure 4 (training classes and others) and figure 7 (photos per class, and classes) from records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from robustvit.common.charts import COLOURS, chart_style, save_figure
from robustvit.evaluation.records.record import Record
from robustvit.evaluation.records.reported import reported_table
from robustvit.evaluation.records.table_layout import SET_TITLES
from robustvit.experiments.paper.evaluating import Evaluator
from robustvit.experiments.paper.plan import Run
from robustvit.experiments.sweeps.results import write_rows

_PARTS = {"seen": ("classes finetuned on", COLOURS[0]), "unseen": ("other classes", COLOURS[1])}
RecordsByCell = dict[tuple[str, str], Record]


@chart_style()
def show_seen(evaluator: Evaluator, target: Path) -> list[Path]:
    """Plot the average change of top-1 accuracy for training classes and others; the paper's as outlines."""
    numbers = _numbers(evaluator)
    cards = list(dict.fromkeys(run.card for run in evaluator.plan.runs))
    rows = _change_rows(evaluator, numbers, cards)
    single = [row for card in cards for row in _change_rows(evaluator, numbers, [card])] if len(cards) > 1 else []
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    axis = figure.subplots()
    for number, (title, colour) in enumerate(_PARTS.values()):
        mine = [row for row in rows if row["classes"] == title]
        at = np.arange(len(mine)) + 0.4 * (number - 0.5)
        measured, reported = (np.array([row[of] for row in mine], dtype=float) for of in ("measured", "reported"))
        axis.bar(at, measured, 0.36, color=colour, label=f"{title}, measured")
        axis.bar(at, reported, 0.36, fill=False, edgecolor="0.2", linestyle="--", label="reported" if number else None)
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.set_xticks(range(len(evaluator.plan.sets)), [SET_TITLES.get(s, s) for s in evaluator.plan.sets])
    axis.set_ylabel("change of top-1, points")
    axis.set_title(_title(evaluator, f"average over {', '.join(cards)}"))
    axis.legend()
    return [*save_figure(figure, target), write_rows([*rows, *single], target.with_suffix(".csv"))]


def _change_rows(evaluator: Evaluator, numbers: RecordsByCell, cards: Sequence[str]) -> list[dict[str, Any]]:
    """Average the change of top-1 over models: a row for each set and part of the classes."""
    runs = [run for run in evaluator.plan.runs if run.trained and run.card in cards]
    return [
        {
            "set": name,
            "classes": _PARTS[part][0],
            "measured": average_change([_change(evaluator, numbers, run, name, part) for run in runs]),
            "reported": reported_change(cards, name, part),
            "models": " ".join(cards),
        }
        for name in evaluator.plan.sets
        for part in _PARTS
    ]


def average_change(changes: Sequence[float | None]) -> float | None:
    """Return the mean of changes in points; None if any is unknown."""
    known = [one for one in changes if one is not None]
    return sum(known) / len(known) if known and len(known) == len(changes) else None


def reported_change(cards: Sequence[str], name: str, part: str) -> float | None:
    """Return the paper's average change of top-1, in points, from the rows of its Tables 10 and 11."""
    table = reported_table("table11" if name.startswith("si-score") else "table10")
    columns = [(one.set, one.measure) for one in table.columns]
    if (name, "top1") not in columns:
        return None
    column = columns.index((name, "top1"))
    values = {(row.model, row.method): row.values[column] for row in table.rows if row.part == part}
    pairs = [(values.get((card, "robustvit")), values.get((card, "original"))) for card in cards]
    return average_change([None if a is None or b is None else a - b for a, b in pairs])


def _change(evaluator: Evaluator, numbers: RecordsByCell, run: Run, name: str, part: str) -> float | None:
    workspace = evaluator.workspace
    before = numbers.get((workspace.name_of(evaluator.plan.original(run)), name))
    after = numbers.get((workspace.name_of(run), name))
    key = f"{part}_top1"
    if before is None or after is None or key not in before.numbers or key not in after.numbers:
        return None
    return 100 * (after.numbers[key].mean - before.numbers[key].mean)


@chart_style()
def show_sensitivity(evaluator: Evaluator, target: Path) -> list[Path]:
    """Plot top-1 accuracy on each set against photos per class, and against classes; dotted: the original."""
    numbers, plan, scale = _numbers(evaluator), evaluator.plan, evaluator.workspace.scale
    trained = [run for run in plan.runs if run.trained]
    rows = [
        {"set": name, "model": run.card, "method": run.method, "samples": run.samples if run.trained else 0,
         "classes": run.classes if run.trained else 0, "top1": _top1(evaluator, numbers, run, name)}
        for name in plan.sets
        for run in plan.runs
    ]  # fmt: skip
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    panels = (
        ("photos per class", "samples", [run for run in trained if run.classes == scale.classes]),
        ("classes", "classes", [run for run in trained if run.samples == scale.samples]),
    )
    for axis, (label, field, runs) in zip(figure.subplots(1, 2), panels, strict=True):
        ordered = sorted(runs, key=lambda run: getattr(run, field))
        places = [getattr(run, field) for run in ordered]
        for number, name in enumerate(plan.sets):
            values = np.array([_top1(evaluator, numbers, run, name) for run in ordered], dtype=float)
            colour = COLOURS[number % len(COLOURS)]
            axis.plot(places, values, marker="o", color=colour, label=SET_TITLES.get(name, name))
            original = _top1(evaluator, numbers, plan.original(ordered[0]), name)
            if original is not None:
                axis.axhline(original, color=colour, linestyle=":", linewidth=0.9)
        axis.set_xticks(sorted(set(places)), list(map(str, sorted(set(places)))))
        axis.set_xlabel(label)
        axis.set_ylabel("top-1, %")
        figure.axes[0].legend()
    figure.suptitle(_title(evaluator, "dotted: the original model"), fontsize=9)
    return [*save_figure(figure, target), write_rows(rows, target.with_suffix(".csv"))]


def _top1(evaluator: Evaluator, numbers: RecordsByCell, run: Run, name: str) -> float | None:
    record = numbers.get((evaluator.workspace.name_of(run), name))
    return None if record is None else 100 * record.numbers["top1"].mean


def _numbers(evaluator: Evaluator) -> RecordsByCell:
    return {(str(one.model["source"]), one.set): one for one in evaluator.records_of(evaluator.plan.runs)}


def _title(evaluator: Evaluator, text: str) -> str:
    return f"{text} — tiny scale: a stand-in model on drawn scenes" if evaluator.workspace.tiny else text
