"""Background swaps and relevance together: the object stands on another background, and the map must stay on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustvit.common.options import Classification
from robustvit.guidance.method import GuidedLoss
from robustvit.guidance.robustvit import RobustViT
from robustvit.guidance.several import all_objects
from robustvit.guidance.swap_augmentation import MEASURED_SWAPS, check_share, on_other_backgrounds


@dataclass(frozen=True)
class SwapRelevance(RobustViT):
    """Cross-entropy and the relevance loss (equation 5) on photos whose object stands on another photo's background.

    Answer and map come from one forward pass. The mask moves with its object. Without gradients, as in validation,
    photos stay as they are.

    Attributes:
        swap_share: share of the photos that are swapped; see ``RobustViT`` for the others.
    """

    title = "swap-relevance"
    source = (
        "our combination of background swaps (Xiao, Engstrom, Ilyas and Madry, Noise or Signal, ICLR 2021) with the "
        "relevance loss of Chefer, Schwartz and Wolf, NeurIPS 2022"
    )

    relevance_weight: float = 8.0
    classification_weight: float = 1.0
    classification: Classification = "label"
    swap_share: float = 1.0

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Measures on swapped backgrounds."""
        return MEASURED_SWAPS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self.swap_share)

    def __call__(self, model: nn.Module, images: Tensor, masks: Tensor, target: Tensor | None) -> GuidedLoss:
        if torch.is_grad_enabled():
            images = on_other_backgrounds(images, all_objects(masks, target), self.swap_share)
        return super().__call__(model, images, masks, target)
