"""What a source of masks must do: a batch of photos in, one mask each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from robustvit.errors import UserError
from robustvit.mask_confidence import FoundMask, judged, measures_of, overlap
from robustvit.options import Feature, Protocol, Side

__all__ = ["PAPER_BACKBONE", "MaskOptions", "MaskSource", "found_from_soft", "resized_photo"]

# How RobustViT's authors cut; None is the photo's own size.
PAPER_BACKBONE = "vit_base_patch16_224.dino"
PAPER_CUT: dict[str, Any] = {"size": None, "side": "seed", "objects": 1, "refine": True}


@dataclass(frozen=True)
class MaskOptions:
    """What ``make_masks`` may be told about finding masks; see there for each."""

    method: str
    model: str | None
    checkpoint: str | None
    feature: Feature
    block: int | None
    centre: bool
    threshold: float
    size: int | None
    side: Side
    objects: int
    refine: bool
    relevance: str
    prompts: str | None
    protocol: Protocol = "standard"

    def settled(self) -> MaskOptions:
        """The options as the protocol has them: ``paper`` sets backbone, size, side, objects and refinement.

        Raises:
            UserError: an option beside ``paper`` that it does not leave open.
        """
        if self.protocol == "standard":
            return self
        if self.protocol != "paper":
            raise UserError(f"expected --protocol to be one of {', '.join(get_args(Protocol))}, got {self.protocol!r}")
        if self.method != "tokencut":
            raise UserError(f"--protocol paper is about --method tokencut, got {self.method}: leave one of them out")
        for name, usual in (("size", 480), ("side", "corners"), ("objects", 1), ("refine", True)):
            if getattr(self, name) not in (usual, PAPER_CUT[name]):
                raise UserError(
                    f"--protocol paper sets {name} itself (photos at their own size, one object, refined): "
                    f"leave out --{name} {getattr(self, name)}"
                )
        return replace(self, **PAPER_CUT, model=self.model or PAPER_BACKBONE)


class MaskSource:
    """A way to find masks, in two parts, so that other processes can do the second.

    Attributes:
        name: what the command line calls it.
    """

    name = ""

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[Any]:
        """What needs the model: one job per photo, that can be sent to another process.

        Raises:
            UserError: something that concerns every photo.
        """
        raise NotImplementedError

    @staticmethod
    def finish(job: Any) -> FoundMask:
        """What needs a processor alone: the mask of one job."""
        raise NotImplementedError


def found_from_soft(soft: np.ndarray) -> FoundMask:
    """A soft mask ``(H, W)`` in [0, 1] with a verdict; it is sure of itself where 0.3 and 0.7 as thresholds agree."""
    mask = soft > 0.5
    return judged(soft.astype(np.float32), measures_of(mask, agreement=overlap(soft > 0.3, soft > 0.7), objects=1.0))


def resized_photo(photo: Image.Image, size: tuple[int, int], interpolation: str = "bicubic") -> Tensor:
    """A whole photo as ``(3, height, width)`` in [0, 1], squashed to a size."""
    if interpolation == "lanczos":  # torchvision has it for Pillow's images alone
        own = photo.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        return TF.pil_to_tensor(own).float() / 255
    resized = TF.resize(TF.pil_to_tensor(photo), list(size), InterpolationMode(interpolation), antialias=True)
    return resized.float() / 255
