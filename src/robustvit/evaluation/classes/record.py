"""The record of a comparison by class: every number of its page, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from robustvit.common.provenance import provenance
from robustvit.evaluation.classes.changes import RATE, Changes, ClassChange, count_changes
from robustvit.evaluation.classes.compared import OWN_PHOTOS, Compared
from robustvit.evaluation.classes.pictures import TurnedPanel

CLASSES_KIND = "robustvit-classes"
SMALL = (
    "Classes with few images vary by chance: one answer more or less moves a class of n images by 100/n "
    "points, so read the interval and the adjusted p before the bar; and of many classes the most extreme ones are "
    "extreme partly by luck."
)


def class_record(
    compared: Compared, panels: Sequence[TurnedPanel], count: int, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Collect everything that the page shows, with ``count`` classes in each chart and the options of the call."""
    changes = compared.changes
    counted = "label" if compared.precisions else "image"
    all_shown = len(changes.classes) <= 2 * count
    shown = {"all": changes.classes} if all_shown else {
        "helped": changes.most_helped(count, significant=True),
        "harmed": changes.most_harmed(count, significant=True),
    }  # fmt: skip
    return {
        "kind": CLASSES_KIND,
        "model": {"source": compared.model.about["source"], "weights": compared.model.weights},
        "baseline": {"source": compared.baseline.about["source"], "weights": compared.baseline.weights},
        "same_weights": compared.model.weights == compared.baseline.weights,
        "data": _describe_data(compared),
        "measure": compared.measure,
        "counted": counted,
        "sentence": summarize_changes(changes, compared.measure, counted),
        "small": SMALL,
        "rate": RATE,
        "overall": _paired_numbers(changes),
        "tally": _count_parts(changes.classes),
        "classes": [_make_row(row, compared) for row in changes.classes],
        "shown": {name: [row.name for row in rows] for name, rows in shown.items()},
        "panels": [asdict(panel) for panel in panels],
        "settings": dict(settings),
        **provenance(),
    }


def _describe_data(compared: Compared) -> dict[str, Any]:
    return {
        "title": compared.benchmark.title,
        "protocol": None if compared.benchmark.name == OWN_PHOTOS else compared.setup.protocol,
        "images": compared.changes.before.count,
        "expected": compared.after.expected,
        "notes": list(compared.notes),
        "problems": list(dict.fromkeys([*compared.after.problems, *compared.before.problems])),
    }


def summarize_changes(changes: Changes, measure: str = "top-1 accuracy", counted: str = "image") -> str:
    """Summarize the changes in words; ``measure`` is what changed, of what is ``counted``: images or labels."""
    if changes.helped == changes.harmed == 0:
        return (
            f"Nothing changed: on all {changes.before.count:,} {counted}s the model is right where the baseline is, "
            "and wrong where it is wrong."
        )
    counts = count_changes(changes.classes)
    rises, falls = counts["rose_significant"], counts["fell_significant"]
    significant = f"{rises:,} of the rises and {falls:,} of the falls are significant"
    rose, fell, unchanged = (f"{counts[name]:,}" for name in ("rose", "fell", "unchanged"))
    return (
        f"{measure[0].upper()}{measure[1:]} changed by {changes.difference.points()}. Of {counts['classes']:,} classes "
        f"{rose} rose, {fell} fell and {unchanged} stayed; adjusted for the number of classes, "
        f"{significant if rises + falls else 'none of these changes is significant'}."
    )


def _count_parts(rows: Sequence[ClassChange]) -> dict[str, dict[str, int]]:
    """Count over all classes and, if known, over those seen in finetuning and the others."""
    parts = {"all": list(rows)}
    if all(row.seen is not None for row in rows):
        parts |= {"seen": [row for row in rows if row.seen], "other": [row for row in rows if not row.seen]}
    return {name: count_changes(part) for name, part in parts.items()}


def _make_row(row: ClassChange, compared: Compared) -> dict[str, Any]:
    numbers = {"name": row.name, "seen": row.seen, "images": row.difference.count, **_paired_numbers(row)}
    numbers |= {"adjusted_p": row.adjusted_p, "significant": row.significant}
    if row.name in compared.precisions:  # of several labels
        numbers["average_precision"] = asdict(compared.precisions[row.name])
    return numbers


def _paired_numbers(change: Changes | ClassChange) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after, "difference": change.difference}
    turned = {"helped": change.helped, "harmed": change.harmed, "mcnemar_p": change.p}
    return {name: asdict(interval) for name, interval in sides.items()} | turned
