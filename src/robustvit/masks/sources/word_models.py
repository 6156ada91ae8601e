"""Models that find what words name, all in transformers: CLIPSeg, Grounding DINO with SAM, and SAM 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.masks.sources.heat import Heat, enlarge_heat
from robustvit.masks.sources.sam2 import Sam2, load_sam
from robustvit.masks.sources.words import WordSettings, WordSource
from robustvit.models.libraries.transformers import quiet


class ClipSeg(WordSource):
    """CLIPSeg (Lüddecke and Ecker, CVPR 2022): a heat map for each phrase; arguments as in ``WordSource``."""

    name = "clipseg"
    template = "a photo of a {}"
    classes = ("CLIPSegForImageSegmentation", "CLIPSegProcessor")
    types = ("clipseg",)
    level = None

    @torch.no_grad()
    def search(self, photos: Sequence[Image.Image], texts: Sequence[str]) -> list[Heat]:
        """All photos at a time; see ``WordSource``."""
        inputs = self.processor(images=list(photos), text=list(texts), padding=True, return_tensors="pt")
        self.expect_short(inputs, texts)
        logits = self.network(**inputs.to(self.device)).logits.float()
        maps = logits.sigmoid().reshape(len(texts), *logits.shape[-2:]).cpu().numpy()
        return [Heat(values, float(values.max())) for values in maps]


class Grounding(WordSource):
    """A detector that reads, and SAM: the union of SAM's masks of all boxes whose score is above the threshold.

    Args:
        settings: see ``WordSettings``; the model is the detector: Grounding DINO, MM Grounding DINO or OWLv2.
        segmenter: SAM 2 or SAM 3, by its name or folder.
        device: to run on.
    """

    name = "grounding"
    classes = ("AutoModelForZeroShotObjectDetection", "AutoProcessor")
    types = ("grounding-dino", "mm-grounding-dino", "owlv2", "owlvit")

    def __init__(self, settings: WordSettings, segmenter: str, *, device: torch.device | str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.segmenter = _load_segmenter(segmenter, device)

    def content(self, path: Path) -> str:
        """The weights of both models, and the texts; see ``MaskSource``."""
        return f"{super().content(path)} {self.segmenter.content(path)}"

    @torch.no_grad()
    def segment(self, photo: Image.Image, text: str) -> Heat:
        """See ``WordSource``."""
        size = (photo.height, photo.width)
        words = " ".join(text.replace(".", " ").split())  # a full stop would end the phrase
        inputs = self.processor(images=photo, text=[[words]], return_tensors="pt").to(self.device)
        self.expect_short(inputs, [text])
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


def _load_segmenter(model: str, device: torch.device | str) -> Sam2:
    try:
        with quiet():
            return load_sam(model, {}, device=device)
    except UserError as error:
        raise UserError(str(error).replace("--model", "--segmenter")) from error


class Sam3(WordSource):
    """SAM 3: the union of all objects whose score is above the threshold; arguments as in ``WordSource``."""

    name = "sam3"
    classes = ("Sam3Model", "Sam3Processor")
    types = ("sam3", "sam3_video")
    way_out = (
        "a folder with its files as --model, or use --method clipseg; the weights of SAM 3 are given out only to those "
        "who accepted their licence on the hub and logged in (hf auth login)"
    )

    @torch.no_grad()
    def segment(self, photo: Image.Image, text: str) -> Heat:
        """See ``WordSource``."""
        inputs = self.processor(images=photo, text=text, return_tensors="pt")
        self.expect_short(inputs, [text])
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
