"""Penalties on input gradients outside the object: GradMask and Right for the Right Reasons."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.explanation.attention.interception import gradients_for_maps, leave_inference
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods.input_gradient import forward_from_pixels
from robustvit.explanation.methods.trace import sum_target_logits
from robustvit.guidance.cross_entropy import classify
from robustvit.guidance.method import GuidanceMethod, GuidedLoss, check_weights, expect_labels, total_loss
from robustvit.guidance.negatives import mean_over_classes, other_classes, over_objects, shows_object
from robustvit.guidance.paper_losses import background_loss, label_loss, label_losses, right_reasons_loss


@dataclass(frozen=True)
class _InputGradients(GuidanceMethod):
    """``relevance_weight * penalty + classification_weight * cross-entropy with the true label`` (equation 8).

    The gradient is in the model's input: pixels in [0, 1] for a ``Classifier``. So the loss does not depend on the
    normalisation; gradients in normalised pixels are ``std`` times as large. Works for every classifier that can be
    differentiated twice. With a weight of 0, no input gradient is computed.

    An image without an object (S = 0) counts as zero in the penalty; with ``negatives="uniform"`` it counts in the term
    ``uniform``: see the methods.
    """

    flattens = True
    explains_with = "input_gradient"

    relevance_weight: float | None = None
    classification_weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives == "uniform" and self.relevance_weight == 0:
            raise UserError("expected --relevance-weight above 0 with --negatives uniform, got 0: raise it")
        check_weights(
            self.temperature,
            relevance_weight=1.0 if self.relevance_weight is None else self.relevance_weight,
            classification_weight=self.classification_weight,
        )

    @staticmethod
    @abstractmethod
    def default_weight(classes: int) -> float:
        """Return the default weight of the penalty: on a pretrained ViT-S, its gradient is then about as large as the
        cross-entropy's."""

    @abstractmethod
    def explained(self, model: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar whose gradient in the pixels is penalised; images do not mix in it."""

    @abstractmethod
    def penalty(self, gradients: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of gradients ``(B, 3, H, W)``."""

    @abstractmethod
    def on_negatives(self, gradient: Callable[[Tensor], Tensor], gradients: Tensor, chosen: Tensor) -> Tensor:
        """Return the penalty of images without an object.

        Args:
            gradient: returns the gradient of the logits of classes ``(B,)``.
            gradients: of the scalar ``explained``.
            chosen: ``(B, C)`` bool, classes that have objects, on the images that have none.
        """

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        target = expect_labels(target, f"--guidance {self.title}, which explains the true class")
        if self.relevance_weight == 0:
            found = classify(model, images, target, self.temperature)
            weight = self.classification_weight
            return replace(found, loss=weight * found.loss, label_weight=weight)
        keep = torch.is_grad_enabled() or self.negatives == "uniform"  # the graph is needed again for each class
        with gradients_for_maps(keep):
            images, masks, target = leave_inference(images, masks, target)
            logits, entered = forward_from_pixels(model, images)
            (gradients,) = torch.autograd.grad(self.explained(model, logits, target), entered, create_graph=keep)
            exact = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
            parts = over_objects(lambda maps, inside: {"relevance": self.penalty(maps, inside)}, exact, masks)
            parts["classification"] = label_loss(logits, target, self.temperature)
            if self.negatives == "uniform":
                chosen = other_classes(logits.detach(), target, self.object_classes) & ~shows_object(masks)[:, None]

                def gradient_of(label: Tensor) -> Tensor:
                    chosen_logits = sum_target_logits(model, logits, label)
                    return torch.autograd.grad(chosen_logits, entered, create_graph=True)[0]

                parts["uniform"] = self.on_negatives(gradient_of, exact, chosen)
        weight = self.default_weight(logits.shape[1]) if self.relevance_weight is None else self.relevance_weight
        loss = total_loss(parts, weight, self.classification_weight)
        maps = image_map(exact.detach().abs().sum(dim=1), (images.shape[-2], images.shape[-1]))
        each = partial(label_losses, logits, target, self.temperature)
        return GuidedLoss.of(loss, parts, logits, maps, each, self.classification_weight)


@dataclass(frozen=True)
class GradMask(_InputGradients):
    """GradMask (Simpson et al. 2019, arXiv 1904.07478; equation 9 of RobustViT).

    ``mean((d y_c / d x * (1 - S))^2)`` over images, channels and pixels, ``y_c`` the true class's logit. ``uniform`` is
    the same with S = 0 on images without an object, as the mean over the classes c that have objects, except their own.

    ``relevance_weight`` is the weight of that term (None: 1000); ``temperature`` divides the cross-entropy's logits.
    """

    title = "gradmask"
    source = "Simpson, Dutil, Bengio and Cohen, GradMask: Reduce Overfitting by Regularizing Saliency, 2019"

    @staticmethod
    def default_weight(classes: int) -> float:
        return 1000.0

    def explained(self, model: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
        return sum_target_logits(model, logits, target)

    def penalty(self, gradients: Tensor, masks: Tensor) -> Tensor:
        return background_loss(gradients, masks)

    def on_negatives(self, gradient: Callable[[Tensor], Tensor], gradients: Tensor, chosen: Tensor) -> Tensor:
        """Equation 9 with S = 0, for each class."""
        return mean_over_classes(lambda label: gradient(label).square().mean(dim=(1, 2, 3)), chosen)


@dataclass(frozen=True)
class RightReasons(_InputGradients):
    """Right for the Right Reasons (Ross, Hughes and Doshi-Velez 2017, arXiv 1703.03717; equation 10 of RobustViT).

    ``sum(((1 - S) * d/dx sum_k log p_k)^2)`` over the channels and pixels of an image, ``p_k`` the probability of class
    k; the mean over images. ``uniform`` is the same with S = 0 on images without an object: it has all classes in it.
    Ross et al. sum this and the cross-entropy over images: the same balance of the two.

    ``relevance_weight`` is the weight of that term (None: ``0.04 / K^2`` for K classes, since the gradient of the sum
    grows with K); ``temperature`` divides the logits in the cross-entropy, not in ``p_k``.
    """

    title = "rrr"
    source = "Ross, Hughes and Doshi-Velez, Right for the Right Reasons, IJCAI 2017"

    @staticmethod
    def default_weight(classes: int) -> float:
        return 0.04 / classes**2

    def explained(self, model: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
        return logits.log_softmax(dim=1).sum()

    def penalty(self, gradients: Tensor, masks: Tensor) -> Tensor:
        return right_reasons_loss(gradients, masks)

    def on_negatives(self, gradient: Callable[[Tensor], Tensor], gradients: Tensor, chosen: Tensor) -> Tensor:
        """Equation 10 with S = 0."""
        negative = chosen.any(dim=1)
        if not bool(negative.any()):
            return gradients.new_zeros(())
        found = gradients[negative]
        return negative.to(gradients.dtype).mean() * right_reasons_loss(found, torch.zeros_like(found[:, :1]))
