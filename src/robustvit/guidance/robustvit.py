"""Guidance by relevance maps: the base of such methods, and the paper's: relevance on the object, confidence kept."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_at_least, expect_one_of
from robustvit.common.options import Classification, Target
from robustvit.explanation.attention.interception import gradients_for_maps, leave_inference
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import get_method
from robustvit.explanation.methods.trace import Trace
from robustvit.guidance.decided_regions import leave_out
from robustvit.guidance.method import GuidanceMethod, GuidedLoss, check_weights, total_loss, weighted_sum
from robustvit.guidance.negatives import mean_over_classes, other_classes, over_objects, shows_object, unevenness
from robustvit.guidance.paper_losses import background_loss, confidence_loss, foreground_loss, label_loss, label_losses
from robustvit.guidance.several import over_classes
from robustvit.models.classifier import head_kind_of, logits_of


@dataclass(frozen=True)
class MapGuidance(GuidanceMethod):
    """A loss on the relevance map and a loss on the logits, from one forward pass; attributes as in ``RobustViT``.

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
        """Return maps and masks for terms that do not depend on the relevance where it is neutral."""
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
            return self._result({"classification": self._classification(logits, target, several)}, logits, target)
        return (self._guide_several if several else self._guide)(model, images, masks, target)

    def _guide(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        """Return the loss of photos of one class."""
        neutral = None
        if self.regions is not None:
            masks, neutral = self.regions.decide(images, masks)
        negative = ~shows_object(masks if neutral is None else torch.maximum(masks, neutral.to(masks.dtype)))
        uneven = self.negatives == "uniform" and bool(negative.any())
        keep = torch.is_grad_enabled() or uneven  # the graph is needed again for each class
        with gradients_for_maps(keep):
            images, masks, target = leave_inference(images, masks, target)
            trace = get_method(self.relevance)(model, images, self.second_order)
            predicted = trace.logits.detach().argmax(dim=1)
            explained = predicted if self.target == "predicted" or target is None else target
            maps = image_map(trace.explain(explained, keep), (images.shape[-2], images.shape[-1]))
            shown, inside = (maps, masks) if neutral is None else self.without(maps, masks, neutral)
            parts = over_objects(self.map_terms, shown, inside)
            parts["classification"] = self._classification(trace.logits, target)
            if self.negatives == "uniform":
                parts["uniform"] = self._unevenness(trace, target, negative)
        return self._result(parts, trace.logits, target, maps)

    def _guide_several(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        """Return the loss of photos of several classes; see ``over_classes``."""
        if self.negatives == "uniform":
            raise UserError("expected --negatives classification or none for a multi-label model, got uniform")
        if self.regions is not None:
            raise UserError("expected no regions of an audit for a multi-label model, which has a mask for each class")
        with gradients_for_maps(True):  # the graph is needed again for each class
            images, masks, target = leave_inference(images, masks, target)
            trace = get_method(self.relevance)(model, images, self.second_order)
            predicted = trace.logits.detach() > 0
            present = predicted if self.target == "predicted" or target is None else target > 0.5
            parts, maps = over_classes(self.map_terms, trace, present, masks, (images.shape[-2], images.shape[-1]))
            parts["classification"] = self._classification(trace.logits, target, several=True)
        return self._result(parts, trace.logits, target, maps)

    def _unevenness(self, trace: Trace, target: Tensor | None, negative: Tensor) -> Tensor:
        """Return how uneven the maps of other classes are on images without an object, see the class."""
        chosen = other_classes(trace.logits.detach(), target, self.object_classes)
        return mean_over_classes(
            lambda label: unevenness(trace.explain(label, True).flatten(1)), chosen & negative[:, None]
        )

    def _classification(self, logits: Tensor, target: Tensor | None, several: bool = False) -> Tensor:
        """Return equation 4, or its variant with the true label."""
        if self.classification == "label" and target is not None:
            return label_loss(logits, target, self.temperature)
        return confidence_loss(logits, self.temperature, several=several)

    def _result(
        self, parts: dict[str, Tensor], logits: Tensor, target: Tensor | None, maps: Tensor | None = None
    ) -> GuidedLoss:
        each = None
        if self.classification == "label" and target is not None:
            each = partial(label_losses, logits, target, self.temperature)
        loss = total_loss(parts, self.relevance_weight, self.classification_weight)
        maps = None if maps is None else maps.detach()
        return GuidedLoss.of(loss, parts, logits, maps, each, self.classification_weight)


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
