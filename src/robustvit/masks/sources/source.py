"""The interface of mask sources: a batch of photos in, a mask for each out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from robustvit.masks.confidence import FoundMask, measure_mask, overlap, rate_mask


class MaskSource:
    """A way to make masks, in two parts; worker processes can do the second.

    Attributes:
        name: on the command line.
    """

    name = ""

    def match_photos(self, places: Mapping[str, Path], folder: Path) -> list[str]:
        """Match what was given for single photos with the photos in a folder, by their paths in it.

        Returns:
            A line for each part that no photo has.
        """
        return []

    def content(self, path: Path) -> str:
        """Return a text that changes with what the mask of a photo depends on beside the photo and the options."""
        return ""

    def origin(self, path: Path) -> dict[str, str]:
        """Return what the manifest records of how the mask of a photo was made, some of ``MASK_ORIGIN``."""
        return {}

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[Any]:
        """Run the model: return a job per photo, which can be sent to another process."""
        raise NotImplementedError

    @staticmethod
    def finish(job: Any) -> FoundMask:
        """Make the mask of a job; needs no model."""
        raise NotImplementedError


def rate_soft_mask(soft: np.ndarray) -> FoundMask:
    """A soft mask ``(H, W)`` in [0, 1] with a verdict; it is sure of itself where 0.3 and 0.7 as thresholds agree."""
    mask = soft > 0.5
    return rate_mask(
        soft.astype(np.float32), measure_mask(mask, agreement=overlap(soft > 0.3, soft > 0.7), objects=1.0)
    )


def resize_photo(photo: Image.Image, size: tuple[int, int], interpolation: str = "bicubic") -> Tensor:
    """Squash a whole photo to a size; return ``(3, height, width)`` in [0, 1]."""
    if interpolation == "lanczos":  # torchvision has it for Pillow images only
        own = photo.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        return TF.pil_to_tensor(own).float() / 255
    resized = TF.resize(TF.pil_to_tensor(photo), list(size), InterpolationMode(interpolation), antialias=True)
    return resized.float() / 255
