"""Boxes of annotations as prompts for SAM, which finds the object in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from robustvit.common.errors import UserError
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.read_photos import read_photo
from robustvit.masks.annotations.box_reading import BoxMask, BoxReading
from robustvit.masks.annotations.objects import Box
from robustvit.masks.annotations.orientation import View
from robustvit.masks.sources.sam2 import SAM, Sam2, agreement_of, load_sam


@dataclass
class SamBoxes(BoxReading):
    """Boxes become the masks that SAM finds in them; attributes as in ``BoxReading``, ``shape`` has no effect.

    Attributes:
        model: SAM 2 or SAM 3, transformers' name or a folder.
        device: to run on.
        pixels: how photos are read.
    """

    model: str = SAM
    device: torch.device | str = "cpu"
    pixels: Pixels = PLAIN

    @cached_property
    def network(self) -> Sam2:
        """The model, loaded at the first use."""
        try:
            return load_sam(self.model, {}, device=self.device)
        except UserError as error:
            raise UserError(f"{error}, or say --boxes ellipse or --boxes box, which need no model") from error

    def load(self) -> None:
        """Load the model; see ``BoxReading``."""
        self.network  # noqa: B018

    @property
    def title(self) -> str:
        """The kind of SAM; see ``BoxReading``."""
        return f"boxes as prompts of {self.network.name}"

    @property
    def content(self) -> str:
        """The weights; see ``BoxReading``."""
        return self.network.content(Path())

    @property
    def settings(self) -> dict[str, str | float | bool | None]:
        """The same with the model; see ``BoxReading``."""
        return super().settings | {"boxes": "sam", "feather": None, "model": self.model}

    def make_masks(self, image: Path, boxes: Sequence[Box], view: View) -> list[BoxMask]:
        """Segment the object in each box; see ``BoxReading``."""
        photo = read_photo(image, pixels=self.pixels)
        edge = [photo.width, photo.height] * 2
        prompts = [np.clip(view.upright_corners(box), 0, edge).tolist() for box in boxes]
        soft, scores = self.network.segment_boxes(photo, prompts)
        return [
            BoxMask((mask > 0.5).astype(np.float32), agreement_of(mask, score))
            for mask, score in zip(soft, scores, strict=True)
        ]
