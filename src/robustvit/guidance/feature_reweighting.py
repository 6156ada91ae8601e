"""Deep Feature Reweighting: fit a new head to features, as published, by logistic regression with an L1 penalty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)  # values of C that Kirichenko et al. try
SUBSETS = 10


@dataclass(frozen=True)
class Subsets:
    """Balanced subsets of photos: P subsets of N photos each, with features ``(P, N, D)`` and labels ``(P, N)``.

    ``own`` tells whether a photo's background comes from its class; ``known`` numbers the groups, if they are known.
    """

    features: Tensor
    labels: Tensor
    own: Tensor
    known: Tensor | None = None

    @property
    def groups(self) -> Tensor:
        """``(P, N)``, a number for each group, or for each class on backgrounds of its own and of other classes."""
        return self.known if self.known is not None else 2 * self.labels + self.own.long()

    def take(self, positions: Tensor, device: str | torch.device) -> Subsets:
        """Return the photos at positions, on a CUDA device, which has float64; on the CPU otherwise."""
        target = device if torch.device(device).type == "cuda" else "cpu"
        known = None if self.known is None else self.known[positions].to(target)
        features, labels, own = (one[positions].to(target) for one in (self.features, self.labels, self.own))
        return Subsets(features, labels, own, known)


@dataclass(frozen=True)
class Head:
    """A linear layer for plain features: weights ``(C, D)`` and intercepts ``(C,)``, float64."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class ChosenStrength:
    """The chosen C; accuracy in the worst group, accuracy and loss of its heads on subsets they were not fitted on."""

    strength: float
    worst: float
    accuracy: float
    loss: float


