"""TokenCut on the features of any vision transformer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from robustvit.classifier import Classifier
from robustvit.errors import UserError
from robustvit.mask_sources.source import MaskSource, resized_photo
from robustvit.options import Feature
from robustvit.patch_features import check_features, patch_features
from robustvit.tokencut import CutJob, CutSettings, find_objects

__all__ = ["TokenCut"]


class TokenCut(MaskSource):
    """See ``find_objects`` and ``patch_features``.

    Args:
        model: the backbone; photos of any shape where it takes them, else resized to its own input size.
        feature: see ``patch_features``; as are ``block`` and ``centre``.
        size: longer side of a photo in pixels for the backbone, rounded to whole patches.
        settings: see ``CutSettings``.
    """

    name = "tokencut"
    finish = staticmethod(find_objects)  # where it is defined, PyTorch is not needed: worker processes start quickly

    def __init__(
        self,
        model: Classifier,
        *,
        feature: Feature = "keys",
        block: int | None = None,
        centre: bool = False,
        size: int = 480,
        settings: CutSettings | None = None,
    ) -> None:
        layout = check_features(model, feature, block)
        if size < 2 * max(layout.patch_size):
            raise UserError(f"expected --size of at least two patches of {layout.patch_size} pixels, got {size}")
        self.model, self.size, self.patch = model, size, layout.patch_size
        self.options: dict[str, Any] = {"feature": feature, "block": block, "centre": centre}
        self.settings = settings or CutSettings()
        self.any_size = bool(getattr(model.network, "dynamic_img_size", False))

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[CutJob]:
        """Features, for photos of one size at a time; see ``MaskSource``."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, photo in enumerate(photos):
            groups[self.input_size(photo)].append(index)
        features: dict[int, np.ndarray] = {}
        for size, members in groups.items():
            images = torch.stack([resized_photo(photos[index], size) for index in members]).to(self.model.mean.device)
            found = patch_features(self.model, images, **self.options).cpu().numpy()
            features |= dict(zip(members, found, strict=True))
        return [CutJob(features[i], np.asarray(photo), self.settings) for i, photo in enumerate(photos)]

    def input_size(self, photo: Image.Image) -> tuple[int, int]:
        """Height and width at which the backbone sees a photo."""
        if not self.any_size:
            return self.model.preprocessing.input_size
        scale = self.size / max(photo.size)
        sides = zip((photo.height, photo.width), self.patch, strict=True)
        height, width = (max(1, round(side * scale / patch)) * patch for side, patch in sides)
        return height, width
