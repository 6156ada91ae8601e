"""Masks from words: what all sources that take a prompt share, and concept masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.masks.confidence import FoundMask, measure_mask, no_object, overlap, rate_mask
from robustvit.masks.phrases import Phrase
from robustvit.masks.sources.source import MaskSource
from robustvit.masks.tokencut.cut import refine_mask
from robustvit.models.weights import weights_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ARTICLE = re.compile(r"(an?|the)\s", re.I)


@dataclass(frozen=True)
class Heat:
    """Where the words of a prompt are in a photo.

    Attributes:
        values: float32 ``(h, w)`` in [0, 1], of the whole photo at any resolution.
        score: how certain the best find is, in [0, 1].
        objects: number of objects found.
    """

    values: np.ndarray
    score: float
    objects: int = 1


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
    """A source that finds what words say; a subclass has the model and ``search``.

    Attributes:
        template: put around a phrase unless the settings name another.
        network: the model, for the digest of its weights.
        level: heat above which a pixel belongs to the object; None for the threshold.
    """

    template = "{}"
    network: PreTrainedModel
    level: float | None = 0.5

    def __init__(self, settings: WordSettings) -> None:
        self.settings = settings

    def search(self, photos: Sequence[Image.Image], texts: Sequence[str]) -> list[Heat]:
        """Return the heat of each text in the photo of the same index."""
        raise NotImplementedError

    def text(self, phrase: Phrase) -> str:
        """Return what the model reads: the phrase in the template, with one article at most."""
        template = self.settings.template or self.template
        if _ARTICLE.match(phrase.text):
            template = re.sub(r"\b(an?|the) \{\}", "{}", template)
        return template.replace("{}", phrase.text)

    def texts(self, path: Path) -> list[str]:
        """Return the texts for a photo, with their weights."""
        return [str(Phrase(self.text(phrase), phrase.weight)) for phrase in self.settings.phrases.get(path, ())]

    @cached_property
    def _weights(self) -> str:
        return weights_hash(self.network)

    def content(self, path: Path) -> str:
        """The weights and the texts; see ``MaskSource``."""
        return f"{self._weights} {self.texts(path)}"

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
        """Unite what was found, or weigh it if phrases have weights; see ``MaskSource``."""
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
    sure = agree(union, level)
    weights = [phrase.weight for phrase in job.phrases if phrase.weight is not None]
    if job.refine and job.level is None and mask.any() and not weights:  # masks of objects are sharp already
        mask, _ = refine_mask(mask, job.photo)
    objects = sum(heat.objects for heat in job.heats if heat.score > job.threshold)
    measures = measure_mask(mask, agreement=sure if job.level is None else min(sure, score), objects=objects)
    return rate_mask(concept_mask(heats, weights) if weights else mask.astype(np.float32), measures)


def enlarge_heat(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize heat ``(h, w)`` to ``(H, W)``, bilinear."""
    if values.shape == size:
        return values.astype(np.float32)
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def agree(soft: np.ndarray, level: float) -> float:
    """Return the IoU of a soft mask above a lower and a higher level: 0.3 and 0.7 for a level of 0.5."""
    return overlap(soft > 0.6 * level, soft > level + 0.4 * (1 - level))


def concept_mask(heats: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return a soft mask of weighted phrases.

    With heat ``h_i`` of phrase i at pixel p and its weight ``w_i``::

        c(p) = sum_i w_i h_i(p) / sum_i w_i
        mask(p) = (c(p) - min c) / (max c - min c)

    where minimum and maximum are over the pixels of the photo; where c is the same everywhere, the mask is c.

    Args:
        heats: ``(H, W)`` in [0, 1] each.
        weights: one for each, above 0.

    Returns:
        float32 ``(H, W)`` in [0, 1].
    """
    mean = np.average(np.stack(heats).astype(np.float64), axis=0, weights=weights)
    low, high = mean.min(), mean.max()
    return ((mean - low) / (high - low) if high > low else mean).astype(np.float32)


def check_length(length: int, most: int, texts: Sequence[str]) -> None:
    """Refuse texts that are longer than a model reads, in tokens."""
    if length > most:
        longest = max(texts, key=len)
        raise UserError(f"expected a prompt of at most {most} tokens, got {length}: shorten {longest:.60}")
