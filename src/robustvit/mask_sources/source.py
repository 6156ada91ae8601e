"""What a source of masks must do: a batch of photos in, one mask each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robustvit.mask_confidence import FoundMask, border_contact, judged, overlap
from robustvit.options import Feature, Side

__all__ = ["MaskOptions", "MaskSource", "found_from_soft"]


@dataclass(frozen=True)
class MaskOptions:
    """What ``make_masks`` may be told about finding masks; see there for each."""

    method: str = "tokencut"
    model: str | None = None
    checkpoint: str | None = None
    feature: Feature = "keys"
    block: int | None = None
    centre: bool = False
    threshold: float = 0.2
    size: int = 480
    side: Side = "corners"
    objects: int = 1
    refine: bool = True
    relevance: str = "gae"
    prompts: str | None = None


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
    measures = {
        "share": float(mask.mean()),
        "border": border_contact(mask),
        "agreement": overlap(soft > 0.3, soft > 0.7),
        "objects": 1.0,
    }
    return judged(soft.astype(np.float32), measures)