def split_halves(labels: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Split the photos of every class in two halves; return positions. The first half gets the odd photo."""
    rng = np.random.default_rng(seed)
    parts: tuple[list[int], list[int]] = ([], [])
    for label in sorted(set(labels)):
        members = rng.permutation([i for i, one in enumerate(labels) if one == label]).tolist()
        for part in (0, 1):
            parts[part].extend(members[part::2])
    return parts


def draw_balanced_subset(labels: Sequence[int], seed: int) -> list[int]:
    """Draw as many photos of every class as the smallest class has; return positions."""
    rng = np.random.default_rng(seed)
    least = min(Counter(labels).values())
    return [
        int(i)
        for label in sorted(set(labels))
        for i in rng.permutation([i for i, one in enumerate(labels) if one == label])[:least]
    ]


def choose_strength(
    first: Subsets, second: Subsets, classes: int, *, intercept: bool = True, strengths: Sequence[float] = STRENGTHS
) -> ChosenStrength:
    """Choose C by the worst group's accuracy, on photos that the head was not fitted on.

    Heads are fitted on the subsets of one half and scored on the other, both ways. Ties go to the lower cross-entropy.
    """
    tried = {c: np.zeros(3) for c in strengths}
    for fitted, held in ((first, second), (second, first)):
        mean, deviation = _scale(fitted.features)
        x, other = (fitted.features - mean) / deviation, ((held.features - mean) / deviation).flatten(0, 1)
        labels, groups = held.labels.flatten(), held.groups.flatten()
        start = None
        for c in sorted(strengths):  # from few weights to many: each solution starts the next
            start = fit_sparse_weights(x, fitted.labels, classes, c, start=start, intercept=intercept)
            logits = other @ start[0].mT + start[1][:, None]
            right = (logits.argmax(dim=2) == labels).double()
            worst = torch.stack([right[:, groups == group].mean(dim=1) for group in groups.unique()]).amin(dim=0)
            loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)))
            tried[c] += [float(worst.mean()) / 2, float(right.mean()) / 2, float(loss) / 2]
    best = max(strengths, key=lambda c: (round(tried[c][0], 9), -tried[c][2]))
    return ChosenStrength(best, *(float(value) for value in tried[best]))


def fit_average_head(subsets: Subsets, classes: int, strength: float, *, intercept: bool = True) -> Head:
    """Return the mean of the heads fitted on each subset, for features that are not standardised."""
    mean, deviation = _scale(subsets.features)
    x = (subsets.features - mean) / deviation
    weights, offsets = fit_sparse_weights(x, subsets.labels, classes, strength, intercept=intercept)
    weight = weights.mean(dim=0) / deviation
    return Head(weight, offsets.mean(dim=0) - weight @ mean)


def _scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation ``(D,)`` of each feature; 1 for constant features."""
    flat = features.double().flatten(0, 1)
    deviation = flat.std(dim=0, correction=0)
    return flat.mean(dim=0), torch.where(deviation > 1e-12 * (1 + flat.abs().amax(dim=0)), deviation, 1.0)


def fit_sparse_weights(
    features: Tensor,
    labels: Tensor,
    classes: int,
    strength: float,
    *,
    start: tuple[Tensor, Tensor] | None = None,
    intercept: bool = True,
    tolerance: float = 1e-5,
    most: int = 3000,
) -> tuple[Tensor, Tensor]:
    """Minimise ``C * sum(cross-entropy) + sum(|weights|)`` for each of several problems; intercepts are not penalised.

    Accelerated proximal gradient steps (Beck and Teboulle 2009) that restart where they turn back (O'Donoghue and
    Candes 2015). For two classes it is the binary problem: the best weights of the classes differ by its weights.
    Features ``(P, N, D)`` are best centred and of deviation 1. The smaller C, the ``strength``, the more weights are
    zero. The steps end when the scaled gradient moves nothing by more than ``tolerance``, or after ``most`` steps.

    Returns:
        Weights ``(P, classes, D)`` and intercepts ``(P, classes)``, float64.
    """
    x = features.double()
    problems, count, width = x.shape
    wanted = F.one_hot(labels, classes).double()
    weights, offsets = start or (x.new_zeros(problems, classes, width), x.new_zeros(problems, classes))
    inverse = 1 / _curvature(x)[:, None]
    threshold = (inverse / (strength * count))[..., None]
    ahead, ahead_offsets = weights, offsets
    momentum = x.new_ones(problems, 1)
    for _ in range(most):
        errors = ((x @ ahead.mT + ahead_offsets[:, None]).softmax(dim=2) - wanted) / count
        moved = ahead - inverse[..., None] * (errors.mT @ x)
        new = moved.sign() * (moved.abs() - threshold).clamp(min=0)
        new_offsets = ahead_offsets - inverse * errors.sum(dim=1) if intercept else ahead_offsets
        step, step_offsets = new - ahead, new_offsets - ahead_offsets
        largest = torch.cat([step, step_offsets[..., None]], dim=2).abs().amax(dim=(1, 2))
        if bool((largest / inverse[:, 0]).max() <= tolerance):
            return new, new_offsets
        gone, gone_offsets = new - weights, new_offsets - offsets
        back = (step * gone).sum(dim=(1, 2)) + (step_offsets * gone_offsets).sum(dim=1) < 0
        following = (1 + (1 + 4 * momentum**2).sqrt()) / 2
        factor = torch.where(back[:, None], 0.0, (momentum - 1) / following)
        momentum = torch.where(back[:, None], 1.0, following)
        ahead, ahead_offsets = new + factor[..., None] * gone, new_offsets + factor * gone_offsets
        weights, offsets = new, new_offsets
    return weights, offsets


def _curvature(x: Tensor) -> Tensor:
    """Return a bound ``(P,)`` of the mean cross-entropy's second derivative: half the largest eigenvalue of X'X / N."""
    full = torch.cat([x, x.new_ones(*x.shape[:2], 1)], dim=2)
    square = full @ full.mT if full.shape[1] < full.shape[2] else full.mT @ full
    return torch.linalg.eigvalsh(square / x.shape[1])[:, -1] / 2
