"""Guidance methods: each one object that turns a batch of images and masks into a loss, with its own target rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from robustvit.errors import UserError
from robustvit.interception import gradients_for_maps
from robustvit.losses import background_loss, confidence_loss, foreground_loss, label_loss
from robustvit.methods import METHODS, method_of
from robustvit.options import Classification, Target
from robustvit.relevance_maps import image_map

__all__ = ["GUIDANCE", "Guidance", "GuidedLoss", "RobustViT", "guided_loss", "make_guidance", "options_of"]


@dataclass(frozen=True)
class GuidedLoss:
    """What one guided step computes.

    Attributes:
        loss: the scalar to call ``backward`` on.
        parts: the detached terms by name, unweighted.
        logits: ``(B, C)``, detached.
        maps: ``(B, 1, H, W)`` in [0, 1], detached.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    logits: Tensor
    maps: Tensor


class Guidance(Protocol):
    """A guidance method: anything that maps a model and a masked batch to a ``GuidedLoss``."""

    @property
    def needs_labels(self) -> bool:
        """Whether a batch must come with true labels."""
        ...

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss: ...


@dataclass(frozen=True)
class RobustViT:
    """The paper's guidance (equation 5): relevance on the object, confidence kept.

    Attributes:
        target: class explained, the true ``label`` (the paper's training) or the ``predicted`` one (its section 5).
        relevance: method of the relevance map.
        second_order: let gradients flow through the attention's gradient too.
        background: weight of equation 1 inside the relevance loss.
        foreground: weight of equation 2 inside the relevance loss.
        relevance_weight: weight of the relevance loss.
        classification_weight: weight of the classification loss.
        classification: ``confidence`` (equation 4) or ``label`` (cross-entropy with the true label).
        temperature: divides the logits in the classification loss.
    """

    target: Target = "label"
    relevance: str = "gae"
    second_order: bool = False
    background: float = 2.0
    foreground: float = 0.3
    relevance_weight: float = 0.8
    classification_weight: float = 0.2
    classification: Classification = "confidence"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _expect("target", self.target, ("label", "predicted"))
        _expect("classification", self.classification, ("confidence", "label"))
        _expect("relevance", self.relevance, tuple(METHODS))
        if not 0 < self.temperature < math.inf:
            raise UserError(f"expected temperature above 0, got {self.temperature}")

    @property
    def needs_labels(self) -> bool:
        """Whether a batch must come with true labels."""
        return self.target == "label" or self.classification == "label"

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        if target is None and self.needs_labels:
            raise UserError("expected labels for target='label' or classification='label'; give them or use predicted")
        differentiable = torch.is_grad_enabled()
        with gradients_for_maps(differentiable):
            trace = method_of(self.relevance)(model, images, self.second_order)
            logits = trace.logits
            predicted = logits.detach().argmax(dim=1)
            explained = predicted if self.target == "predicted" or target is None else target
            maps = image_map(trace.explain(explained, differentiable), (images.shape[-2], images.shape[-1]))
            parts = {"background": background_loss(maps, masks), "foreground": foreground_loss(maps, masks)}
            if self.classification == "label" and target is not None:
                parts["classification"] = label_loss(logits, target, self.temperature)
            else:
                parts["classification"] = confidence_loss(logits, self.temperature)
            relevance = self.background * parts["background"] + self.foreground * parts["foreground"]
            loss = self.relevance_weight * relevance + self.classification_weight * parts["classification"]
        parts["relevance"] = relevance
        detached = {name: part.detach() for name, part in parts.items()}
        return GuidedLoss(loss, detached, logits.detach(), maps.detach())


GUIDANCE: dict[str, Any] = {"robustvit": RobustViT}


def _expect(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}")


def options_of(guidance: str) -> set[str]:
    """Names of the options that a guidance method has.

    Raises:
        UserError: unknown name.
    """
    _expect("guidance", guidance, tuple(GUIDANCE))
    return {field.name for field in fields(GUIDANCE[guidance])}


def make_guidance(guidance: str | Guidance = "robustvit", **options: Any) -> Guidance:
    """Return the guidance method of that name with its options set; an object passes through.

    Raises:
        UserError: unknown name or unknown option.
    """
    if not isinstance(guidance, str):
        if options:
            raise UserError(f"expected no options beside a guidance object, got {', '.join(options)}")
        return guidance
    known = options_of(guidance)
    if unknown := sorted(set(options) - known):
        raise UserError(f"expected options of {guidance} ({', '.join(sorted(known))}), got {', '.join(unknown)}")
    return GUIDANCE[guidance](**options)


def guided_loss(
    model: nn.Module,
    images: Tensor,
    masks: Tensor,
    target: Tensor | None = None,
    *,
    guidance: str | Guidance = "robustvit",
    **options: Any,
) -> GuidedLoss:
    """One guided step's loss for any training loop, from one shared forward pass.

    Args:
        model: a ``Classifier`` or a bare timm vision transformer.
        images: ``(B, 3, H, W)``, what ``model`` takes.
        masks: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], 1 on the object.
        target: ``(B,)`` true labels, whose relevance is guided; the predicted classes' when left out.
        guidance: name of a guidance method, or an object of your own.
        options: fields of the method, e.g. ``second_order=True`` or ``temperature=0.55``.

    Returns:
        The loss, its parts, logits and maps; call ``.loss.backward()``.

    Raises:
        UserError: unknown method or option, shapes that differ, labels missing.
    """
    if target is None and isinstance(guidance, str):
        options["target"] = "predicted"
    return make_guidance(guidance, **options)(model, images, masks, target)
