"""Last-layer retraining on balanced photos, with features that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Balance
from robustvit.guidance.background_swaps import MEASURED_SWAPS, on_other_backgrounds
from robustvit.guidance.cross_entropy import classify
from robustvit.guidance.method import GuidanceMethod, GuidedLoss, expect_labels
from robustvit.models.forward_pass import evaluating
from robustvit.models.parameters import head_layers


@dataclass(frozen=True)
class LastLayer(GuidanceMethod):
    """Train the last layer alone, from the existing head, on balanced photos.

    A cheap relative of Deep Feature Reweighting. The model runs in evaluation mode (no dropout, fixed statistics), and
    only its head receives a gradient. The loop gives it equally many photos of every class.

    Attributes:
        balance: ``class``; or ``background``: every object is also put on the background of another photo, drawn anew
            for every batch, so that background and class are nearly independent; or ``group``: ``finetune`` draws
            photos of every group equally often.
    """

    title = "last-layer"
    source = (
        "the last layer trained from the old head; a cheap relative of Kirichenko, Izmailov and Wilson, Last Layer "
        "Re-Training is Sufficient for Robustness to Spurious Correlations, ICLR 2023"
    )
    trains = "head"
    balanced = True

    balance: Balance = "background"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_one_of("balance", self.balance, ("class", "background", "group"))

    @property
    def uses_masks(self) -> bool:
        """Masks serve only to swap backgrounds."""
        return self.balance == "background"

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Measures on swapped backgrounds, if backgrounds were swapped."""
        return MEASURED_SWAPS if self.balance == "background" else ()

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        target = expect_labels(target, f"--guidance {self.title}")
        if self.balance == "background" and torch.is_grad_enabled():
            images = on_other_backgrounds(images, masks)
        with _fixed_features(model):
            return classify(model, images, target)


@dataclass(frozen=True)
class DeepFeatureReweighting(LastLayer):
    """Deep Feature Reweighting (Kirichenko, Izmailov and Wilson 2022, arXiv 2204.02937): a new last layer, fitted on
    held-out photos in which the spurious cue says nothing.

    ``finetune`` fits it as published, see ``robustvit.training.head_fitting``: logistic regression with an L1 penalty
    on standardised features, C chosen by the worst group's accuracy, averaged over balanced subsets. Called with a
    batch, it is the loss of that regression without its penalty.

    Attributes:
        balance: of the subsets: ``class``; or ``background``: every object is also put on backgrounds of photos of
            uniformly drawn classes; or ``group``: the same number from every class of every group.
    """

    title = "dfr"
    source = (
        "Kirichenko, Izmailov and Wilson, Last Layer Re-Training is Sufficient for Robustness to Spurious "
        "Correlations, ICLR 2023"
    )
    balanced = False  # its subsets are
    unused = ("lr", "epochs", "select", "lr_schedule")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives == "none":
            raise UserError(
                "expected --negatives classification with --guidance dfr, whose new head needs photos of every class, "
                "got none: leave --negatives out"
            )


@contextmanager
def _fixed_features(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients beyond the head's input; modes and hooks are restored at the end."""
    with evaluating(model), ExitStack() as hooks:
        for layer in head_layers(model):
            hooks.enter_context(layer.register_forward_pre_hook(_detach))
        yield


def _detach(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.detach() if isinstance(x, Tensor) else x for x in inputs)
