"""Accuracy in the worst group as a measure of its own, on ordinary photos and on other backgrounds."""

from __future__ import annotations

from collections.abc import Sequence

from robustvit.common.group_intervals import worst_change, worst_change_of, worst_interval, worst_of
from robustvit.common.intervals import (
    ClusteredAnswers,
    Interval,
    crossed_difference,
    crossed_interval,
)
from robustvit.evaluation.photo_measures import PhotoMeasure

MIN_GROUP = 5  # photos; the accuracy of fewer says nothing, so they cannot be the worst group
COUNTED = "photo of the worst group"  # what its intervals count
_ORDINARY = "ordinary"


def worst_group_interval(results: Sequence[PhotoMeasure], kind: str) -> Interval | None:
    """Return the accuracy in the worst group, with a 95 % CI of the lowest true one; None without two groups.

    Groups of fewer than ``MIN_GROUP`` photos cannot be the worst.

    Args:
        results: measures of photos.
        kind: ``ordinary``, or a kind of swapped backgrounds.
    """
    groups = _members(results, kind)
    if len(groups) < 2:
        return None
    if kind == _ORDINARY:
        return worst_interval([[results[index].values[kind] for index in own] for own in groups])
    return worst_of([crossed_interval(_answers(results, kind, own)) for own in groups])


def worst_group_change(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], kind: str, was: str | None = None
) -> Interval | None:
    """Return the change of the accuracy in the worst group, with a 95 % CI; None without two groups.

    Args:
        before: measures of photos.
        after: of the same photos in the same order.
        kind: see ``worst_group_interval``.
        was: kind of the answers before; the same if not given.
    """
    was = was or kind
    held = {index for own in _members(before, was) for index in own}
    groups = [[index for index in own if index in held] for own in _members(after, kind)]
    groups = [own for own in groups if len(own) >= MIN_GROUP]
    if len(groups) < 2:
        return None
    if kind == was == _ORDINARY:
        old, new = ([[side[index].values[kind] for index in own] for own in groups] for side in (before, after))
        return worst_change(old, new)
    sides = [(_answers(before, was, own), _answers(after, kind, own)) for own in groups]
    return worst_change_of(
        [crossed_interval(old) for old, _ in sides],
        [crossed_interval(new) for _, new in sides],
        [crossed_difference(old, new) for old, new in sides],
    )


def _members(results: Sequence[PhotoMeasure], kind: str) -> list[list[int]]:
    """Return the photos of each group that have answers of a kind, of groups that are large enough."""
    members: dict[str, list[int]] = {}
    for index, one in enumerate(results):
        if one.group is not None and kind in one.values:
            members.setdefault(one.group, []).append(index)
    return [own for own in members.values() if len(own) >= MIN_GROUP]


def _answers(results: Sequence[PhotoMeasure], kind: str, indices: Sequence[int]) -> ClusteredAnswers:
    if kind == _ORDINARY:
        rights = [results[index].values[kind] for index in indices]
        return ClusteredAnswers(rights, list(indices), list(indices))
    rows = [
        (results[index].is_right(one), index, one.donor)
        for index in indices
        for one in results[index].swapped
        if one.kind == kind
    ]
    return ClusteredAnswers(*map(list, zip(*rows, strict=True)))
