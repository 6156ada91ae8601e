"""The interval of each measure of photos: the only place that chooses its formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robustvit.common.derived_intervals import Derived, derived_difference, derived_interval
from robustvit.common.intervals import (
    ClusteredAnswers,
    Interval,
    crossed_difference,
    crossed_interval,
    mean_interval,
    paired_difference,
)
from robustvit.evaluation.metrics import ACCURACY, DECIDING, METRICS, WORST_GROUP, Metric, Predictions
from robustvit.evaluation.photo_measures import MEASURES, PhotoMeasure
from robustvit.evaluation.worst_group import worst_group_change, worst_group_interval

ORDINARY = "ordinary"


def swapped_answers(results: Sequence[PhotoMeasure], kind: str) -> ClusteredAnswers | None:
    """Return the answers on one kind of swapped backgrounds; None if there are none.

    Args:
        results: measures of photos.
        kind: such as ``mixed-rand``.
    """
    found = [
        (result.is_right(one), index, one.donor)
        for index, result in enumerate(results)
        for one in result.swapped
        if one.kind == kind
    ]
    return ClusteredAnswers(*map(list, zip(*found, strict=True))) if found else None


def measure_name(metric: str, kind: str) -> str:
    """Return the name of a metric of the answers of one kind, such as ``balanced-accuracy/mixed-other``.

    Accuracies have the name of their kind: ``ordinary``, ``mixed-other``.
    """
    return kind if metric == ACCURACY else f"{metric}/{kind}"


def measure_title(name: str) -> str:
    """Return the title of a measure for pages; the name itself if it is not known."""
    metric, _, kind = name.rpartition("/")
    if metric not in DECIDING:
        return MEASURES.get(name, name)
    title = DECIDING[metric]
    return f"ordinary {title}" if kind == ORDINARY else MEASURES.get(kind, kind).replace("accuracy", title, 1)


def predictions_of(
    results: Sequence[PhotoMeasure], kind: str = ORDINARY, only: Sequence[int] | None = None
) -> Predictions | None:
    """Return the answers of one kind, with classes numbered in the order of their labels; None if there are none.

    Args:
        results: measures of photos; those without a class are ignored.
        kind: ``ordinary``, or a kind of swapped backgrounds; a photo's answers share its weight of 1.
        only: of a multi-label model, the classes that count; all that any of the photos shows if None.
    """
    if any(result.labels is not None for result in results):
        return _predictions_of_labels(results, kind, only)
    rows = []
    for index, result in enumerate(results):
        if result.label is not None:
            own = [(result.predicted, result.scores, -1)] if kind == ORDINARY else [
                (one.predicted, one.scores, one.donor) for one in result.swapped if one.kind == kind
            ]  # fmt: skip
            rows += [(index, result.label, *answer, 1 / len(own)) for answer in own]
    if not rows:
        return None
    photos, labels, answers, scores, donors, weights = zip(*rows, strict=True)
    classes, places = np.unique(labels, return_inverse=True)
    known = {int(label): place for place, label in enumerate(classes)}
    scored = all(known.keys() <= row.keys() for row in scores)
    return Predictions(
        places.ravel(),
        np.array([known.get(answer, -1) for answer in answers]),
        np.array([[row[label] for label in known] for row in scores]) if scored else None,
        weights=np.array(weights),
        photos=np.array(photos),
        donors=None if kind == ORDINARY else np.array(donors),
    )


def _predictions_of_labels(
    results: Sequence[PhotoMeasure], kind: str, only: Sequence[int] | None
) -> Predictions | None:
    """Return the answers of a multi-label model, for the classes that any of the photos shows; see above."""
    rows = []
    for index, result in enumerate(results):
        own = [(result.scores, -1)] if kind == ORDINARY else [
            (one.scores, one.donor) for one in result.swapped if one.kind == kind
        ]  # fmt: skip
        rows += [(index, result.labels or [], *answer, 1 / len(own)) for answer in own]
    classes = sorted({label for _, labels, *_ in rows for label in labels}) if only is None else list(only)
    if not classes or not rows:
        return None
    photos, labels, scores, donors, weights = zip(*rows, strict=True)
    return Predictions(
        np.zeros(len(rows), dtype=int),
        np.full(len(rows), -1),
        np.array([[row[label] for label in classes] for row in scores]),
        np.array([[label in own for label in classes] for own in labels]),
        weights=np.array(weights),
        photos=np.array(photos),
        donors=None if kind == ORDINARY else np.array(donors),
    )


def derive_metric(
    results: Sequence[PhotoMeasure], metric: Metric, kind: str = ORDINARY, only: Sequence[int] | None = None
) -> Derived | None:
    """Return a metric of the answers of one kind; None if it does not exist; arguments as in ``predictions_of``."""
    found = predictions_of(results, kind, only)
    if found is None or (metric.needs_scores and found.scores is None):
        return None
    derived = metric.derive(found)
    return None if math.isnan(derived.value) else derived


def measure_interval(results: Sequence[PhotoMeasure], name: str) -> Interval | None:
    """Return the mean of a measure over the photos that have it, with its 95 % CI; None if no photo has it.

    Of a metric, see ``measure_name``, it is the number and its CI.
    """
    metric, _, kind = name.rpartition("/")
    if metric == WORST_GROUP:
        return worst_group_interval(results, kind)
    if metric in METRICS:
        derived = derive_metric(results, METRICS[metric], kind)
        return None if derived is None else derived_interval(derived)
    answers = swapped_answers(results, name)
    if answers is not None:
        return crossed_interval(answers)
    values = [result.values[name] for result in results if name in result.values]
    return mean_interval(values, shares=is_accuracy(name)) if values else None


def measure_difference(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], name: str) -> Interval | None:
    """Return the mean change of a measure over the same photos in the same order; None if no photo has both values."""
    metric, _, kind = name.rpartition("/")
    if metric == WORST_GROUP:
        return worst_group_change(before, after, kind)
    if metric in METRICS:
        shared = (before, after) if kind == ORDINARY else shared_swaps(before, after, [kind])
        sides = [derive_metric(results, METRICS[metric], kind) for results in shared]
        if sides[0] is None or sides[1] is None:
            return None
        return derived_difference(sides[0], sides[1])
    old, new = swapped_answers(before, name), swapped_answers(after, name)
    if old is not None and new is not None:
        return crossed_difference(old, new)
    pairs = [
        (b.values[name], a.values[name])
        for b, a in zip(before, after, strict=True)
        if name in b.values and name in a.values
    ]
    if not pairs:
        return None
    return paired_difference([b for b, _ in pairs], [a for _, a in pairs], shares=is_accuracy(name))


def shared_swaps(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], kinds: Sequence[str]
) -> tuple[list[PhotoMeasure], list[PhotoMeasure]]:
    """Return both measures of the same photos, without the swaps of photos that lack one of the kinds on a side."""
    both = [
        set(kinds) <= {one.kind for one in b.swapped} & {one.kind for one in a.swapped}
        for b, a in zip(before, after, strict=True)
    ]
    old, new = (
        [one if held else replace(one, swapped=[]) for one, held in zip(side, both, strict=True)]
        for side in (before, after)
    )
    return old, new


def is_accuracy(name: str) -> bool:
    """Return whether a measure is a share of right answers; measures of the relevance are not."""
    return name in ("ordinary", "unseen") or name.startswith("mixed-")
