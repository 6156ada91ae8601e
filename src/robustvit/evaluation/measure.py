"""Measure a classifier photo by photo: ordinary accuracy, accuracy on swapped backgrounds, where the relevance lies."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import Subset

from robustvit.common.devices import Share
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import usable_background
from robustvit.evaluation.measuring import RUN_SWAPS, Answer, MeasureSettings, Measuring, expect_finite
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.explanation.attention.interception import evaluating
from robustvit.explanation.maps import image_map


def measure(
    model: nn.Module,
    photos: MaskedPhotos,
    settings: MeasureSettings | None = None,
    *,
    device: str | torch.device = "cpu",
    accelerator: Accelerator | None = None,
) -> list[PhotoMeasure]:
    """Measure a classifier on photos it was not trained on.

    Photos without a label have no accuracy. Photos without a mask have no swapped backgrounds and no map scores.
    Relevance maps explain the predicted class. Backgrounds come from photos of the same class (mixed-same) and of other
    classes (mixed-other), and for unseen from images other than these photos. mixed-rand is ImageNet-9's mixture
    of the two and needs no further forward pass: for each swap a class is drawn uniformly from all that can lend a
    background, and the prediction is that of mixed-same if it is the photo's class, else that of mixed-other.

    Args:
        model: a ``Classifier``, already on ``device``.
        photos: transformed without randomness.
        settings: see ``MeasureSettings``; its defaults if None.
        device: where the model is.
        accelerator: its processes share the photos, and each gets all measures; without one this process measures all.
    """
    classes = sorted({photo.label for photo in photos.photos if photo.label is not None})
    scored = classes if len(classes) <= MOST_SCORED else []
    measuring = _OfOneClass(model, settings or MeasureSettings(), device, Share.of(accelerator), scored)
    with evaluating(model):
        results, roles = _measure_photos(measuring, photos)
        if measuring.settings.swaps > 0:
            _measure_swaps(measuring, photos, results, roles)
    return results


@dataclass(frozen=True)
class _OfOneClass(Measuring):
    """Measures photos of one class each; ``scored`` are the classes whose probabilities are kept."""

    scored: Sequence[int] = ()

    def read(self, logits: Tensor) -> list[Answer]:
        """Return the most probable class, its probability, and those of the scored classes to six digits."""
        probabilities = logits.softmax(dim=1)
        best = probabilities.max(dim=1)
        kept = probabilities[:, list(self.scored)].tolist()
        scores = [{label: float(f"{p:.6g}") for label, p in zip(self.scored, row, strict=True)} for row in kept]
        return list(zip(best.indices.tolist(), best.values.tolist(), scores, strict=True))

    def explain(self, images: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and the scores of the maps of the predicted classes."""
        logits, relevance = self.settings.asking.explain(self.model, images, self.settings.method)
        maps = image_map(relevance, (images.shape[-2], images.shape[-1]))
        return expect_finite(logits), {name: score(maps, mask) for name, score in self.settings.scores.items()}

    def measure_batch(self, photos: MaskedPhotos, batch: dict[str, Tensor]) -> list[PhotoMeasure]:
        """Measure the photos of a batch on their own backgrounds."""
        images, mask = batch["image"].to(self.device), batch["mask"].to(self.device)
        if self.settings.maps and (mask > 0.5).any():
            logits, scores = self.explain(images, mask)
        else:  # a map costs two more passes and is useless without a mask
            logits, scores = self.predict(images), {}
        results = []
        for i, (index, answer) in enumerate(zip(batch["index"].tolist(), self.read(logits), strict=True)):
            photo = photos.photos[index]
            label, probability, by_class = answer
            result = PhotoMeasure(str(photo.image), photo.label, label, probability, group=photo.group, scores=by_class)
            if photo.label is not None:
                result.values["ordinary"] = float(result.predicted == photo.label)
            if (mask[i] > 0.5).any():
                result.values |= {name: float(values[i]) for name, values in scores.items()}
            results.append(result)
        return results


class _Role(NamedTuple):
    """Whether a photo's object can be put on other backgrounds, and whether it can lend its own."""

    borrows: bool
    lends: bool


def _roles_of(batch: dict[str, Tensor]) -> list[_Role]:
    # ImageNet-9's rule: a foreground counts only if the crop keeps over half of its box.
    kept = (batch["kept"] > 0.5) & batch["mask"].flatten(1).any(dim=1) & (batch["label"] >= 0)
    empty = batch["empty"] & (batch["label"] >= 0)
    return [
        _Role(k, e or (k and bool(usable_background(m > 0.5))))
        for m, k, e in zip(batch["mask"], kept.tolist(), empty.tolist(), strict=True)
    ]


def _measure_photos(measuring: _OfOneClass, photos: MaskedPhotos) -> tuple[list[PhotoMeasure], list[_Role]]:
    """Measure every photo; also what it can do in swaps."""
    results: list[PhotoMeasure] = []
    roles: list[_Role] = []
    mine = Subset(photos, measuring.share.of_items(range(len(photos))))
    for batch in measuring.load(mine, "measuring photos"):
        results += measuring.measure_batch(photos, batch)
        roles += _roles_of(batch)
    return measuring.share.joined(results), measuring.share.joined(roles)


def _measure_swaps(measuring: Measuring, photos: MaskedPhotos, results: list[PhotoMeasure], roles: list[_Role]) -> None:
    """Add the predictions on swapped backgrounds to ``results``, for photos with label and object."""
    settings = measuring.settings
    part = [i for i, role in enumerate(roles) if role.borrows or role.lends]
    able = [i for i in part if roles[i].borrows]
    labels = [label for i in part if (label := results[i].label) is not None]
    usable = [roles[i].lends for i in part]
    needing = [at for at, i in enumerate(part) if roles[i].borrows]
    plan: list[tuple[str, int, int]] = []
    for kind in settings.kinds:
        chosen = pair_backgrounds(labels, usable, kind, swaps=settings.swaps, seed=settings.seed, borrowers=needing)
        plan += [(kind, part[i], part[donor]) for i, donors in enumerate(chosen) for donor in donors]
    for index, swap in measuring.answer_swaps(photos, plan, able):
        results[index].swapped.append(swap)
    lending = {label for label, ok in zip(labels, usable, strict=True) if ok}
    for index in able:
        result = results[index]
        if settings.kinds == RUN_SWAPS:
            result.swapped += _random_swaps(result, lending, np.random.default_rng([settings.seed, index]))
        result.rate_swaps()


def _random_swaps(result: PhotoMeasure, lending: AbstractSet[int], rng: np.random.Generator) -> list[Swapped]:
    """Draw mixed-rand from the predictions on the same class's and on other classes' backgrounds.

    Classes are drawn uniformly from ``lending``, those that can lend; the photo's own class counts if another photo of
    it can.
    """
    same, other = ([swap for swap in result.swapped if swap.kind == kind] for kind in RUN_SWAPS)
    classes = len(lending) - (result.label in lending) + bool(same)
    # A photo without another class has no random background either: nothing would be shifted.
    owns = rng.integers(classes, size=len(other)) == 0 if same and other else [False] * len(other)
    drawn = [same[at] if own else other[at] for at, own in enumerate(owns)]
    return [replace(swap, kind="mixed-rand") for swap in drawn]
