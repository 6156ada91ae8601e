"""Predictions and relevance maps of several models for a photo, for many visitors at once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.photo_options import PixelOptions
from robustvit.common.pictures import overlay
from robustvit.data.datasets import evaluation_transform
from robustvit.data.pixels import Pixels
from robustvit.explanation.maps import relevance
from robustvit.explanation.methods import RELEVANCE_METHODS, check_method
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.webapp.limits import Limits, check_size, read_limited
from robustvit.webapp.memory import Recent

Inputs = dict[Preprocessing, Tensor]
_SIDE = 1024  # longer side of the photo kept for drawing and for TokenCut
_PICTURES, _ANSWERS = 24, 64  # about 5 and 2 MB each at 224 pixels


@dataclass(frozen=True)
class Picture:
    """A photo that was read.

    Attributes:
        digest: SHA-256 of the file.
        photo: RGB, longer side at most 1024 pixels.
        inputs: the image for each preprocessing, ``(3, H, W)`` in [0, 1].
    """

    digest: str
    photo: Image.Image
    inputs: Inputs


@dataclass(frozen=True)
class ModelAnswer:
    """The answer of one model.

    Attributes:
        title: title of the model.
        top: up to five most likely classes with their probabilities.
        explained: class that the relevance map is for.
        probability: probability of that class.
        image: input of the model, ``(3, H, W)`` in [0, 1].
        relevance: relevance map, ``(1, H, W)`` in [0, 1].
    """

    title: str
    top: tuple[tuple[str, float], ...]
    explained: str
    probability: float
    image: Tensor
    relevance: Tensor

    def overlay(self, opacity: float) -> np.ndarray:
        """The relevance laid over the image, uint8 ``(H, W, 3)``; ``opacity`` of the colours from 0 to 1."""
        return overlay(self.image, self.relevance, opacity)


class Explorer:
    """Several models side by side, with a cache of recent answers.

    One model runs at a time, under a lock.

    Args:
        models: models by title, in display order; with the same classes, in evaluation mode.
        limits: limits on photos.
    """

    def __init__(self, models: Mapping[str, Classifier], limits: Limits | None = None) -> None:
        self.models, self.limits = dict(models), limits or Limits()
        self.lock, self._reading = threading.Lock(), threading.Semaphore(2)
        self._pictures: Recent[Picture] = Recent(_PICTURES)
        self._answers: Recent[ModelAnswer] = Recent(_ANSWERS)
        if len({one.num_classes for one in self.models.values()}) > 1:
            counts = ", ".join(f"{title} has {one.num_classes}" for title, one in self.models.items())
            raise UserError(
                f"expected models with the same classes, but {counts}: name the model it was finetuned from"
            )
        self.methods = [name for name in RELEVANCE_METHODS if self._supports(name)]
        if not self.methods:
            raise UserError("no relevance method supports all of these models: see docs/reference/models.md")

    def _supports(self, method: str) -> bool:
        try:
            for one in self.models.values():
                check_method(method, one)
        except UserError:
            return False
        return True

    @property
    def class_names(self) -> list[str]:
        """Class names by index."""
        first = next(iter(self.models.values()))
        return [first.name_of(index) for index in range(first.num_classes)]

    @property
    def pixels(self) -> Pixels:
        """How photos are read: as the first of the models that recorded it was finetuned."""
        recorded = (one.pixels for one in self.models.values() if one.pixels != PixelOptions())
        return Pixels.of(next(recorded, PixelOptions()))

    def read(self, path: str | Path) -> Picture:
        """Read a photo file, at most two at a time."""
        check_size(path, self.limits)  # before hashing
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if (known := self._pictures.get(digest)) is not None:
            return known
        with self._reading:
            full = read_limited(path, self.limits, self.pixels)
            inputs = self.prepare(full)
            full.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            return self._pictures.keep(digest, Picture(digest, full, inputs))

    def prepare(self, photo: Image.Image) -> Inputs:
        """Preprocess a photo for each model without normalization."""
        return {
            one: evaluation_transform(one)(photo).as_subclass(Tensor).contiguous()
            for one in dict.fromkeys(model.preprocessing for model in self.models.values())
        }

    def explain(self, inputs: Inputs, target: int | None = None, method: str = "gae") -> list[ModelAnswer]:
        """Return the answer of every model; ``target`` is the class to explain, by default each model's prediction."""
        expect_one_of("the relevance method", method, self.methods)
        if target is not None and not 0 <= target < len(self.class_names):
            raise UserError(f"expected a class from 0 to {len(self.class_names) - 1}, got {target}")
        return [self._answer(title, inputs[one.preprocessing], target, method) for title, one in self.models.items()]

    def _answer(self, title: str, image: Tensor, target: int | None, method: str) -> ModelAnswer:
        key = (title, target, method, tuple(image.shape), hashlib.sha256(image.numpy().tobytes()).hexdigest())
        with self.lock:
            return self._answers.get_or_make(key, lambda: self._predict(title, image, target, method))

    def _predict(self, title: str, image: Tensor, target: int | None, method: str) -> ModelAnswer:
        model = self.models[title]
        batch = image[None].to(model.mean.device)
        with torch.no_grad():
            probabilities = model(batch).softmax(dim=1)[0].cpu()
            best = probabilities.topk(min(5, model.num_classes))
            explained = int(best.indices[0]) if target is None else target
            wanted = torch.tensor([explained], device=batch.device)
            heat = relevance(model, batch, wanted, method=method)[0].cpu()
        top = tuple((model.name_of(int(index)), float(value)) for value, index in zip(*best, strict=True))
        return ModelAnswer(title, top, model.name_of(explained), float(probabilities[explained]), image, heat)
