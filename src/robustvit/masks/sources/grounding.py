"""Masks from words by a detector that reads (Grounding DINO) and SAM, both in transformers: boxes, then masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.masks.sources.pretrained import fetching, load_network
from robustvit.masks.sources.sam2 import Sam2, load_sam
from robustvit.masks.sources.words import Heat, WordSettings, WordSource, check_length
from robustvit.models.libraries.transformers import quiet

_DETECTORS = ("grounding-dino", "mm-grounding-dino", "owlv2", "owlvit")


class Grounding(WordSource):
    """The union of SAM's masks of all boxes whose score is above the threshold.

    Args:
        settings: see ``WordSettings``; the model is the detector: Grounding DINO, MM Grounding DINO or OWLv2.
        segmenter: SAM 2 or SAM 3, by its name or folder.
        device: to run on.
    """

    name = "grounding"

    def __init__(self, settings: WordSettings, segmenter: str, *, device: torch.device | str = "cpu") -> None:
        super().__init__(settings)
        library = import_extra("transformers", "transformers")
        self.device = device
        with fetching(settings.model) as name:
            self.network = load_network(library.AutoModelForZeroShotObjectDetection, name, _DETECTORS).to(device)
            self.processor = library.AutoProcessor.from_pretrained(name)
        self.segmenter = _load_segmenter(segmenter, device)

    def content(self, path: Path) -> str:
        """The weights of both models, and the texts; see ``MaskSource``."""
        return f"{super().content(path)} {self.segmenter.content(path)}"

    def search(self, photos: Sequence[Image.Image], texts: Sequence[str]) -> list[Heat]:
        """See ``WordSource``."""
        return [self._segment(photo, text) for photo, text in zip(photos, texts, strict=True)]

    @torch.no_grad()
    def _segment(self, photo: Image.Image, text: str) -> Heat:
        size = (photo.height, photo.width)
        words = " ".join(text.replace(".", " ").split())  # a full stop would end the phrase
        inputs = self.processor(images=photo, text=[[words]], return_tensors="pt").to(self.device)
        check_length(inputs["input_ids"].shape[1], self._most_tokens, [text])
        output = self.network(**inputs)
        (found,) = self.processor.post_process_grounded_object_detection(
            output, threshold=self.settings.threshold, target_sizes=[size]
        )
        corners = torch.tensor([photo.width, photo.height] * 2)
        boxes = found["boxes"].float().cpu().clamp(min=0).minimum(corners)
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]
        best = float(output.logits.sigmoid().max())
        if not len(boxes):
            return Heat(np.zeros(size, np.float32), min(best, self.settings.threshold), 0)
        masks, _ = self.segmenter.segment_boxes(photo, boxes.tolist())
        return Heat(masks.max(axis=0), best, len(boxes))

    @property
    def _most_tokens(self) -> int:
        config = self.network.config
        return int(getattr(config, "max_text_len", None) or config.text_config.max_position_embeddings)


def _load_segmenter(model: str, device: torch.device | str) -> Sam2:
    try:
        with quiet():
            return load_sam(model, {}, device=device)
    except UserError as error:
        raise UserError(str(error).replace("--model", "--segmenter")) from error
