"""Means with 95 % CIs: for one model, for the paired difference of two, and for answers on shared backgrounds.

Answers (right or wrong) and shares of answers never get an interval of width zero: if the answers to a few photos did
not change, the next one may. All intervals are closed formulas, so none depends on a seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

Z = float(stats.norm.ppf(0.975))
# Added to the photos before computing the variance, so that few or equal answers do not look certain.
FOR_MEAN = np.array([0.0, 0.0, 1.0, 1.0])  # Agresti and Coull 1998: two wrong and two right answers
FOR_DIFFERENCE = np.array([1.0, -1.0])  # Bonett and Price 2012: one photo helped and one harmed


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % CI, in the unit of the values, over ``count`` photos."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def percent(self, unit: str = " %") -> str:
        """Return a share with its 95 % CI, as `` 91.2 % [90.4, 92.0]``."""
        return f"{100 * self.mean:5.1f}{unit} [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def points(self, unit: str = " points") -> str:
        """Return a change of a share with its 95 % CI, as ``+1.2 points [+0.4, +2.0]``."""
        return f"{100 * self.mean:+.1f}{unit} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class ClusteredAnswers:
    """Answers to objects pasted on the backgrounds of other photos.

    Attributes:
        right: 1 where the answer was right, 0 where it was wrong.
        photos: photo that the object is from, as any integer.
        donors: photo that lent the background, as any integer.
    """

    right: ArrayLike
    photos: ArrayLike
    donors: ArrayLike


def mean_interval(values: ArrayLike, *, shares: bool = False) -> Interval:
    """Return the mean of one value per photo, ``(N,)`` in [-1, 1], with its 95 % CI.

    Wilson's interval if all values are 0 or 1. Student's t otherwise, clipped to the range; with a single value the
    interval is the whole range. ``shares``: the values are shares of answers, such as accuracy averaged over seeds;
    their interval is that of Agresti and Coull (1998), with the variance of the shares.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size and np.isin(numbers, (0.0, 1.0)).all():
        return Interval(float(numbers.mean()), *wilson_bounds(int(numbers.sum()), numbers.size), numbers.size)
    return _wald(numbers, FOR_MEAN) if shares else _student(numbers)


@cache  # SciPy also tests the share, which takes milliseconds: a set has a thousand classes, but few different counts
def wilson_bounds(right: int, count: int, tail: float = 0.025) -> tuple[float, float]:
    """Return Wilson's bounds of a share, each of which fails with probability ``tail``."""
    found = stats.binomtest(right, count).proportion_ci(confidence_level=1 - 2 * tail, method="wilson")
    return float(found.low), float(found.high)


def paired_difference(before: ArrayLike, after: ArrayLike, *, shares: bool = False) -> Interval:
    """Return the mean of ``after - before`` over the same photos, ``(N,)`` in [0, 1], with its 95 % CI.

    Bonett and Price's interval (see ``paired_interval``) if all values are answers, Student's t otherwise. ``shares``:
    the values are shares of answers, or answers minus chance, which are treated as answers.
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    whole = all(np.isin(side, (-1.0, 0.0, 1.0)).all() for side in (old, new))
    return _wald(new - old, FOR_DIFFERENCE) if shares or whole else _student(new - old, least=-1.0)


def mcnemar(helped: int, harmed: int) -> float:
    """Return the exact two-sided p-value of McNemar's test, from the numbers of answers that changed either way."""
    turned = helped + harmed
    return float(stats.binomtest(helped, turned).pvalue) if turned else 1.0


def paired_interval(helped: int, harmed: int, count: int) -> Interval:
    """Return the difference of two paired accuracies, ``(helped - harmed) / count``, with a 95 % CI for small samples.

    Bonett and Price (2012): Wald's interval after adding one photo helped and one harmed.
    """
    if not count:
        return _student(np.empty(0))
    up, down, total = (helped + 1) / (count + 2), (harmed + 1) / (count + 2), count + 2
    reach = Z * math.sqrt((up + down - (up - down) ** 2) / total)
    return clip((helped - harmed) / count, up - down, reach, count, -1.0)


def crossed_interval(answers: ClusteredAnswers) -> Interval:
    """Return the accuracy on other backgrounds, averaged per photo first.

    The interval covers the choice of photos and of backgrounds, see ``crossed_difference``; two right and two wrong
    photos are added.
    """
    cells = _Cells.of(answers)
    if not cells.count:
        return _student(cells.values)
    middle = (cells.total + FOR_MEAN.sum()) / (cells.count + FOR_MEAN.size)
    return _cross(cells, cells.values - middle, middle, FOR_MEAN, 0.0)


