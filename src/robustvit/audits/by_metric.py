"""The measures of an audit by a metric other than accuracy, of all classes or of each: means, chance and changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.measures import DIFFERENCES
from robustvit.audits.summary import Beyond
from robustvit.common.derived_intervals import Derived, derived_difference, derived_interval
from robustvit.common.intervals import Interval
from robustvit.common.verdict_files import Comparison
from robustvit.evaluation.measured_intervals import (
    derive_metric,
    measure_difference,
    measure_interval,
    measure_name,
    predictions_of,
    shared_swaps,
)
from robustvit.evaluation.metrics import ACCURACY, METRICS, OF_LABELS, WORST_GROUP, Metric, Predictions
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.evaluation.worst_group import worst_group_change

ANSWER_KINDS = ("ordinary", "mixed-same", "mixed-other", "only-fg", "only-bg-t", "only-bg-b", "no-fg")
COST = "cost"
_SAME, _OTHER = DIFFERENCES[COST]


def metric_means(photos: Sequence[AuditedPhoto], metric: str) -> dict[str, Interval]:
    """Return a metric, named in ``DECIDING``, of each kind of answers that exists, and ``cost``, with 95 % CIs."""
    measured = join_variants(photos)
    found = {kind: measure_interval(measured, measure_name(metric, kind)) for kind in ANSWER_KINDS}
    found[COST] = _measure_cost(measured, metric)
    return {kind: one for kind, one in found.items() if one is not None}


def metric_changes(before: Sequence[AuditedPhoto], after: Sequence[AuditedPhoto], metric: str) -> dict[str, Comparison]:
    """Compare what ``metric_means`` returns of two models on the same photos, with paired differences.

    The cost in the worst group has no interval of its change, as two differences of lowest accuracies. The result is
    empty for accuracy, which ``compare_photos`` compares.
    """
    if metric == ACCURACY:
        return {}
    old, new = join_variants(before), join_variants(after)
    differences = {kind: measure_difference(old, new, measure_name(metric, kind)) for kind in ANSWER_KINDS}
    if metric in METRICS:
        costs = [_derive_cost(side, METRICS[metric]) for side in shared_swaps(old, new, [_SAME, _OTHER])]
        if costs[0] is not None and costs[1] is not None:
            differences[COST] = derived_difference(costs[0], costs[1])
    sides = metric_means(before, metric), metric_means(after, metric)
    return {
        kind: Comparison(kind, sides[0][kind], sides[1][kind], change)
        for kind, change in differences.items()
        if change is not None and kind in sides[0] and kind in sides[1]
    }


def metric_beyond(
    photos: Sequence[AuditedPhoto], metric: str, found: dict[str, Interval], accuracy: dict[str, Beyond]
) -> dict[str, Beyond]:
    """Compare a metric with what the same answers would get if they were assigned to the photos at random.

    The interval is that of the metric, less chance: it takes no account of the spread of chance itself.

    Args:
        photos: measures of a model.
        metric: a name in ``DECIDING``.
        found: ``metric_means`` of these photos.
        accuracy: ``beyond_chances``; the chance of the worst group is that of all photos.
    """
    measured = join_variants(photos)
    beyond = {}
    for kind, value in found.items():
        if kind == COST:
            continue
        answers = None if metric == WORST_GROUP else predictions_of(measured, kind)
        if answers is None and kind not in accuracy:
            continue
        chance = accuracy[kind].chance if answers is None else CHANCES[metric](answers)
        excess = Interval(value.mean - chance, value.low - chance, value.high - chance, value.count)
        beyond[kind] = Beyond(chance, excess)
    return beyond


def metric_by_class(photos: Sequence[AuditedPhoto], metric: str) -> dict[int, dict[str, Interval]]:
    """Return a metric of each class that the photos of several labels show, as ``metric_means`` does of all together.

    If the metric has no number for a single class, it is the average precision.
    """
    measured, chosen = join_variants(photos), METRICS[class_metric(metric)]
    found = {}
    for label in sorted({label for one in measured for label in one.labels or ()}):
        row = {kind: derive_metric(measured, chosen, kind, only=[label]) for kind in ANSWER_KINDS}
        values = {kind: derived_interval(one) for kind, one in row.items() if one is not None}
        if sides := _derive_both(measured, chosen, [label]):
            same, other = sides
            values[COST] = derived_difference(other, same)
        found[label] = values
    return found


def class_metric(metric: str) -> str:
    """Return the metric of a single class of a multi-label model."""
    return metric if metric in OF_LABELS else OF_LABELS[0]


def join_variants(photos: Sequence[AuditedPhoto]) -> list[PhotoMeasure]:
    """Return measures of photos that hold the answers to variants too, on their own background."""
    return [
        replace(
            one.plain,
            values=one.values,
            swapped=[
                *one.plain.swapped,
                *(Swapped(kind, at, a.predicted, a.probability, a.scores) for kind, a in one.answers.items()),
            ],
        )
        for at, one in enumerate(photos)
    ]


def _keep_both(measured: Sequence[PhotoMeasure]) -> list[PhotoMeasure]:
    """Return the photos that could be put on backgrounds of their own class and of others."""
    return [one for one in measured if {_SAME, _OTHER} <= {swap.kind for swap in one.swapped}]


def _derive_both(
    measured: Sequence[PhotoMeasure], metric: Metric, only: Sequence[int] | None = None
) -> tuple[Derived, Derived] | None:
    """Return a metric on backgrounds of the same class and on others, of the photos that have both."""
    both = _keep_both(measured)
    same, other = (derive_metric(both, metric, kind, only) for kind in (_SAME, _OTHER))
    return None if same is None or other is None else (same, other)


def _measure_cost(measured: Sequence[PhotoMeasure], metric: str) -> Interval | None:
    """Return what a wrong background costs: the metric on backgrounds of the same class less that on others."""
    if metric == WORST_GROUP:
        both = _keep_both(measured)
        return worst_group_change(both, both, _SAME, was=_OTHER)
    sides = _derive_both(measured, METRICS[metric])
    return sides and derived_difference(sides[1], sides[0])


def _derive_cost(measured: Sequence[PhotoMeasure], metric: Metric) -> Derived | None:
    """Return the cost with what its interval needs, to compare it with that of another model."""
    sides = _derive_both(measured, metric)
    if sides is None or sides[0].donors is None or sides[1].donors is None:
        return None
    same, other = sides
    return Derived(
        same.value - other.value,
        np.concatenate([same.parts, -other.parts]),
        np.concatenate([same.weights, other.weights]),
        np.concatenate([same.photos, other.photos]),
        np.concatenate([same.donors, other.donors]),
        same.effective,
    )


def _share_shown(found: Predictions) -> np.ndarray:
    """Return the share of photos that show each class, ``(K,)``."""
    return found.weight @ found.truth / found.weight.sum()


def _share_answered(found: Predictions) -> np.ndarray:
    """Return the share of answers that name each class, ``(K,)``."""
    if found.targets is not None and found.scores is not None:
        return found.weight @ (found.scores > 0.5) / found.weight.sum()
    said = found.answers >= 0
    size = len(_share_shown(found))
    return np.bincount(found.answers[said], found.weight[said], size)[:size] / found.weight.sum()


def _chance_recall(found: Predictions) -> float:
    held = _share_shown(found) > 0
    return float(_share_answered(found)[held].mean())


def _chance_f1(found: Predictions) -> float:
    shown, said = _share_shown(found), _share_answered(found)
    held = shown > 0
    return float((2 * shown * said / (shown + said))[held].mean())


def _chance_precision(found: Predictions) -> float:
    """Return the expected average precision of photos in a random order, which few photos raise above their share.

    A positive at rank k of n has precision (1 + (k - 1) (p - 1) / (n - 1)) / k; the mean over k has harmonic numbers.
    """
    count = float(found.weight.sum())
    shown = count * _share_shown(found)
    shown = shown[shown > 0]
    first = (np.euler_gamma + special.digamma(count + 1)) / count
    others = (shown - 1) / max(count - 1, 1.0)
    return float(np.mean(first + others * (1 - first)))


CHANCES: dict[str, Callable[[Predictions], float]] = {
    "balanced-accuracy": _chance_recall,
    "macro-f1": _chance_f1,
    "auroc": lambda _: 0.5,
    "average-precision": _chance_precision,
}
