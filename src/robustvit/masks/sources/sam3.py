"""Masks from words by SAM 3, in transformers: every object that a phrase names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.masks.sources.pretrained import fetching, load_network
from robustvit.masks.sources.words import Heat, WordSettings, WordSource, check_length, enlarge_heat


class Sam3(WordSource):
    """The union of all objects whose score is above the threshold.

    Args:
        settings: see ``WordSettings``.
        device: to run on.
    """

    name = "sam3"

    def __init__(self, settings: WordSettings, *, device: torch.device | str = "cpu") -> None:
        super().__init__(settings)
        library = import_extra("transformers", "transformers")
        if not hasattr(library, "Sam3Model"):
            raise UserError("SAM 3 needs a newer transformers: pip install --upgrade transformers, or --method clipseg")
        self.device = device
        way_out = (
            "a folder with its files as --model, or use --method clipseg; the weights of SAM 3 are given out only to "
            "who accepted their licence on the hub and logged in (hf auth login)"
        )
        with fetching(settings.model, way_out) as name:
            self.network = load_network(library.Sam3Model, name, ("sam3", "sam3_video")).to(device)
            self.processor = library.Sam3Processor.from_pretrained(name)

    def search(self, photos: Sequence[Image.Image], texts: Sequence[str]) -> list[Heat]:
        """See ``WordSource``."""
        return [self._segment(photo, text) for photo, text in zip(photos, texts, strict=True)]

    @torch.no_grad()
    def _segment(self, photo: Image.Image, text: str) -> Heat:
        inputs = self.processor(images=photo, text=text, return_tensors="pt")
        config = self.network.config
        check_length(inputs["input_ids"].shape[1], config.text_config.max_position_embeddings, [text])
        output = self.network(pixel_values=inputs["pixel_values"].to(self.device),
                              input_ids=inputs["input_ids"].to(self.device),
                              attention_mask=inputs["attention_mask"].to(self.device))  # fmt: skip
        scores = output.pred_logits[0].sigmoid()
        if output.presence_logits is not None:  # whether the photo has any such object
            scores = scores * output.presence_logits[0].sigmoid()
        kept = scores > self.settings.threshold
        size = (photo.height, photo.width)
        values = np.zeros(size, np.float32)
        for mask in output.pred_masks[0][kept].float().sigmoid().cpu().numpy():
            values = np.maximum(values, enlarge_heat(mask, size))
        return Heat(values, float(scores.max()), int(kept.sum()))
