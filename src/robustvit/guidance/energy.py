"""The energy loss: as much of the relevance as possible anywhere inside the mask or box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustvit.common.options import Classification
from robustvit.explanation.maps import energy_inside
from robustvit.guidance.paper_losses import masks_like
from robustvit.guidance.robustvit import MapGuidance


def energy_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the relevance outside the object, ``1 - sum(R * S) / sum(R)``; the mean over images.

    The energy-based pointing game as a loss (Rao, Böhle, Parchami-Araghi and Schiele, ICCV 2023). Unlike equations 1
    and 2 it does not ask for relevance everywhere on the object, so the mask may be a box. A map of zeros counts as 1,
    without a gradient. Arguments as in ``background_loss``.
    """
    return (1 - energy_inside(maps, masks_like(maps, masks))).mean()


@dataclass(frozen=True)
class EnergyGuidance(MapGuidance):
    """The energy loss on the relevance map, and cross-entropy; attributes as in ``MapGuidance``."""

    title = "energy"
    source = (
        "Rao, Böhle, Parchami-Araghi and Schiele, Studying How to Efficiently and Effectively Guide Models with "
        "Explanations, ICCV 2023"
    )

    relevance_weight: float = 1.0
    classification_weight: float = 1.0
    classification: Classification = "label"

    def without(self, maps: Tensor, masks: Tensor, neutral: Tensor) -> tuple[Tensor, Tensor]:
        """Leave the neutral relevance out of both sums; where an image has no other object, it counts as inside."""
        marked = ((masks > 0) & ~neutral).flatten(1).any(dim=1)[:, None, None, None]
        return maps.masked_fill(neutral & marked, 0.0), torch.where(neutral, 1.0, masks)

    def map_terms(self, maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Return the energy loss as ``relevance``."""
        return {"relevance": energy_loss(maps, masks)}
