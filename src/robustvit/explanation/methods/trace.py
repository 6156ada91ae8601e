"""What every relevance method returns: logits, and a function that explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class Explain(Protocol):
    """Relevance of classes ``(B,)`` on the method's own grid, ``(B, rows, columns)``."""

    def __call__(self, target: Tensor, differentiable: bool) -> Tensor: ...


@dataclass(frozen=True)
class Trace:
    """One forward pass that can be explained.

    Attributes:
        logits: ``(B, C)``, from the very pass that ``explain`` explains.
        explain: relevance of the target classes; differentiable in the weights, or constant and then cheaper (the
            graph may be freed by it).
    """

    logits: Tensor
    explain: Explain


class Method(Protocol):
    """A relevance method: runs a model on images ``(B, 3, H, W)`` once, with gradients on."""

    def __call__(self, model: nn.Module, images: Tensor, second_order: bool = False) -> Trace: ...
