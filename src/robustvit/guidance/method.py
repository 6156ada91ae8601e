"""The interface of guidance methods: each turns a model and a masked batch into a loss."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, Self, get_args

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_at_least, expect_one_of, option_name
from robustvit.common.options import Negatives, Train
from robustvit.guidance.decided_regions import DecidedRegions


@dataclass(frozen=True)
class GuidedLoss:
    """Result of a guided step.

    Attributes:
        loss: the scalar to call ``backward`` on.
        parts: the detached terms by name, unweighted.
        logits: ``(B, C)``, detached.
        maps: ``(B, 1, H, W)`` in [0, 1], detached; None if the method has no maps.
        label_losses: returns the cross-entropy with the true label of each image, ``(B,)``, with its gradient; None if
            the loss has no such term.
        label_weight: weight of their mean in the loss.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    logits: Tensor
    maps: Tensor | None
    label_losses: Callable[[], Tensor] | None = None
    label_weight: float = 1.0

    @classmethod
    def of(
        cls,
        loss: Tensor,
        parts: dict[str, Tensor],
        logits: Tensor,
        maps: Tensor | None = None,
        label_losses: Callable[[], Tensor] | None = None,
        label_weight: float = 1.0,
    ) -> GuidedLoss:
        """Return the result of a step with its terms and logits detached; also the loss, if gradients are off."""
        loss = loss if torch.is_grad_enabled() else loss.detach()
        parts = {name: part.detach() for name, part in parts.items()}
        return cls(loss, parts, logits.detach(), maps, label_losses, label_weight)


class Guidance(Protocol):
    """A guidance method: anything that maps a model and a masked batch to a ``GuidedLoss``."""

    @property
    def needs_labels(self) -> bool:
        """Whether a batch needs true labels."""
        ...

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss: ...


@dataclass(frozen=True)
class GuidanceMethod(ABC):
    """Base of the named methods, for the finetuning loop and the report; the options are dataclass fields.

    An image whose mask is empty shows no object: terms on maps, gradients and swaps count as zero on it, and it lends
    its background.

    Attributes:
        negatives: what such images train beyond the classification: nothing (``classification``), or even maps of the
            classes that have objects (``uniform``). ``finetune`` leaves them out of training with ``none``, which
            changes nothing here.
        object_classes: the classes that have objects, for ``uniform``; all if None. No option of ``finetune``.
        regions: regions that a person kept or dropped; None if there are none. No option of ``finetune``.
        obeys_regions: whether the method supports ``regions``.
        flattens: whether the method supports ``uniform``.
        several: whether it takes photos of several classes: a target ``(B, C)`` and a mask for each class.
        title: name shown to readers.
        source: where it was published.
        trains: the only weights that it can train; None for any.
        balanced: whether it needs equally many photos of every class.
        unused: options of ``finetune`` that have no effect with it.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    trains: ClassVar[Train | None] = None
    balanced: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ()
    flattens: ClassVar[bool] = False
    obeys_regions: ClassVar[bool] = False
    several: ClassVar[bool] = False

    negatives: Negatives = field(default="classification", kw_only=True)
    object_classes: Sequence[int] | None = field(default=None, kw_only=True, metadata={"option": False})
    regions: DecidedRegions | None = field(default=None, kw_only=True, metadata={"option": False})

    def __post_init__(self) -> None:
        expect_one_of("--negatives", self.negatives, get_args(Negatives))
        if self.negatives == "uniform" and not self.flattens:
            raise UserError(
                f"expected --negatives classification or none with --guidance {self.title}, which has no relevance to "
                "even out, got uniform"
            )

    def of_object_classes(self, classes: Sequence[int]) -> Self:
        """Return the method for photos in which these classes have objects."""
        return replace(self, object_classes=tuple(classes))

    def of_regions(self, regions: DecidedRegions | None) -> Self:
        """Return the method that obeys decisions on regions; None leaves it as it is."""
        return self if regions is None else replace(self, regions=regions)

    @property
    def needs_labels(self) -> bool:
        """Whether a batch needs true labels."""
        return True

    @property
    def uses_masks(self) -> bool:
        """Whether photos need masks to train with it."""
        return True

    @property
    def explains_with(self) -> str | None:
        """The relevance method that guides, if one does."""
        return None

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Measures of the verdict on photos of the kind that it trains on."""
        return ()

    @abstractmethod
    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        """Return the loss of a batch; arguments as in ``guided_loss``."""


def expect_labels(target: Tensor | None, why: str) -> Tensor:
    """Return the labels; refuse a batch without labels."""
    if target is None:
        raise UserError(f"expected labels for {why}, got none: sort the photos into class folders, or give a target")
    return target


def check_weights(temperature: float, **weights: float) -> None:
    """Refuse weights below zero, weights that are all zero, and temperatures that are not above zero."""
    expect_at_least(0, **weights)
    if not any(weights.values()):
        names = ", ".join(map(option_name, weights))
        raise UserError(f"expected at least one of {names} above 0, got 0 for all: nothing would be trained")
    if not 0 < temperature < math.inf:
        raise UserError(f"expected --temperature above 0, got {temperature}")


def weighted_sum(*terms: tuple[float, Tensor]) -> Tensor:
    """Sum weight times term; a weight of zero drops its term, including gradient and NaN."""
    weighted = [weight * term for weight, term in terms if weight]
    return sum(weighted[1:], weighted[0]) if weighted else terms[0][1].new_zeros(())


def total_loss(parts: dict[str, Tensor], relevance_weight: float, classification_weight: float) -> Tensor:
    """Return the weighted sum of the terms ``relevance``, ``uniform``, as heavy, and ``classification``."""
    weights = {"relevance": relevance_weight, "uniform": relevance_weight, "classification": classification_weight}
    return weighted_sum(*((weight, parts[name]) for name, weight in weights.items() if name in parts))
