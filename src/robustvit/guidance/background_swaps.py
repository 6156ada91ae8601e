"""Background swaps, alone or with the relevance loss: objects on the backgrounds of other photos of their batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.options import Classification
from robustvit.data.swaps import bounding_box, paste, tiled_background, usable_background
from robustvit.guidance.cross_entropy import classify
from robustvit.guidance.method import GuidanceMethod, GuidedLoss, check_weights, expect_labels
from robustvit.guidance.paper_losses import masks_like
from robustvit.guidance.robustvit import RobustViT
from robustvit.guidance.several import all_objects

MEASURED_SWAPS = ("mixed-other", "mixed-same", "mixed-rand")  # measures on photos like those that swaps train on


def on_other_backgrounds(images: Tensor, masks: Tensor, share: float = 1.0) -> Tensor:
    """Put the objects of a batch on each other's backgrounds (ImageNet-9's only-bg-t), drawn by PyTorch's generator.

    The donor is drawn uniformly from the other photos of the batch whose object's box leaves enough background; a photo
    with an empty mask shows no object and lends the whole frame. In shuffled photos of K balanced classes, n each, the
    donor is of the same class with probability (n - 1) / (K n - 1): the background then says next to nothing about the
    class. A photo stays as it is if it shows no object (no pixel of its mask above one half), if there is no donor, and
    with probability ``1 - share``. Soft masks blend.
    """
    masks = masks_like(images, masks)
    shown = [bounding_box(mask) is not None for mask in masks]
    lending = [i for i, mask in enumerate(masks) if (shown[i] or not mask.any()) and usable_background(mask)]
    background = cache(lambda donor: tiled_background(images[donor], masks[donor]))
    swapped = []
    for index, drawn in enumerate(torch.rand(len(images), 2).tolist()):
        donors = [donor for donor in lending if donor != index]
        if shown[index] and donors and drawn[0] < share:
            donor = donors[min(int(drawn[1] * len(donors)), len(donors) - 1)]
            swapped.append(paste(images[index], masks[index], background(donor)))
        else:
            swapped.append(images[index])
    return torch.stack(swapped)


def _check_share(share: float) -> None:
    """Refuse a share of swapped photos outside (0, 1]."""
    if not 0 < share <= 1:
        raise UserError(f"expected --swap-share above 0 and at most 1, got {share}")


@dataclass(frozen=True)
class SwapAugmentation(GuidanceMethod):
    """Cross-entropy on photos whose object stands on another training photo's background.

    The loop seeds PyTorch's generator by run and epoch, so a resumed run draws the same. Without gradients, as in
    validation, photos stay as they are. ``swap_share`` of the photos are swapped; ``temperature`` divides the logits.
    """

    several = True
    trained_on = MEASURED_SWAPS

    title = "swap-augmentation"
    source = "backgrounds swapped as in Xiao, Engstrom, Ilyas and Madry, Noise or Signal, ICLR 2021"

    swap_share: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weights(self.temperature, classification_weight=1)
        _check_share(self.swap_share)

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        target = expect_labels(target, "--guidance swap-augmentation")
        if torch.is_grad_enabled():
            images = on_other_backgrounds(images, all_objects(masks, target), self.swap_share)
        return classify(model, images, target, self.temperature)


@dataclass(frozen=True)
class SwapRelevance(RobustViT):
    """Cross-entropy and the relevance loss (equation 5) on photos whose object stands on another photo's background.

    Answer and map come from one forward pass. The mask moves with its object. Without gradients, as in validation,
    photos stay as they are. ``swap_share`` of the photos are swapped; see ``RobustViT`` for the other attributes.
    """

    trained_on = MEASURED_SWAPS

    title = "swap-relevance"
    source = (
        "our combination of background swaps (Xiao, Engstrom, Ilyas and Madry, Noise or Signal, ICLR 2021) with the "
        "relevance loss of Chefer, Schwartz and Wolf, NeurIPS 2022"
    )

    relevance_weight: float = 8.0
    classification_weight: float = 1.0
    classification: Classification = "label"
    swap_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_share(self.swap_share)

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        if torch.is_grad_enabled():
            images = on_other_backgrounds(images, all_objects(masks, target), self.swap_share)
        return super().__call__(model, images, masks, target)
