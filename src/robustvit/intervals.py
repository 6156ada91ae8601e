"""Means with 95 % intervals, of one model and of the paired difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Interval", "mean_interval", "paired_difference"]

_RESAMPLES = 9999


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


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean of one value per photo: Wilson's interval where all are 0 or 1, a percentile bootstrap otherwise."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size and np.isin(numbers, (0.0, 1.0)).all():
        wilson = stats.binomtest(int(numbers.sum()), numbers.size).proportion_ci(method="wilson")
        return Interval(float(numbers.mean()), float(wilson.low), float(wilson.high), numbers.size)
    return _bootstrap(numbers, seed)


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """Mean of ``after - before`` over the same photos, bootstrapped over photos."""
    return _bootstrap(np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64), seed)


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
