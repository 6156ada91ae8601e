"""Accuracy in the worst group as a measure of its own, on ordinary photos and on other backgrounds."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.common.group_intervals import worst_change, worst_change_of, worst_interval, worst_of
from robustvit.common.intervals import ClusteredAnswers, Interval, crossed_difference, crossed_interval
from robustvit.evaluation.photo_measures import PhotoMeasure, swapped_answers

MIN_GROUP = 5  # photos; the accuracy of fewer says nothing, so they cannot be the worst group
COUNTED = "photo of the worst group"  # what its intervals count
_ORDINARY = "ordinary"


def worst_group_interval(results: Sequence[PhotoMeasure], kind: str) -> Interval | None:
    """Return the accuracy in the worst group, with a 95 % CI of the lowest true one; None without two groups.

    Groups of fewer than ``MIN_GROUP`` photos cannot be the worst. ``kind`` is ``ordinary``, or one of swapped
    backgrounds.
    """
    groups = _large_groups(results, kind)
    if len(groups) < 2:
        return None
    if kind == _ORDINARY:
        return worst_interval([ordinary_answers(results, own) for own in groups])
    return worst_of([crossed_interval(_answers(results, kind, own)) for own in groups])


def worst_group_change(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], kind: str, was: str | None = None
) -> Interval | None:
    """Return the change of the accuracy in the worst group, with a 95 % CI; None without two groups.

    ``before`` and ``after`` are of the same photos in the same order. The answers before are of the kind ``was``, the
    same if not given.
    """
    was = was or kind
    held = {index for own in _large_groups(before, was) for index in own}
    groups = [[index for index in own if index in held] for own in _large_groups(after, kind)]
    groups = [own for own in groups if len(own) >= MIN_GROUP]
    if len(groups) < 2:
        return None
    if kind == was == _ORDINARY:
        return worst_change(*([ordinary_answers(side, own) for own in groups] for side in (before, after)))
    sides = [(_answers(before, was, own), _answers(after, kind, own)) for own in groups]
    return worst_change_of(
        [crossed_interval(old) for old, _ in sides],
        [crossed_interval(new) for _, new in sides],
        [crossed_difference(old, new) for old, new in sides],
    )


def group_members(results: Sequence[PhotoMeasure], kind: str) -> dict[str, list[int]]:
    """Return the photos of each group that have answers of a kind."""
    members: dict[str, list[int]] = {}
    for index, one in enumerate(results):
        if one.group is not None and kind in one.values:
            members.setdefault(one.group, []).append(index)
    return members


def _large_groups(results: Sequence[PhotoMeasure], kind: str) -> list[list[int]]:
    return [own for own in group_members(results, kind).values() if len(own) >= MIN_GROUP]


def ordinary_answers(results: Sequence[PhotoMeasure], indices: Sequence[int]) -> list[float]:
    """Return the answers to some photos on their own backgrounds: 1 for right, 0 for wrong."""
    return [results[index].values[_ORDINARY] for index in indices]


def _answers(results: Sequence[PhotoMeasure], kind: str, indices: Sequence[int]) -> ClusteredAnswers:
    if kind == _ORDINARY:
        return ClusteredAnswers(ordinary_answers(results, indices), list(indices), list(indices))
    found = swapped_answers(results, kind, indices)
    assert found is not None  # members of a group have answers of the kind
    return found
