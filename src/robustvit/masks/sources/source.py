"""The interface of mask sources: a batch of photos in, a mask for each out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from robustvit.masks.confidence import FoundMask, measure_mask, rate_mask, threshold_agreement
from robustvit.models.weights import weights_hash


class MaskSource:
    """A way to make masks, in two parts; worker processes can do the second.

    Attributes:
        name: on the command line.
        network: the model that masks depend on; None if its weights are not known here.
    """

    name = ""
    network: nn.Module | None = None

    def match_photos(self, places: Mapping[str, Path], folder: Path) -> list[str]:
        """Match prompts for single photos with the photos in a folder, by their paths in it.

        Returns:
            A line for each prompt without a photo.
        """
        return []

    @cached_property
    def _weights(self) -> str:
        return "" if self.network is None else weights_hash(self.network)

    def content(self, path: Path) -> str:
        """Return a text that changes with anything, apart from the photo and the options, that its mask depends on."""
        return self._weights

    def origin(self, path: Path) -> dict[str, str]:
        """Return how the mask of a photo was made, for the manifest; the keys are some of ``MASK_ORIGIN``."""
        return {}

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[Any]:
        """Run the model: return a job per photo, which can be sent to another process."""
        raise NotImplementedError

    @staticmethod
    def finish(job: Any) -> FoundMask:
        """Make the mask of a job; needs no model."""
        raise NotImplementedError


def rate_soft_mask(soft: np.ndarray) -> FoundMask:
    """Rate a soft mask ``(H, W)`` in [0, 1], which is sure of itself where thresholds of 0.3 and 0.7 agree."""
    measures = measure_mask(soft > 0.5, agreement=threshold_agreement(soft), objects=1.0)
    return rate_mask(soft.astype(np.float32), measures)


def resize_photo(photo: Image.Image, size: tuple[int, int], interpolation: str = "bicubic") -> Tensor:
    """Squash a whole photo to a size; return ``(3, height, width)`` in [0, 1]."""
    if interpolation == "lanczos":  # torchvision has it for Pillow images only
        return TF.pil_to_tensor(photo.resize((size[1], size[0]), Image.Resampling.LANCZOS)).float() / 255
    resized = TF.resize(TF.pil_to_tensor(photo), list(size), InterpolationMode(interpolation), antialias=True)
    return resized.float() / 255
