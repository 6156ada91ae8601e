"""Masks from a classifier's relevance map: where it already looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robustvit.explanation.maps import relevance
from robustvit.explanation.methods import check_method
from robustvit.masks.confidence import FoundMask, measure_mask, no_object, rate_mask
from robustvit.masks.sources.source import MaskSource, resize_photo
from robustvit.masks.tokencut.cut import refine_mask
from robustvit.models.classifier import Classifier


@dataclass(frozen=True)
class _Job:
    relevance: np.ndarray
    photo: np.ndarray
    refine: bool


class RelevanceMask(MaskSource):
    """The relevance of the predicted class, above its mean, as in the paper's segmentation test.

    With ``refine``, the bilateral solver aligns the mask with the photo's edges.
    """

    name = "relevance"

    def __init__(self, model: Classifier, *, method: str = "gae", refine: bool = True) -> None:
        check_method(method, model)
        self.network = self.model = model
        self.method, self.refine = method, refine

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[_Job]:
        """Compute maps of whole photos, squashed to the input size; see ``MaskSource``."""
        own = self.model.preprocessing
        resized = [resize_photo(photo, own.input_size, own.interpolation) for photo in photos]
        with torch.no_grad():
            maps = relevance(self.model, torch.stack(resized).to(self.model.mean.device), method=self.method)
        return [_Job(m[0].cpu().numpy(), np.asarray(p), self.refine) for m, p in zip(maps, photos, strict=True)]

    @staticmethod
    def finish(job: _Job) -> FoundMask:
        """Threshold the map; see ``MaskSource``."""
        height, width = job.photo.shape[:2]
        if job.relevance.max() <= 0:
            return no_object((height, width), "the relevance map is constant")
        full = Image.fromarray(job.relevance).resize((width, height), Image.Resampling.BILINEAR)
        mask, agreement = np.asarray(full) > job.relevance.mean(), None
        if job.refine:
            mask, agreement = refine_mask(mask, job.photo)
        return rate_mask(mask.astype(np.float32), measure_mask(mask, objects=1.0, agreement=agreement))
