"""Shows an item of the paper, unless it is shown already by the same results."""

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
    """Write an item's files; what was written for the same results is left alone.

    Tables and averages hold what earlier calls added, of other models, methods or masks; where each model has files of
    its own, those of other models stay.
    """
    name = evaluator.plan.what
    if evaluator.plan.show in _WHOLE:
        evaluator = evaluator.with_earlier()
    else:
        name = "--".join([name, *dict.fromkeys(run.card for run in evaluator.plan.runs)])
    place, plan = evaluator.place, evaluator.plan
    stamp = place.out / "shown" / f"{name}.json"
    records = evaluator.records_of(plan.runs)
    key = [[run.name for run in plan.runs], [[one.set, one.model["weights"], one.samples] for one in records]]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    if stamp.is_file() and plan.sets:  # what needs no results (appendix A) sees itself whether its models are the same
        old = json.loads(stamp.read_text(encoding="utf-8"))
        files = [place.out / name for name in old["files"]]
        if old["of"] == digest and all(path.is_file() for path in files):
            return files
    files = _SHOWS[plan.show](evaluator, place.out / plan.what)
    stamp.parent.mkdir(exist_ok=True)
    write_json({"of": digest, "files": [path.relative_to(place.out).as_posix() for path in files]}, stamp)
    return files
