"""95 % CIs of accuracies over groups: the worst group, the gap between groups, and weighted means.

On average, the lowest of several estimates is below the lowest true accuracy, and the interval of the group that
happens to be the lowest ignores that it was chosen. The intervals here are of the lowest true accuracy, whichever group
has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from robustvit.common.intervals import (
    Interval,
    for_several,
    independent_difference,
    mean_interval,
    paired_difference,
    wilson_bounds,
)

_TAIL = 0.025


def worst_interval(answers: Sequence[ArrayLike]) -> Interval:
    """Return the lowest accuracy of several groups, with a 95 % CI of the lowest true one.

    Only the bound of the truly worst group has to hold for the lower end, ``min L_g``, so it needs no correction. For
    the upper end, ``min U_g``, the bounds of all groups have to hold: each has the level ``0.975^(1/G)``, Šidák's for G
    groups of different photos. All bounds are Wilson's.

    Args:
        answers: 0 or 1 for each photo of each group; no group is empty.
    """
    parts = [mean_interval(group) for group in answers]
    lowest, tail = min(parts, key=lambda part: part.mean), _sidak(len(parts))
    highs = [wilson_bounds(int(np.sum(group)), len(np.asarray(group)), tail)[1] for group in answers]
    low, high = min(part.low for part in parts), max(min(highs), lowest.mean)
    return Interval(lowest.mean, low, high, lowest.count)


def best_interval(answers: Sequence[ArrayLike]) -> Interval:
    """Return the highest accuracy of several groups, with a 95 % CI of the highest true one; see ``worst_interval``."""
    worst = worst_interval([1 - np.asarray(group, dtype=np.float64) for group in answers])
    return Interval(1 - worst.mean, 1 - worst.high, 1 - worst.low, worst.count)


def gap_interval(answers: Sequence[ArrayLike]) -> Interval:
    """Return the highest minus the lowest accuracy of several groups, with a 95 % CI of the true gap.

    Equal groups never look equal, so the lower end is that of two intervals that both hold, ``best.low - worst.high``
    or zero. The upper end is by square-and-add.
    """
    worst, best = worst_interval(answers), best_interval(answers)
    found = independent_difference(worst, best)
    return Interval(found.mean, max(0.0, best.low - worst.high), min(1.0, found.high), found.count)


def worst_change(before: Sequence[ArrayLike], after: Sequence[ArrayLike]) -> Interval:
    """Return the change of the lowest accuracy, with a 95 % CI, for two models on the same photos.

    With ``d_g`` the change in a group, the change of the lowest is at least that of the group which is worst after, and
    at most that of the group which is worst before. Which these are is not known: the ends are the lowest lower bound
    of ``d_g`` over the groups that may be worst after, and the highest upper bound over those that may be worst before.
    Where a model lifts the worst group to the level of the others, any may be the worst after, even one that loses. So
    neither end is farther out than the intervals of both sides allow, ``after.low - before.high`` and
    ``after.high - before.low``. Answers are 0 or 1 for each photo of each group, in the same order.
    """
    changes = [paired_difference(old, new) for old, new in zip(before, after, strict=True)]
    old, new = ([mean_interval(group) for group in answers] for answers in (before, after))
    return _change_of_worst(worst_interval(before), worst_interval(after), old, new, changes)


def worst_of(parts: Sequence[Interval]) -> Interval:
    """Return the lowest of several accuracies with a 95 % CI of the lowest true one, from the interval of each.

    For accuracies whose intervals are not Wilson's, such as those on backgrounds that photos share: as in
    ``worst_interval``, but the upper ends are widened by Bonferroni's rule, see ``for_several``.
    """
    lowest = min(parts, key=lambda part: part.mean)
    high = min(for_several(part, len(parts)).high for part in parts)
    return Interval(lowest.mean, min(part.low for part in parts), max(high, lowest.mean), lowest.count)


def worst_change_of(before: Sequence[Interval], after: Sequence[Interval], changes: Sequence[Interval]) -> Interval:
    """Return the change of the lowest accuracy as ``worst_change`` does, from the intervals of each group."""
    return _change_of_worst(worst_of(before), worst_of(after), before, after, changes)


def _change_of_worst(
    old: Interval, new: Interval, before: Sequence[Interval], after: Sequence[Interval], changes: Sequence[Interval]
) -> Interval:
    """Return the change of the lowest accuracy, from ``old`` to ``new``; see ``worst_change``."""
    low = min(change.low for change, part in zip(changes, after, strict=True) if part.low <= new.high)
    high = max(change.high for change, part in zip(changes, before, strict=True) if part.low <= old.high)
    low, high = max(low, new.low - old.high), min(high, new.high - old.low)
    return Interval(new.mean - old.mean, low, high, min(old.count, new.count))


def weighted_interval(parts: Sequence[Interval], weights: Sequence[float], least: float = 0.0) -> Interval:
    """Return a weighted mean of accuracies of groups of different photos, or of changes, by square-and-add.

    Zou and Donner (2008). Weights are not negative, and are divided by their sum; ``least`` is the lowest possible
    value, -1 for changes.
    """
    shares = np.asarray(weights, dtype=np.float64) / float(np.sum(weights))
    mean = float(sum(share * part.mean for share, part in zip(shares, parts, strict=True)))
    down = math.hypot(*(share * (part.mean - part.low) for share, part in zip(shares, parts, strict=True)))
    up = math.hypot(*(share * (part.high - part.mean) for share, part in zip(shares, parts, strict=True)))
    return Interval(mean, max(least, mean - down), min(1.0, mean + up), sum(part.count for part in parts))


def _sidak(groups: int) -> float:
    """Return the tail of each of several independent bounds that all hold with probability 0.975."""
    return float(1 - (1 - _TAIL) ** (1 / groups))
