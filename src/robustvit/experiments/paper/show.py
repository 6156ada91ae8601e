"""Show an item of the paper, unless it is already shown from the same results; this module writes the tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robustvit.common.files import read_json, write_json
from robustvit.evaluation.records.described import METHOD_TITLES
from robustvit.evaluation.records.record import Record
from robustvit.evaluation.records.reported import ReportedRow, ReportedTable, reported_table
from robustvit.evaluation.records.table import render_table
from robustvit.evaluation.records.table_content import Cell, Row, TableLayout
from robustvit.evaluation.records.table_layout import INCOMPLETE, lay_out_reported
from robustvit.experiments.paper.evaluating import Evaluator
from robustvit.experiments.paper.show_images import show_classes, show_panels, show_subsets
from robustvit.experiments.paper.show_plots import show_seen, show_sensitivity
from robustvit.models.recipes import model_card

TINY_NOTE = (
    "Tiny scale: measured with a stand-in model on drawn scenes, to test the workflow. Do not compare these numbers "
    "with the paper's."
)
_FORMATS = {"markdown": "md", "html": "html", "latex": "tex"}
_WHOLE = ("table", "seen")  # one file for all models


def show(evaluator: Evaluator) -> list[Path]:
    """Write the files of an item, unless they were written from the same results.

    Tables and averages include results of earlier calls with other models, methods or masks. If each model has its own
    files, those of other models are kept.
    """
    name = evaluator.plan.what
    if evaluator.plan.show in _WHOLE:
        evaluator = evaluator.with_earlier()
    else:
        name = "--".join([name, *dict.fromkeys(run.card for run in evaluator.plan.runs)])
    workspace, plan = evaluator.workspace, evaluator.plan
    stamp = workspace.out / "shown" / f"{name}.json"
    records = evaluator.records_of(plan.runs)
    key = [[run.name for run in plan.runs], [[one.set, one.model["weights"], one.samples] for one in records]]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    if stamp.is_file() and plan.sets:  # items without results (appendix A) check their models themselves
        old = read_json(stamp)
        files = [workspace.out / name for name in old["files"]]
        if old["of"] == digest and all(path.is_file() for path in files):
            return files
    files = _WRITERS[plan.show](evaluator, workspace.out / plan.what)
    stamp.parent.mkdir(exist_ok=True)
    write_json({"of": digest, "files": [path.relative_to(workspace.out).as_posix() for path in files]}, stamp)
    return files


def show_table(evaluator: Evaluator, target: Path) -> list[Path]:
    """Write the table as Markdown, HTML and LaTeX."""
    plan = evaluator.plan
    table = _of_cards(reported_table(plan.what), [run.card for run in plan.runs])
    records = evaluator.records_of(plan.runs)
    layout = lay_out_reported(table, records)
    if plan.row.get("seeds"):
        layout = replace(layout, rows=_with_spread(layout, table, records))
    if evaluator.workspace.tiny:
        layout = replace(layout, notes=[TINY_NOTE, *layout.notes])
    paths = [target.with_name(f"{target.name}.{ending}") for ending in _FORMATS.values()]
    for form, path in zip(_FORMATS, paths, strict=True):
        path.write_text(render_table(layout, form), encoding="utf-8")
    return paths


def _of_cards(table: ReportedTable, cards: Sequence[str]) -> ReportedTable:
    """Keep the rows of some models; averages over all models are dropped if one is missing."""
    rows = tuple(row for row in table.rows if row.model in cards)
    return replace(table, rows=rows, changes=table.changes if len(rows) == len(table.rows) else ())


def _with_spread(layout: TableLayout, table: ReportedTable, records: Sequence[Record]) -> list[Row]:
    """Add a row of means over seeds below each reported row that has a standard deviation."""
    rows, reported = [], iter(table.rows)
    for row in layout.rows:
        rows.append(row)
        if row.measured:
            continue
        said = next(reported, None)
        if said is not None and said.spread:
            rows += seed_rows(said, table, records)
    return rows


def seed_rows(said: ReportedRow, table: ReportedTable, records: Sequence[Record]) -> list[Row]:
    """Return mean and standard deviation (n - 1) over the runs of a reported row; empty for fewer than two runs."""
    mine = [one for one in records if (one.model["card"], one.model["method"]) == (said.model, said.method)]
    count = len({one.model["weights"] for one in mine})
    if count < 2:
        return []
    cells = []
    for column, value in zip(table.columns, said.values, strict=True):
        there = [one for one in mine if one.set == column.set and column.measure in one.numbers]
        if len(there) < 2:
            cells.append(Cell())
            continue
        found = [100 * one.numbers[column.measure].mean for one in there]
        mean, deviation = float(np.mean(found)), float(np.std(found, ddof=1))
        difference = None if value is None else mean - value
        mark = "" if all(one.complete for one in there) else INCOMPLETE  # the rows of the runs add the note
        cells.append(Cell(mean, spread=deviation, difference=difference, mark=mark))
    method = f"{METHOD_TITLES[said.method]}: mean ± standard deviation of {count} runs"
    return [Row(model_card(said.model).title, method, f"measured, {table.protocol}", cells, True)]


_WRITERS: dict[str, Callable[[Evaluator, Path], list[Path]]] = {
    "table": show_table,
    "panels": show_panels,
    "seen": show_seen,
    "sensitivity": show_sensitivity,
    "subsets": show_subsets,
    "classes": show_classes,
}
