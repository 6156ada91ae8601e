"""What a guidance method is: it turns a model and a masked batch into a loss, and says what it needs for that."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_at_least
from robustvit.common.options import Train


@dataclass(frozen=True)
class GuidedLoss:
    """What one guided step computes.

    Attributes:
        loss: the scalar to call ``backward`` on.
        parts: the detached terms by name, unweighted.
        logits: ``(B, C)``, detached.
        maps: ``(B, 1, H, W)`` in [0, 1], detached; None where the method makes no maps.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    logits: Tensor
    maps: Tensor | None


class Guidance(Protocol):
    """A guidance method: anything that maps a model and a masked batch to a ``GuidedLoss``."""

    @property
    def needs_labels(self) -> bool:
        """Whether a batch must come with true labels."""
        ...

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss: ...


class GuidanceMethod(ABC):
    """What the finetuning loop and the report ask of a method that has a name; its options are a dataclass's fields.

    Attributes:
        title: what a reader is told that it is.
        source: where it was published.
        trains: the only weights that it is made for; None where it may train any.
        balanced: whether it wants equally many photos of every class.
        fits: whether it solves for the head at once instead of taking steps; the photos held out are then halved, one
            half to fit on and one to judge.
        unused: options of ``finetune`` that mean nothing with it.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    trains: ClassVar[Train | None] = None
    balanced: ClassVar[bool] = False
    fits: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ()

    @property
    def needs_labels(self) -> bool:
        """Whether a batch must come with true labels."""
        return True

    @property
    def explains_with(self) -> str | None:
        """The relevance method that guides, if one does."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the verdict must know about a model trained with it."""
        return ()

    @abstractmethod
    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        """The loss of a batch; arguments as in ``guided_loss``."""


def expect_labels(target: Tensor | None, why: str) -> Tensor:
    """The labels of a batch."""
    if target is None:
        raise UserError(f"expected labels for {why}, got none: sort the photos into class folders, or give a target")
    return target


def check_weights(temperature: float, **weights: float) -> None:
    """Refuse weights below zero, weights that are all zero, and temperatures that are not above zero."""
    expect_at_least(0, **weights)
    if not any(weights.values()):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in weights)
        raise UserError(f"expected at least one of {names} above 0, got 0 for all: nothing would be trained")
    if not 0 < temperature < math.inf:
        raise UserError(f"expected temperature above 0, got {temperature}")


def weighted_sum(*terms: tuple[float, Tensor]) -> Tensor:
    """Sum of weight times term; a weight of zero leaves its term out, gradient and NaN included.

    Returns:
        A scalar; zero without a gradient where every weight is zero.
    """
    kept = [weight * term for weight, term in terms if weight]
    return sum(kept[1:], kept[0]) if kept else terms[0][1].new_zeros(())
