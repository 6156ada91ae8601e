"""Plain finetuning, the control of every guidance method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from robustvit.guidance.method import GuidanceMethod, GuidedLoss, check_weights, expect_labels
from robustvit.guidance.paper_losses import label_loss, label_losses
from robustvit.models.classifier import logits_of


def classify(model: nn.Module, images: Tensor, target: Tensor, temperature: float = 1.0) -> GuidedLoss:
    """Return the cross-entropy with the true labels, see ``label_loss``, from a plain forward pass."""
    logits = logits_of(model(images))
    loss = label_loss(logits, target, temperature)
    each = partial(label_losses, logits, target, temperature)
    return GuidedLoss.of(loss, {"classification": loss}, logits, label_losses=each)


@dataclass(frozen=True)
class CrossEntropy(GuidanceMethod):
    """Cross-entropy with the true label alone (equation 8); masks are not used.

    The released scripts of GradMask and RRR amount to it: their gradients are constants there, so that their second
    term trains nothing. ``temperature`` divides the logits.
    """

    several = True
    uses_masks = False

    title = "cross-entropy"
    source = "the ordinary finetuning that guidance is compared with (equation 8 of RobustViT)"

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weights(self.temperature, classification_weight=1)

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        return classify(model, images, expect_labels(target, "--guidance cross-entropy"), self.temperature)
