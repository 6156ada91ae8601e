"""Calibration: whether a model is right as often as it is sure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import stats

from robustvit.common.intervals import Interval

BINS = 15
_RESAMPLES = 200


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> Interval:
    """Compute the expected calibration error (Guo et al. 2017) in 15 equal bins of confidence.

    The interval is the basic bootstrap's, which removes the upward bias of resampling, cut off at 0. ``confidence`` is
    that of each answer, ``(N,)`` in [0, 1], and ``right`` is ``(N,)`` bool.
    """
    error = _make_error(confidence, right)
    mean, low, high = _bootstrap(error, len(confidence))
    return Interval(mean, max(0.0, low), min(1.0, high), len(confidence))


def calibration_change(
    confidence_before: np.ndarray,
    right_before: np.ndarray,
    confidence: np.ndarray,
    right: np.ndarray,
) -> Interval:
    """Compute ``after - before`` of the calibration error on the same photos; the bootstrap keeps pairs together.

    Few photos make the error of a calibrated model too high, so the interval may not include the change; it is then
    extended to it.
    """
    old, new = _make_error(confidence_before, right_before), _make_error(confidence, right)
    mean, low, high = _bootstrap(lambda rows: new(rows) - old(rows), len(confidence))
    return Interval(mean, max(-1.0, min(low, mean)), min(1.0, max(high, mean)), len(confidence))


def _make_error(confidence: np.ndarray, right: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return the calibration error as a function of the rows that count."""
    from torchmetrics.functional.classification import binary_calibration_error  # seconds to import

    sure = torch.from_numpy(confidence.astype(np.float32)).clamp(0, 1)
    correct = torch.from_numpy(right.astype(np.int64))

    def error(rows: np.ndarray) -> float:
        chosen = rows.astype(np.int64)
        return float(binary_calibration_error(sure[chosen], correct[chosen], n_bins=BINS, norm="l1"))

    return error


def _bootstrap(error: Callable[[np.ndarray], float], count: int) -> tuple[float, float, float]:
    """Return the number with its basic bootstrap interval over photos."""
    mean = error(np.arange(count))
    if count < 2:
        return mean, mean, mean
    interval = stats.bootstrap(
        (np.arange(count),),
        error,
        n_resamples=_RESAMPLES,
        vectorized=False,
        method="basic",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return mean, float(interval.low), float(interval.high)
