"""Weights of photos by group, for the classification loss of a step: reweighting and Group DRO.

A weighting turns the groups of a batch into weights ``w_i``, and the loss becomes ``loss + a * mean((w_i - 1) * l_i)``,
where ``a * mean(l_i)`` is the cross-entropy in it. Everything else in the loss, such as that on the relevance map,
stays the mean over photos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.guidance.method import GuidedLoss

Reduce = Callable[[Tensor], Tensor]  # sums a tensor over the processes of a run


class GroupWeighting(ABC):
    """Weights of photos by their groups, which may change from step to step."""

    @abstractmethod
    def __call__(self, losses: Tensor, groups: Tensor) -> Tensor:
        """Return the weight of each photo, ``(B,)``, from its loss ``(B,)``, detached, and its group ``(B,)``."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - nothing to load if nothing changes
        """Load what ``state_dict`` returned."""


class Reweighting(GroupWeighting):
    """Every group counts alike: ``w_i = n / (G * n_g)`` for G groups of ``n_g`` of n training photos (``counts``)."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.weights = torch.tensor([sum(counts) / (len(counts) * count) for count in counts], dtype=torch.float64)

    def __call__(self, losses: Tensor, groups: Tensor) -> Tensor:
        return self.weights.to(losses)[groups]


class GroupDRO(GroupWeighting):
    """Group DRO (Sagawa, Koh, Hashimoto and Liang, ICLR 2020, algorithm 1): the worst group counts most.

    With ``L_g`` the mean loss of group g in the batch, 0 if it has no photo there, ``q_g <- q_g * exp(step * L_g)``,
    divided by their sum; the loss is ``sum_g q_g * L_g``. So ``w_i = B * q_g / B_g`` for B photos in a batch,
    ``B_g`` of the group. The photos of all processes are one batch.

    Args:
        groups: number of groups.
        step: step size of q, called eta.
        reduce: sums over processes.
    """

    def __init__(self, groups: int, step: float = 0.01, reduce: Reduce = lambda one: one) -> None:
        self.q = torch.full((groups,), 1 / groups, dtype=torch.float64)
        self.step, self.reduce = step, reduce

    def __call__(self, losses: Tensor, groups: Tensor) -> Tensor:
        exact = losses.to(torch.promote_types(losses.dtype, torch.float32))
        counts, sums = exact.new_zeros(2, len(self.q))
        counts.index_add_(0, groups, torch.ones_like(exact))
        sums.index_add_(0, groups, exact)
        counts, sums = (self.reduce(one).double().cpu() for one in (counts, sums))
        if torch.isfinite(sums).all():  # otherwise the step is skipped
            q = self.q * torch.exp(self.step * sums / counts.clamp(min=1))
            self.q = q / q.sum()
        return (counts.sum() * self.q / counts.clamp(min=1)).to(losses)[groups]

    def state_dict(self) -> dict[str, Any]:
        """Return q."""
        return {"q": self.q.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load q."""
        self.q = torch.tensor(state["q"], dtype=torch.float64)


def weigh_groups(guided: GuidedLoss, weighting: GroupWeighting, groups: Tensor) -> GuidedLoss:
    """Return a guided loss whose cross-entropy weighs photos by their groups.

    ``groups`` ``(n,)`` are those of the first n photos of the batch; the others do not count.
    """
    if guided.label_losses is None:
        raise UserError(
            "expected a loss with the true label for --group-method, the classification loss is the model's own "
            "confidence: give --classification label"
        )
    losses = guided.label_losses()[: len(groups)]
    weights = weighting(losses.detach(), groups)
    if not len(groups):
        return guided
    more = ((weights - 1) * losses).mean()
    return replace(guided, loss=guided.loss + guided.label_weight * more)
