"""Logistic regression with an L1 penalty, several problems of one size at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sparse_regression(
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

    Args:
        features: ``(P, N, D)``, best centred and of deviation 1.
        labels: ``(P, N)``, below ``classes``.
        classes: number of classes.
        strength: C above 0; the smaller, the fewer weights differ from zero.
        start: initial weights and intercepts.
        intercept: whether to fit intercepts.
        tolerance: largest final step of the scaled gradient.
        most: largest number of steps.

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