def crossed_difference(before: ClusteredAnswers, after: ClusteredAnswers) -> Interval:
    """Return the mean over photos of ``after - before``; the CI covers the choice of photos and of backgrounds.

    Answers on the same background are not independent, even for different photos. The variance is that of two-way
    clusters (Cameron, Gelbach and Miller 2011), V(photos) + V(donors) - V(pairs), never below V(photos), after adding
    one photo helped and one harmed as Bonett and Price (2012) do. The donors' part is multiplied by Student's t, with
    one degree of freedom less than donors of equal weight. If each photo has a different donor, the result equals
    ``paired_interval``.

    Args:
        before: answers of one model, or on one kind of background.
        after: answers of the other. Photos that only one side has are ignored.
    """
    shared = np.intersect1d(before.photos, after.photos)
    old, new = _Cells.of(before, shared), _Cells.of(after, shared)
    if not shared.size:
        return _student(shared)
    middle = (new.total - old.total) / (shared.size + FOR_DIFFERENCE.size)
    level = old.total / shared.size
    both = _Cells(
        np.concatenate([-old.values, new.values]),
        np.concatenate([old.weights, new.weights]),
        np.concatenate([old.photos, new.photos]),
        np.concatenate([old.donors, new.donors]),
        shared.size,
    )
    residuals = np.concatenate([level - old.values, new.values - level - middle])
    return _cross(both, residuals, middle, FOR_DIFFERENCE, -1.0)


def independent_difference(before: Interval, after: Interval) -> Interval:
    """Return ``after - before`` of means over different photos, by square-and-add (Newcombe 1998, method 10)."""
    mean = after.mean - before.mean
    low = mean - math.hypot(after.mean - after.low, before.high - before.mean)
    high = mean + math.hypot(after.high - after.mean, before.mean - before.low)
    return Interval(mean, low, high, min(before.count, after.count))


def for_several(interval: Interval, comparisons: int) -> Interval:
    """Widen a 95 % CI so that all of several comparisons hold together with 95 % (Bonferroni, by the normal quantile).

    For the best of several changes of shares, which lie in [-1, 1].
    """
    wider = float(stats.norm.ppf(1 - 0.025 / comparisons)) / Z
    middle, reach = (interval.low + interval.high) / 2, wider * interval.half_width
    return Interval(interval.mean, max(-1.0, middle - reach), min(1.0, middle + reach), interval.count)


@dataclass(frozen=True)
class _Cells:
    """Values by photo and donor; the weights of a photo's values sum to 1, over ``count`` photos."""

    values: np.ndarray
    weights: np.ndarray
    photos: np.ndarray
    donors: np.ndarray
    count: int

    @classmethod
    def of(cls, answers: ClusteredAnswers, only: np.ndarray | None = None) -> _Cells:
        values = np.asarray(answers.right, dtype=np.float64)
        photos, donors = np.asarray(answers.photos), np.asarray(answers.donors)
        if only is not None:
            kept = np.isin(photos, only)
            values, photos, donors = values[kept], photos[kept], donors[kept]
        _, which, times = np.unique(photos, return_inverse=True, return_counts=True)
        return cls(values, 1 / times[which], photos, donors, len(times))

    @property
    def total(self) -> float:
        """Sum of the photos' means."""
        return float((self.weights * self.values).sum())


def _cross(cells: _Cells, residuals: np.ndarray, middle: float, added: np.ndarray, least: float) -> Interval:
    """Return the interval around ``middle`` from the residuals; each of the ``added`` photos has its own donor."""
    parts = cells.weights * residuals
    spread = clustered_spread(parts, cells.photos, cells.donors, cells.weights) + float(((added - middle) ** 2).sum())
    reach = Z * math.sqrt(spread) / (cells.count + added.size)
    return clip(cells.total / cells.count, middle, reach, cells.count, least)


def clustered_spread(parts: np.ndarray, photos: np.ndarray, donors: np.ndarray, weights: np.ndarray) -> float:
    """Return the variance of a sum of ``parts`` by photo and donor, all ``(N,)``; see ``crossed_difference``."""
    photos, donors = (np.unique(groups, return_inverse=True)[1].ravel() for groups in (photos, donors))
    pairs = np.unique(photos * (donors.max() + 1) + donors, return_inverse=True)[1].ravel()
    by_photo, by_donor, by_pair = (float((np.bincount(groups, parts) ** 2).sum()) for groups in (photos, donors, pairs))
    each = np.bincount(donors, weights)
    equal_donors = each.sum() ** 2 / (each**2).sum()
    wider = (float(special.stdtrit(max(equal_donors - 1, 1.0), 0.975)) / Z) ** 2
    return max(by_photo, by_pair) + wider * max(0.0, by_donor - by_pair)


def _wald(numbers: np.ndarray, added: np.ndarray) -> Interval:
    """Return Wald's interval of the mean after adding a few photos."""
    if not numbers.size:
        return _student(numbers)
    every = np.concatenate([numbers, added])
    reach = Z * float(every.std()) / math.sqrt(every.size)
    return clip(float(numbers.mean()), float(every.mean()), reach, numbers.size, float(added.min()))


def _student(numbers: np.ndarray, least: float = 0.0) -> Interval:
    if not numbers.size:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean, count = float(numbers.mean()), numbers.size
    reach = 2.0  # for a single value, the whole range
    if count > 1:
        reach = float(special.stdtrit(count - 1, 0.975) * numbers.std(ddof=1)) / math.sqrt(count)
    return clip(mean, mean, reach, count, -1.0 if numbers.min() < 0 else least)


def clip(mean: float, middle: float, reach: float, count: int, least: float) -> Interval:
    """Return the interval of ``reach`` around ``middle``, cut to the range from ``least`` to 1."""
    low, high = max(least, middle - reach), min(1.0, middle + reach)
    return Interval(float(np.clip(mean, least, 1.0)), float(low), float(high), count)  # sums of weights round
