"""Regions that a person kept or dropped on the page of an audit, found again in the photos of a training batch.

A patch is of the kind of region whose centre its key is nearest to, if the cosine is at least that which nine of ten
patches of the kind have. The keys are those of the original model, which never changes. What is dropped counts as
background, also inside a mask. What is kept is neutral: no loss asks for relevance there or against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.data.region_decisions import RegionDecisions
from robustvit.explanation.attention.interception import evaluating
from robustvit.explanation.features import patch_features
from robustvit.guidance.losses import masks_like
from robustvit.models.weights import weights_hash


@dataclass(frozen=True)
class DecidedRegions:
    """Finds the regions in images.

    Attributes:
        model: the model that was audited; it is not trained, and is moved to the images.
        centres: of the kinds of region ``(K, C)``, each of length 1.
        reach: least cosine of each ``(K,)``.
        keep: whether each is kept ``(K,)`` bool.
        drop: whether each is dropped; the others were not decided.
        unmasked: whether the photos have no masks: all that is not dropped is then neutral.
    """

    model: nn.Module
    centres: Tensor
    reach: Tensor
    keep: Tensor
    drop: Tensor
    unmasked: bool = False

    @classmethod
    def of(cls, decisions: RegionDecisions, model: nn.Module, unmasked: bool = False) -> DecidedRegions:
        """Prepare the regions of a file for a model, which must be the one that was audited.

        Args:
            decisions: see ``read_decisions``.
            model: the original model.
            unmasked: see the class.
        """
        if decisions.weights and decisions.weights != weights_hash(model):
            raise UserError(
                f"expected the model that was audited for {decisions.path} ({decisions.model}), got other weights: "
                "audit this model, and decide on its regions"
            )
        rows = decisions.regions
        others = [(centre, 1.0) for centre in decisions.others]
        centres = torch.tensor([*(one.centre for one in rows), *(centre for centre, _ in others)])
        kept = [one.keep for one in rows]
        return cls(
            model,
            F.normalize(centres.float(), dim=1),
            torch.tensor([*(one.reach for one in rows), *(reach for _, reach in others)]),
            torch.tensor([*kept, *(False for _ in others)]),
            torch.tensor([*(not one for one in kept), *(False for _ in others)]),
            unmasked,
        )

    @torch.no_grad()
    def find(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return where images ``(B, 3, H, W)`` show what is dropped, and what is kept, each ``(B, 1, H, W)`` bool."""
        with evaluating(self.model):
            found = F.normalize(patch_features(self.model.to(images.device), images), dim=-1)
        if found.shape[-1] != self.centres.shape[1]:
            raise UserError(
                f"expected regions of {found.shape[-1]} features, as this model has, got {self.centres.shape[1]}: "
                "audit this model, and decide on its regions"
            )
        cosine, kind = (found @ self.centres.T.to(found)).max(dim=-1)
        inside = cosine >= self.reach.to(cosine)[kind]
        size = (images.shape[-2], images.shape[-1])
        dropped, kept = (
            F.interpolate((inside & chosen.to(kind.device)[kind]).float()[:, None], size=size, mode="nearest") > 0.5
            for chosen in (self.drop, self.keep)
        )
        return dropped, kept

    def decide(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the decisions to a batch.

        Args:
            images: ``(B, 3, H, W)``, what the model takes.
            masks: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1].

        Returns:
            The masks without what is dropped, ``(B, 1, H, W)``, and what is neutral, bool of the same shape.
        """
        masks = masks_like(images, masks)
        dropped, kept = self.find(images)
        if self.unmasked:
            return torch.zeros_like(masks), ~dropped
        return masks.masked_fill(dropped, 0.0), kept & (masks <= 0.5)


def leave_out(maps: Tensor, masks: Tensor, neutral: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps and masks of which equations 1 and 2 are zero where it is neutral: both are 1 there.

    The maps have no gradient there. Shapes ``(B, 1, H, W)``.
    """
    return torch.where(neutral, 1.0, maps), torch.where(neutral, 1.0, masks)
