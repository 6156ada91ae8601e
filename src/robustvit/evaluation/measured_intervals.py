"""The interval of each measure of photos: the only place that chooses its formula."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.common.intervals import (
    ClusteredAnswers,
    Interval,
    crossed_difference,
    crossed_interval,
    mean_interval,
    paired_difference,
)
from robustvit.evaluation.measure import PhotoMeasure


def swapped_answers(results: Sequence[PhotoMeasure], kind: str) -> ClusteredAnswers | None:
    """Return the answers on one kind of swapped backgrounds; None if there are none.

    Args:
        results: measures of photos.
        kind: such as ``mixed-rand``.
    """
    found = [
        (one.predicted == result.label, index, one.donor)
        for index, result in enumerate(results)
        for one in result.swapped
        if one.kind == kind
    ]
    return ClusteredAnswers(*map(list, zip(*found, strict=True))) if found else None


def measure_interval(results: Sequence[PhotoMeasure], name: str) -> Interval | None:
    """Return the mean of a measure over the photos that have it, with its 95 % CI; None if no photo has it."""
    answers = swapped_answers(results, name)
    if answers is not None:
        return crossed_interval(answers)
    values = [result.values[name] for result in results if name in result.values]
    return mean_interval(values, shares=is_accuracy(name)) if values else None


def measure_difference(before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], name: str) -> Interval | None:
    """Return the mean change of a measure over the same photos in the same order; None if no photo has both values."""
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


def is_accuracy(name: str) -> bool:
    """Return whether a measure is a share of right answers; measures of the relevance are not."""
    return name in ("ordinary", "unseen") or name.startswith("mixed-")
