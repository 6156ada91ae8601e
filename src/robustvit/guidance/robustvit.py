"""Guidance by relevance maps: the frame of such methods, and the paper's: relevance on the object, confidence kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_at_least, expect_one_of
from robustvit.common.options import Classification, Target
from robustvit.explanation.attention.interception import gradients_for_maps
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import get_method
from robustvit.explanation.methods.trace import Trace
from robustvit.guidance.decided_regions import leave_out
from robustvit.guidance.losses import background_loss, confidence_loss, foreground_loss, label_loss, label_losses
from robustvit.guidance.method import GuidanceMethod, GuidedLoss, check_weights, weighted_sum
from robustvit.guidance.negatives import mean_over_classes, other_classes, over_objects, shows_object, unevenness
from robustvit.guidance.several import over_classes
from robustvit.models.classifier import head_kind_of, logits_of


@dataclass(frozen=True)
class MapGuidance(GuidanceMethod):
    """A loss on the relevance map and one on the logits, from one forward pass.

    Attributes:
        target: class explained, the true ``label`` or the ``predicted`` one.
        relevance: method of the relevance map.
        second_order: let gradients flow through the attention's gradient too.
        relevance_weight: weight of the loss on the map; 0 makes no map.
        classification_weight: weight of the classification loss.
        classification: ``confidence`` (equation 4) or ``label`` (cross-entropy with the true label).
        temperature: divides the logits in the classification loss.

    With ``negatives="uniform"``, images without an object (``S_i = 0``) add ``relevance_weight * U``, where
    ``U = 1/B sum_(i: S_i = 0) 1/|O_i| sum_(c in O_i) unevenness(R_i^c)``, ``O_i`` are the classes that have objects
    except the image's own, and ``R_i^c`` is the relevance of class c by patches; see ``unevenness``.
    """

    flattens = True
    obeys_regions = True
    several = True

    target: Target = "label"
    relevance: str = "gae"
    second_order: bool = False
    relevance_weight: float = 0.8
    classification_weight: float = 0.2
    classification: Classification = "confidence"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_one_of("target", self.target, ("label", "predicted"))
        expect_one_of("classification", self.classification, ("confidence", "label"))
        get_method(self.relevance)
        check_weights(
            self.temperature,
            relevance_weight=self.relevance_weight,
            classification_weight=self.classification_weight,
        )
        if self.negatives == "uniform" and not self.relevance_counts:
            raise UserError("expected a weight of relevance above 0 with --negatives uniform, got 0: raise it")

    @abstractmethod
    def map_terms(self, maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Return the terms of a batch's maps, unweighted; ``relevance`` is the one that counts."""

    def without(self, maps: Tensor, masks: Tensor, neutral: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps and masks of which the terms do not depend on the relevance where it is neutral."""
        return leave_out(maps, masks, neutral)

    @property
    def needs_labels(self) -> bool:
        """Whether a batch needs true labels."""
        return self.target == "label" or self.classification == "label"

    @property
    def explains_with(self) -> str:
        """The relevance method that guides."""
        return self.relevance

    @property
    def relevance_counts(self) -> bool:
        """Whether a map is needed."""
        return bool(self.relevance_weight)

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        if target is None and self.needs_labels:
            raise UserError(
                f"expected labels for --guidance {self.title} with target or classification 'label', got none: give "
                "them, or use target 'predicted' and classification 'confidence'"
            )
        several = head_kind_of(model) == "multi-label"
        if not self.relevance_counts:
            logits = logits_of(model(images))
            classification = self._classification(logits, target, several)
            parts = {"classification": classification.detach()}
            loss = self.classification_weight * classification
            return GuidedLoss(loss, parts, logits.detach(), None, *self._label_losses(logits, target))
        differentiable = torch.is_grad_enabled()
        if several:
            return self._guide_each(model, images, masks, target)
        neutral = None
        if self.regions is not None:
            masks, neutral = self.regions.decide(images, masks)
        negative = ~shows_object(masks if neutral is None else torch.maximum(masks, neutral.to(masks.dtype)))
        uneven = self.negatives == "uniform" and bool(negative.any())
        keep = differentiable or uneven  # the graph is needed again for each class
        with gradients_for_maps(keep):
            images, masks = (x.clone() if x.is_inference() else x for x in (images, masks))
            target = target.clone() if target is not None and target.is_inference() else target
            trace = get_method(self.relevance)(model, images, self.second_order)
            logits = trace.logits
            predicted = logits.detach().argmax(dim=1)
            explained = predicted if self.target == "predicted" or target is None else target
            maps = image_map(trace.explain(explained, keep), (images.shape[-2], images.shape[-1]))
            shown, inside = (maps, masks) if neutral is None else self.without(maps, masks, neutral)
            parts = over_objects(self.map_terms, shown, inside)
            parts |= {"classification": self._classification(logits, target, several)}
            terms = [(self.relevance_weight, parts["relevance"])]
            if self.negatives == "uniform":
                parts["uniform"] = self._unevenness(trace, target, negative)
                terms.append((self.relevance_weight, parts["uniform"]))
            loss = weighted_sum(*terms, (self.classification_weight, parts["classification"]))
        detached = {name: part.detach() for name, part in parts.items()}
        told = loss if differentiable else loss.detach()
        each = self._label_losses(logits, target)
        return GuidedLoss(told, detached, logits.detach(), maps.detach(), *each)

    def _guide_each(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        """The loss of photos of several classes; see ``over_classes``."""
        if self.negatives == "uniform":
            raise UserError("expected --negatives classification or none for a multi-label model, got uniform")
        if self.regions is not None:
            raise UserError("expected no regions of an audit for a multi-label model, which has a mask for each class")
        differentiable = torch.is_grad_enabled()
        with gradients_for_maps(True):  # the graph is needed again for each class
            images, masks = (x.clone() if x.is_inference() else x for x in (images, masks))
            target = target.clone() if target is not None and target.is_inference() else target
            trace = get_method(self.relevance)(model, images, self.second_order)
            predicted = trace.logits.detach() > 0
            present = predicted if self.target == "predicted" or target is None else target > 0.5
            parts, maps = over_classes(self.map_terms, trace, present, masks, (images.shape[-2], images.shape[-1]))
            parts["classification"] = self._classification(trace.logits, target, several=True)
            loss = weighted_sum(
                (self.relevance_weight, parts["relevance"]), (self.classification_weight, parts["classification"])
            )
        detached = {name: part.detach() for name, part in parts.items()}
        told = loss if differentiable else loss.detach()
        each = self._label_losses(trace.logits, target)
        return GuidedLoss(told, detached, trace.logits.detach(), maps.detach(), *each)

    def _unevenness(self, trace: Trace, target: Tensor | None, negative: Tensor) -> Tensor:
        """Return how uneven the maps of other classes are on images without an object, see the class."""
        chosen = other_classes(trace.logits.detach(), target, self.object_classes)
        return mean_over_classes(
            lambda label: unevenness(trace.explain(label, True).flatten(1)), chosen & negative[:, None]
        )

    def _label_losses(self, logits: Tensor, target: Tensor | None) -> tuple[Callable[[], Tensor] | None, float]:
        """Return the cross-entropy of each image, if the loss has it, and its weight."""
        if self.classification != "label" or target is None:
            return None, self.classification_weight
        return partial(label_losses, logits, target, self.temperature), self.classification_weight

    def _classification(self, logits: Tensor, target: Tensor | None, several: bool) -> Tensor:
        """Equation 4, or its variant with the true label."""
        if self.classification == "label" and target is not None:
            return label_loss(logits, target, self.temperature)
        return confidence_loss(logits, self.temperature, several=several)


@dataclass(frozen=True)
class RobustViT(MapGuidance):
    """The paper's guidance (equation 5): relevance on the object, confidence kept.

    A term whose weight is zero is left out with its gradient; without weight on relevance, no map is computed.

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

    title = "robustvit"
    source = (
        "Chefer, Schwartz and Wolf, Optimizing Relevance Maps of Vision Transformers Improves Robustness, NeurIPS 2022"
    )

    background: float = 2.0
    foreground: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_at_least(0, background=self.background, foreground=self.foreground)
        if not self.relevance_counts and not self.classification_weight:
            raise UserError("expected a weight above 0 for relevance or classification: nothing would be trained")

    @property
    def relevance_counts(self) -> bool:
        """Whether a map is needed."""
        return bool(self.relevance_weight and (self.background or self.foreground))

    def map_terms(self, maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Return equations 1 and 2, and their weighted sum as ``relevance`` (equation 3)."""
        terms = {"background": background_loss(maps, masks), "foreground": foreground_loss(maps, masks)}
        weighted = (self.background, terms["background"]), (self.foreground, terms["foreground"])
        return terms | {"relevance": weighted_sum(*weighted)}
