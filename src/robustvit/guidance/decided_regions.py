"""Regions that a person kept or dropped on the page of an audit, recognised in the photos of a training batch.

A patch belongs to the kind of region whose centre is nearest to its key, if their cosine is at least that of nine in
ten patches of the kind. The keys are those of the original model, which never changes. Dropped regions count as
background, also inside a mask. Kept regions are neutral: no loss asks for relevance there or against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.data.region_decisions import RegionDecisions
from robustvit.explanation.features import patch_features
from robustvit.guidance.paper_losses import masks_like
from robustvit.models.forward_pass import evaluating
from robustvit.models.weights import weights_hash


@dataclass(frozen=True)
class DecidedRegions:
    """Finds the regions in images.

    Attributes:
        model: the model that was audited; it is not trained, and is moved to the images.
        centres: of the kinds of region ``(K, C)``, each of length 1.
        reach: least cosine of each kind ``(K,)``.
        keep: whether each kind is kept ``(K,)`` bool.
        drop: whether each kind is dropped; the others were not decided.
        unmasked: whether the photos have no masks: everything that is not dropped is then neutral.
    """

    model: nn.Module
    centres: Tensor
    reach: Tensor
    keep: Tensor
    drop: Tensor
    unmasked: bool = False

    @classmethod
    def of(cls, decisions: RegionDecisions, model: nn.Module, unmasked: bool = False) -> DecidedRegions:
        """Prepare the regions of a file for the original model, which must be the model that was audited."""
        if decisions.weights and decisions.weights != weights_hash(model):
            raise UserError(
                f"expected the model that was audited for {decisions.path} ({decisions.model}), got other weights: "
                "audit this model, and decide on its regions"
            )
        regions, undecided = decisions.regions, [False] * len(decisions.others)
        centres = torch.tensor([*(region.centre for region in regions), *decisions.others])
        return cls(
            model,
            F.normalize(centres.float(), dim=1),
            torch.tensor([*(region.reach for region in regions), *(1.0 for _ in undecided)]),
            torch.tensor([*(region.keep for region in regions), *undecided]),
            torch.tensor([*(not region.keep for region in regions), *undecided]),
            unmasked,
        )

    @torch.no_grad()
    def find(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return where images ``(B, 3, H, W)`` show dropped regions, and kept regions, each ``(B, 1, H, W)`` bool."""
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
        """Return the masks of a batch without dropped regions, ``(B, 1, H, W)``, and where it is neutral, bool."""
        masks = masks_like(images, masks)
        dropped, kept = self.find(images)
        if self.unmasked:
            return torch.zeros_like(masks), ~dropped
        return masks.masked_fill(dropped, 0.0), kept & (masks <= 0.5)


def leave_out(maps: Tensor, masks: Tensor, neutral: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps and masks ``(B, 1, H, W)`` that are 1 where it is neutral: equations 1 and 2 and their gradient are
    zero there.
    """
    return torch.where(neutral, 1.0, maps), torch.where(neutral, 1.0, masks)
