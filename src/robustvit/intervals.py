"""Means with 95 % intervals, of one model and of the paired difference of two."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["Interval", "independent_difference", "mcnemar", "mean_interval", "paired_difference", "paired_interval"]

_RESAMPLES = 9999
_Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, in the unit of the values, over ``count`` photos."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the interval's length."""
        return (self.high - self.low) / 2


def mean_interval(values: ArrayLike, seed: int = 0) -> Interval:
    """Mean of one value per photo: Wilson's interval where all are 0 or 1, a percentile bootstrap otherwise."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size and np.isin(numbers, (0.0, 1.0)).all():
        wilson = stats.binomtest(int(numbers.sum()), numbers.size).proportion_ci(method="wilson")
        return Interval(float(numbers.mean()), float(wilson.low), float(wilson.high), numbers.size)
    return _bootstrap(numbers, seed)


def paired_difference(before: ArrayLike, after: ArrayLike, seed: int = 0) -> Interval:
    """Mean of ``after - before`` over the same photos, bootstrapped over photos."""
    return _bootstrap(np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64), seed)


def mcnemar(helped: int, harmed: int) -> float:
    """Exact two-sided p of McNemar's test: either direction is as likely for each image that turned."""
    turned = helped + harmed
    return float(stats.binomtest(helped, turned).pvalue) if turned else 1.0


def paired_interval(helped: int, harmed: int, count: int) -> Interval:
    """Difference of two paired accuracies, ``(helped - harmed) / count``, with a 95 % interval that holds for few.

    Bonett and Price (2012): Wald's interval after adding one image to each kind of turn. A bootstrap of a class of
    three images that all turned alike would have no width.
    """
    up, down, total = (helped + 1) / (count + 2), (harmed + 1) / (count + 2), count + 2
    reach = _Z * math.sqrt((up + down - (up - down) ** 2) / total)
    return Interval((helped - harmed) / count, max(-1.0, up - down - reach), min(1.0, up - down + reach), count)


def independent_difference(before: Interval, after: Interval) -> Interval:
    """``after - before`` of two means over different photos, by the square-and-add rule (Newcombe 1998, method 10)."""
    mean = after.mean - before.mean
    low = mean - math.hypot(after.mean - after.low, before.high - before.mean)
    high = mean + math.hypot(after.high - after.mean, before.mean - before.low)
    return Interval(mean, low, high, min(before.count, after.count))


def _bootstrap(numbers: np.ndarray, seed: int) -> Interval:
    if numbers.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(numbers.mean())
    if numbers.size == 1 or np.ptp(numbers) == 0:
        return Interval(mean, mean, mean, numbers.size)
    found = stats.bootstrap(
        (numbers,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, 2_000_000 // numbers.size),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), numbers.size)
