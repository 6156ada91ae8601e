"""Masks from words: what all sources that take a prompt share."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.masks.confidence import FoundMask, measure_mask, no_object, rate_mask, threshold_agreement
from robustvit.masks.phrases import Phrase
from robustvit.masks.sources.heat import Heat, concept_mask, enlarge_heat
from robustvit.masks.sources.source import MaskSource
from robustvit.masks.tokencut.cut import refine_mask
from robustvit.models.libraries.library import readable_errors
from robustvit.models.libraries.transformers import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ARTICLE = re.compile(r"(an?|the)\s", re.I)


@dataclass(frozen=True)
class WordSettings:
    """Settings of a source that takes words.

    Attributes:
        phrases: what to look for in each photo.
        model: name of the model, or its folder.
        threshold: score above which something is found, in (0, 1).
        template: a text with ``{}`` for the phrase; None for the source's own.
        refine: align masks of thresholded heat with the photo's edges, by the bilateral solver.
    """

    phrases: Mapping[Path, tuple[Phrase, ...]]
    model: str
    threshold: float
    template: str | None = None
    refine: bool = True


@dataclass(frozen=True)
class WordJob:
    """A photo with the heat of its phrases.

    Attributes:
        phrases: as given.
        heats: one for each phrase.
        photo: ``(H, W, 3)`` uint8.
        threshold: see ``WordSettings``.
        level: heat above which a pixel belongs to the object; None for the threshold.
        refine: see ``WordSettings``.
    """

    phrases: tuple[Phrase, ...]
    heats: list[Heat]
    photo: np.ndarray
    threshold: float
    level: float | None
    refine: bool


class WordSource(MaskSource):
    """A source that finds the objects that words name; a subclass has the model and ``segment`` or ``search``.

    Args:
        settings: see ``WordSettings``.
        device: to run on.

    Attributes:
        template: put around a phrase unless the settings name another.
        classes: of transformers, for the network and its processor.
        types: what ``model_type`` in the network's ``config.json`` may be.
        way_out: what to do if the model cannot be loaded.
        level: heat above which a pixel belongs to the object; None for the threshold.
    """

    template = "{}"
    classes = ("", "")
    types: tuple[str, ...] = ()
    way_out = "a folder with its files as --model"
    network: PreTrainedModel
    level: float | None = 0.5

    def __init__(self, settings: WordSettings, *, device: torch.device | str = "cpu") -> None:
        self.settings, self.device = settings, device
        library = import_extra("transformers", "transformers")
        network, processor = self.classes
        if not hasattr(library, network):
            way = "pip install --upgrade transformers, or choose another --method"
            raise UserError(f"{self.name} needs a newer transformers: {way}")
        name = settings.model.removeprefix("transformers:")
        if _is_path(name) and not Path(name).is_dir():
            raise UserError(
                f"expected OWNER/NAME of a model on the hub or a folder with its files, found no folder {name}"
            )
        with readable_errors(f"transformers:{name}", self.way_out), quiet():
            self.network = _load_network(getattr(library, network), name, self.types).to(device)
            self.processor = getattr(library, processor).from_pretrained(name)

    def search(self, photos: Sequence[Image.Image], texts: Sequence[str]) -> list[Heat]:
        """Return the heat of each text in the photo of the same index."""
        return [self.segment(photo, text) for photo, text in zip(photos, texts, strict=True)]

    def segment(self, photo: Image.Image, text: str) -> Heat:
        """Return the heat of a text in a photo."""
        raise NotImplementedError

    def expect_short(self, inputs: Mapping[str, Tensor], texts: Sequence[str]) -> None:
        """Refuse texts that are longer than the model reads, in tokens."""
        config, length = self.network.config, inputs["input_ids"].shape[1]
        most = getattr(config, "max_text_len", None) or config.text_config.max_position_embeddings
        if length > most:
            longest = max(texts, key=len)
            raise UserError(f"expected a prompt of at most {most} tokens, got {length}: shorten {longest:.60}")

    def text(self, phrase: Phrase) -> str:
        """Return what the model reads: the phrase in the template, with one article at most."""
        template = self.settings.template or self.template
        if _ARTICLE.match(phrase.text):
            template = re.sub(r"\b(an?|the) \{\}", "{}", template)
        return template.replace("{}", phrase.text)

    def texts(self, path: Path) -> list[str]:
        """Return the texts for a photo, with their weights."""
        return [str(Phrase(self.text(phrase), phrase.weight)) for phrase in self.settings.phrases.get(path, ())]

    def content(self, path: Path) -> str:
        """The weights and the texts; see ``MaskSource``."""
        return f"{super().content(path)} {self.texts(path)}"

    def origin(self, path: Path) -> dict[str, str]:
        """Texts, model and threshold; see ``MaskSource``."""
        settings = self.settings
        texts = ", ".join(self.texts(path))
        return {"prompt": texts, "model": settings.model, "threshold": f"{settings.threshold:g}"}

    def prepare(self, photos: Sequence[Image.Image], paths: Sequence[Path]) -> list[WordJob]:
        """Look for each phrase in each photo, as many at a time as there are photos; see ``MaskSource``."""
        wanted = [self.settings.phrases.get(path, ()) for path in paths]
        pairs = [(photo, self.text(one)) for photo, some in zip(photos, wanted, strict=True) for one in some]
        heats: list[Heat] = []
        for start in range(0, len(pairs), max(1, len(photos))):
            images, texts = zip(*pairs[start : start + len(photos)], strict=True)
            heats += self.search(images, texts)
        found = iter(heats)
        settings = self.settings
        return [
            WordJob(
                some, [next(found) for _ in some], np.asarray(photo), settings.threshold, self.level, settings.refine
            )
            for photo, some in zip(photos, wanted, strict=True)
        ]

    @staticmethod
    def finish(job: WordJob) -> FoundMask:
        """Unite the objects that were found, or weigh the heat if phrases have weights; see ``MaskSource``."""
        size = (job.photo.shape[0], job.photo.shape[1])
        if not job.phrases:
            return no_object(size, "it lies in no class folder, and --prompt names classes")
        best = max(job.heats, key=lambda heat: heat.score)
        if best.score <= job.threshold:
            words = " or ".join(phrase.text for phrase in job.phrases)
            return no_object(
                size, f"no {words} was found (highest score {best.score:.2f}, threshold {job.threshold:g})"
            )
        heats = [enlarge_heat(heat.values, size) for heat in job.heats]
        return _rate(job, heats, best.score)


def _rate(job: WordJob, heats: list[np.ndarray], score: float) -> FoundMask:
    """Rate the union of all phrases; the mask is the union, or the concept mask if the phrases have weights."""
    union = np.max(heats, axis=0)
    level = job.threshold if job.level is None else job.level
    mask = union > level
    sure = threshold_agreement(union, level)
    weights = [phrase.weight for phrase in job.phrases if phrase.weight is not None]
    if job.refine and job.level is None and mask.any() and not weights:  # masks of objects are sharp already
        mask, _ = refine_mask(mask, job.photo)
    objects = sum(heat.objects for heat in job.heats if heat.score > job.threshold)
    measures = measure_mask(mask, agreement=sure if job.level is None else min(sure, score), objects=objects)
    return rate_mask(concept_mask(heats, weights) if weights else mask.astype(np.float32), measures)


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") != 1


def _load_network(kind: type[PreTrainedModel], name: str, types: Collection[str]) -> PreTrainedModel:
    """Load a network; refuse another kind of model, and weights that lack a part of it, which would stay random."""
    found = import_extra("transformers", "transformers").AutoConfig.from_pretrained(name).model_type
    if found not in types:
        raise UserError(f"expected a model of type {' or '.join(types)} for this --method, {name} is {found}")
    network, report = kind.from_pretrained(name, output_loading_info=True)
    own = dict(network.named_parameters())
    lacking = sorted(one for one in report["missing_keys"] if one in own)
    lacking += sorted(str(one[0]) for one in report["mismatched_keys"])
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UserError(f"the weights of {name} are not whole, they lack {lacking[0]}{more}: download them again")
    return network.eval()
