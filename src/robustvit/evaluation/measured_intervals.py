"""The interval of each measure of photos: the only place that chooses its formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robustvit.common.derived_intervals import Derived, derived_difference, derived_interval
from robustvit.common.intervals import Interval, crossed_difference, crossed_interval, mean_interval, paired_difference
from robustvit.evaluation.metrics import ACCURACY, DECIDING, METRICS, WORST_GROUP, Metric, Predictions
from robustvit.evaluation.photo_measures import MEASURES, PhotoMeasure, Said, pair_values, swapped_answers
from robustvit.evaluation.worst_group import worst_group_change, worst_group_interval

ORDINARY = "ordinary"


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
    several = any(result.labels is not None for result in results)
    rows: list[tuple[int, PhotoMeasure, Said, int, float]] = []
    for index, result in enumerate(results):
        if several or result.label is not None:
            swapped = [(one, one.donor) for one in result.swapped if one.kind == kind]
            own: Sequence[tuple[Said, int]] = [(result, -1)] if kind == ORDINARY else swapped
            rows += [(index, result, *answer, 1 / len(own)) for answer in own]
    if not rows:
        return None
    photos, shown, answers, donors, weights = zip(*rows, strict=True)
    predictions = _predictions_of_labels(shown, answers, only) if several else _predictions_of_classes(shown, answers)
    if predictions is None:
        return None
    lent = None if kind == ORDINARY else np.array(donors)
    return replace(predictions, weights=np.array(weights), photos=np.array(photos), donors=lent)


def _predictions_of_classes(shown: Sequence[PhotoMeasure], answers: Sequence[Said]) -> Predictions:
    """Return answers, each to the photo at the same position, of a model of one class a photo."""
    classes, places = np.unique([photo.label for photo in shown], return_inverse=True)
    known = {int(label): place for place, label in enumerate(classes)}
    scored = all(known.keys() <= one.scores.keys() for one in answers)
    return Predictions(
        places.ravel(),
        np.array([known.get(one.predicted, -1) for one in answers]),
        np.array([[one.scores[label] for label in known] for one in answers]) if scored else None,
    )


def _predictions_of_labels(
    shown: Sequence[PhotoMeasure], answers: Sequence[Said], only: Sequence[int] | None
) -> Predictions | None:
    """Return answers, each to the photo at the same position, of a multi-label model; None if no class counts."""
    classes = sorted({label for photo in shown for label in photo.labels or ()}) if only is None else list(only)
    if not classes:
        return None
    return Predictions(
        np.zeros(len(answers), dtype=int),
        np.full(len(answers), -1),
        np.array([[one.scores[label] for label in classes] for one in answers]),
        np.array([[label in (photo.labels or ()) for label in classes] for photo in shown]),
    )


def derive_metric(
    results: Sequence[PhotoMeasure], metric: Metric, kind: str = ORDINARY, only: Sequence[int] | None = None
) -> Derived | None:
    """Return a metric of the answers of one kind; None if it does not exist; arguments as in ``predictions_of``."""
    predictions = predictions_of(results, kind, only)
    if predictions is None or (metric.needs_scores and predictions.scores is None):
        return None
    derived = metric.derive(predictions)
    return None if math.isnan(derived.value) else derived


def measure_interval(results: Sequence[PhotoMeasure], name: str) -> Interval | None:
    """Return the mean of a measure over the photos that have it, with its 95 % CI; None if no photo has it.

    The measure may be a metric, see ``measure_name``.
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
    pairs = pair_values(before, after, name)
    return paired_difference(*zip(*pairs, strict=True), shares=is_accuracy(name)) if pairs else None


def shared_swaps(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], kinds: Sequence[str]
) -> tuple[list[PhotoMeasure], list[PhotoMeasure]]:
    """Return both measures of the same photos, without the swaps of photos that lack a kind before or after."""
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
