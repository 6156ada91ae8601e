"""95 % CIs of numbers that are not means over photos, such as balanced accuracy or the area under a ROC curve.

Each answer has a slope: how fast the number changes with the answer's weight. To first order the number is a sum over
photos, whose variance is known (the infinitesimal jackknife, Efron 1982; of the AUROC, DeLong et al. 1988). As in
``intervals``, a few photos are added, so that no interval has width zero, and the formulas are closed: none depends on
a seed. With classes of equal size, the intervals of balanced accuracy are those of accuracy, to the second digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robustvit.common.intervals import FOR_DIFFERENCE, FOR_MEAN, Interval, Z, clip, clustered_spread


@dataclass(frozen=True)
class Derived:
    """A number computed from answers, and what each answer contributes to its variance.

    Attributes:
        value: the number, in [0, 1].
        parts: weight times slope of each answer, ``(N,)``.
        weights: weights of the answers, ``(N,)``; those of a photo sum to 1.
        photos: photo of each answer, ``(N,)`` integers.
        donors: photo that lent the background, ``(N,)``; None without swapped backgrounds.
        effective: photos that the number is worth: all of them if classes have equal size, fewer if not.
    """

    value: float
    parts: np.ndarray
    weights: np.ndarray
    photos: np.ndarray
    donors: np.ndarray | None
    effective: float

    @property
    def count(self) -> int:
        """Number of photos."""
        return len(np.unique(self.photos))


def effective_photos(counts: np.ndarray) -> float:
    """Return how many photos a mean over classes is worth, given the photos of each class, ``(K,)``, all above 0.

    A photo of a class with n photos moves the mean by 1 / (K n). The result is one over the root mean square of these
    moves over classes; it equals the number of photos if classes have equal size.
    """
    return float(1 / np.sqrt(np.mean((1 / (len(counts) * counts)) ** 2)))


def derived_interval(found: Derived) -> Interval:
    """Return a number with its 95 % CI; it covers the choice of photos and, if there are donors, of backgrounds."""
    return _around(found.value, _spread([found]), found, FOR_MEAN, 0.0)


def derived_difference(before: Derived, after: Derived) -> Interval:
    """Return ``after - before`` of the same photos with its 95 % CI, paired photo by photo."""
    return _around(after.value - before.value, _spread([before, after]), after, FOR_DIFFERENCE, -1.0)


def _spread(sides: list[Derived]) -> float:
    """Return the variance of a number, or of the difference of two."""
    signs = [-1.0, 1.0][-len(sides) :]
    parts = np.concatenate([sign * side.parts for sign, side in zip(signs, sides, strict=True)])
    photos = np.concatenate([side.photos for side in sides])
    donors = [side.donors for side in sides if side.donors is not None]
    if len(donors) < len(sides):
        return float((np.bincount(np.unique(photos, return_inverse=True)[1].ravel(), parts) ** 2).sum())
    return clustered_spread(parts, photos, np.concatenate(donors), np.concatenate([side.weights for side in sides]))


def _around(value: float, variance: float, found: Derived, added: np.ndarray, least: float) -> Interval:
    """Return the interval after adding a few photos to the effective ones."""
    size = found.effective
    middle = (size * value + float(added.sum())) / (size + added.size)
    spread = size**2 * variance + size * (value - middle) ** 2 + float(((added - middle) ** 2).sum())
    return clip(value, middle, Z * math.sqrt(spread) / (size + added.size), found.count, least)
