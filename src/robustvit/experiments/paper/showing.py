"""Show an item of the paper, unless it is already shown from the same results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from robustvit.common.files import write_json
from robustvit.experiments.paper.evaluating import Evaluator
from robustvit.experiments.paper.show_images import show_classes, show_panels, show_subsets
from robustvit.experiments.paper.show_plots import show_seen, show_sensitivity
from robustvit.experiments.paper.show_tables import show_table

_SHOWS: dict[str, Callable[[Evaluator, Path], list[Path]]] = {
    "table": show_table,
    "panels": show_panels,
    "seen": show_seen,
    "sensitivity": show_sensitivity,
    "subsets": show_subsets,
    "classes": show_classes,
}
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
        old = json.loads(stamp.read_text(encoding="utf-8"))
        files = [workspace.out / name for name in old["files"]]
        if old["of"] == digest and all(path.is_file() for path in files):
            return files
    files = _SHOWS[plan.show](evaluator, workspace.out / plan.what)
    stamp.parent.mkdir(exist_ok=True)
    write_json({"of": digest, "files": [path.relative_to(workspace.out).as_posix() for path in files]}, stamp)
    return files
