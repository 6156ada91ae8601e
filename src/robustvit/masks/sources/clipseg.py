"""Masks from words by CLIPSeg (Lüddecke and Ecker, CVPR 2022), in transformers: a heat map for each phrase."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from robustvit.common.extras import import_extra
from robustvit.masks.sources.pretrained import fetching, load_network
from robustvit.masks.sources.words import Heat, WordSettings, WordSource, check_length


class ClipSeg(WordSource):
    """Heat maps above a threshold.

    Args:
        settings: see ``WordSettings``.
        device: to run on.
    """

    name = "clipseg"
    template = "a photo of a {}"
    level = None

    def __init__(self, settings: WordSettings, *, device: torch.device | str = "cpu") -> None:
        super().__init__(settings)
        library = import_extra("transformers", "transformers")
        self.device = device
        with fetching(settings.model) as name:
            self.network = load_network(library.CLIPSegForImageSegmentation, name, ("clipseg",)).to(device)
            self.processor = library.CLIPSegProcessor.from_pretrained(name)

    @torch.no_grad()
    def search(self, photos: Sequence[Image.Image], texts: Sequence[str]) -> list[Heat]:
        """See ``WordSource``."""
        inputs = self.processor(images=list(photos), text=list(texts), padding=True, return_tensors="pt")
        config = self.network.config
        check_length(inputs["input_ids"].shape[1], config.text_config.max_position_embeddings, texts)
        logits = self.network(**inputs.to(self.device)).logits.float()
        maps = logits.sigmoid().reshape(len(texts), *logits.shape[-2:]).cpu().numpy()
        return [Heat(values, float(values.max())) for values in maps]
