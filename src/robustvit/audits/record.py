"""The record of an audit: every number of its page and the measures of every photo, ready for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from robustvit.audits import verdict as audit_verdict
from robustvit.audits.audit_data import AuditData
from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.background_groups import Group, usual_photos
from robustvit.audits.background_kinds import BackgroundKinds
from robustvit.audits.by_metric import COST, class_metric, metric_changes
from robustvit.audits.measures import AUDIT_MEASURES
from robustvit.audits.photo_record import count_flips, record_photo
from robustvit.audits.pictures import WORST_RULE
from robustvit.audits.placements import shift_difference, shift_points
from robustvit.audits.summary import compare_photos, means
from robustvit.audits.verdict import change_of
from robustvit.common.errors import printable
from robustvit.common.verdict_files import Comparison
from robustvit.evaluation.class_numbers import class_numbers
from robustvit.evaluation.measured_intervals import measure_name, measure_title
from robustvit.evaluation.metrics import ACCURACY, DECIDING, METRICS
from robustvit.evaluation.rival_results import rival_record
from robustvit.evaluation.worst_group import MIN_GROUP

AUDIT_KIND = "robustvit-audit"


def audit_record(data: AuditData) -> dict[str, Any]:
    """Convert an audit to plain values: shares in [0, 1], intervals as mean, low, high and count."""
    photos = [one.photos for one in data.sides.values()]
    old = data.baseline
    changes = {} if old is None else metric_changes(old.photos, data.model.photos, data.model.metric)
    return {
        "kind": AUDIT_KIND,
        "images": printable(data.images),
        "model": data.model.source,
        "baseline": None if data.baseline is None else data.baseline.source,
        "count": len(data.files),
        "verdict": {side: asdict(one.verdict) for side, one in data.sides.items()},
        "change": _describe_change(data, changes),
        "rules": {
            "strong_cost": audit_verdict.STRONG_COST,
            "background_alone": audit_verdict.BACKGROUND_ALONE,
            "min_photos": audit_verdict.MIN_PHOTOS,
            "no_sign_photos": audit_verdict.NO_SIGN_PHOTOS,
            "words": audit_verdict.RULES,
        },
        "at_inference": data.at_inference and rival_record(data.at_inference),
        "notes": list(data.notes),
        "by_class": _record_classes(data),
        "metric": data.model.metric,
        "titles": AUDIT_MEASURES | metric_titles(data.model.metric),
        "measures": _record_measures(photos) | _record_metric(data, changes),
        "by_label": _record_labels(data),
        "chance": _record_chance(data),
        "classes": {
            name: _record_measures([[side[i] for i in members] for side in photos])
            for name, members in data.members.items()
        },
        "shifts": _record_shifts(data),
        "turns": count_flips(data),
        "backgrounds": _record_backgrounds(data),
        "groups": [_record_group(group, data) for group in data.groups],
        "by_group": None if data.by_group is None else asdict(data.by_group),
        "worst_rule": WORST_RULE,
        "worst": list(data.worst),
        "photos": [record_photo(index, data) for index in range(len(data.files))],
        "settings": dict(data.settings),
        "versions": dict(data.versions),
        "spent": dict(data.spent),
    }


def metric_titles(metric: str) -> dict[str, str]:
    """Return the titles of the measures by a metric; none for accuracy, which has its own."""
    if metric == ACCURACY:
        return {}
    title = DECIDING[metric]
    plain = [measure_name(metric, kind) for kind in ("ordinary", "mixed-same", "mixed-other")]
    found = {name: measure_title(name) for name in plain}
    found[measure_name(metric, COST)] = f"cost of a wrong background in {title}, points"
    for kind in ("only-fg", "only-bg-t", "only-bg-b", "no-fg"):
        found[measure_name(metric, kind)] = AUDIT_MEASURES[kind].replace("accuracy", title, 1)
    return found


def _record_metric(data: AuditData, changes: dict[str, Comparison]) -> dict[str, dict[str, Any]]:
    """Return the measures by the metric that decides, in the order of their titles; see ``_record_measures``."""
    metric = data.model.metric
    found = {kind: {side: asdict(one.by_metric[kind]) for side, one in data.sides.items() if kind in one.by_metric}
             for kind in data.model.by_metric}  # fmt: skip
    for kind, one in changes.items():
        found[kind]["difference"] = asdict(one.difference)
    names = {measure_name(metric, kind): row for kind, row in found.items()}
    return {name: names[name] for name in metric_titles(metric) if name in names}


def _record_labels(data: AuditData) -> dict[str, Any] | None:
    """Return a metric of each class of a multi-label model, on each kind of background; None for others."""
    if not data.several:
        return None
    rows = [
        {"class": data.name_of(label), "photos": len(data.members[data.name_of(label)])}
        | {
            side: {kind: asdict(value) for kind, value in one.by_label.get(label, {}).items()}
            for side, one in data.sides.items()
        }
        for label in data.model.by_label
    ]
    return {"metric": DECIDING[class_metric(data.model.metric)], "classes": rows}


def _describe_change(data: AuditData, changes: dict[str, Comparison]) -> str | None:
    """Say what became of the cost of a wrong background from the baseline to the model."""
    if data.baseline is None:
        return None
    metric = data.model.metric
    if metric in METRICS and metric != ACCURACY:
        cost, of = changes.get(COST), DECIDING[metric]
    else:  # the cost in the worst group has no interval of its change
        cost = compare_photos(data.baseline.photos, data.model.photos, ("cost",)).get("cost")
        of = ACCURACY if metric == ACCURACY else "accuracy over all photos"
    return None if cost is None else change_of(cost.difference, of)


def _record_measures(
    photos: Sequence[Sequence[AuditedPhoto]], names: Sequence[str] = tuple(AUDIT_MEASURES)
) -> dict[str, dict[str, Any]]:
    """Return measures of the model and, if there is a baseline, of that with paired differences."""
    if len(photos) == 1:
        return {name: {"model": asdict(found)} for name, found in means(photos[0], names).items()}
    return {
        name: {"model": asdict(one.after), "baseline": asdict(one.before), "difference": asdict(one.difference)}
        for name, one in compare_photos(photos[1], photos[0], names).items()
    }


def _record_classes(data: AuditData) -> dict[str, Any] | None:
    """Return metrics over classes, recall and precision of each, and confusions, of the photos as they are."""
    plain = [[one.plain for one in side.photos] for side in data.sides.values()]
    found = class_numbers(plain[0], data.name_of, plain[1] if data.baseline is not None else None)
    return None if found is None else asdict(found)


def _record_chance(data: AuditData) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for side, one in data.sides.items():
        by_metric = {measure_name(one.metric, kind): beyond for kind, beyond in one.beyond_metric.items()}
        for name, beyond in (one.beyond | by_metric).items():
            found.setdefault(name, {})[side] = asdict(beyond)
    return found


def _record_shifts(data: AuditData) -> list[dict[str, Any]]:
    rows: dict[Any, dict[str, Any]] = {}
    for side, one in data.sides.items():
        for (kind, placement), accuracy in shift_points(one.shifts).items():
            row = rows.setdefault((kind, placement), {"kind": kind, **asdict(placement)})
            row[side] = asdict(accuracy)
    if data.baseline is not None:
        old, new = data.baseline.shifts, data.model.shifts
        for (_, placement), row in rows.items():
            row["difference"] = asdict(shift_difference(old, new, placement))
    return list(rows.values())


def _record_backgrounds(data: AuditData) -> dict[str, Any] | None:
    found = data.backgrounds
    if found is None:
        return None
    kinds = []
    for kind in range(found.count):
        members = [index for index, own in enumerate(found.members) if own == kind]
        counts = Counter(data.names[index] for index in members)
        typical = found.typical(members, 6)
        kinds.append({"photos": len(members), "classes": dict(counts.most_common()), "typical": typical})
    return {
        "kinds": kinds,
        "silhouettes": found.silhouettes,
        "min_group": MIN_GROUP,
        "usual": _record_usual(found, data),
    }


def _record_usual(backgrounds: BackgroundKinds, data: AuditData) -> dict[str, dict[str, Any]]:
    """Return the ordinary accuracy on the most common background of the class, and on other backgrounds."""
    usual = usual_photos(backgrounds, data.names)
    found: dict[str, dict[str, Any]] = {}
    for name, wanted in (("usual", True), ("unusual", False)):
        members = [index for index, own in enumerate(usual) if own is wanted]
        if members:
            photos = [[one.photos[index] for index in members] for one in data.sides.values()]
            found[name] = _record_measures(photos, ("ordinary",))["ordinary"]
    return found


def _record_group(group: Group, data: AuditData) -> dict[str, Any]:
    row: dict[str, Any] = {
        "class": group.class_name,
        "background": group.background,
        "photos": group.photos,
        "fair": group.fair,
        "model": asdict(group.accuracy),
        "typical": data.backgrounds.typical(group.photos, 3) if data.backgrounds else [],
    }
    if group.before is not None and group.difference is not None:
        row |= {"baseline": asdict(group.before), "difference": asdict(group.difference)}
    return row
