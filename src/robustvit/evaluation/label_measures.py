"""Measure a multi-label model photo by photo: scores of all classes, other backgrounds, and where relevance lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Subset

from robustvit.common.devices import Share
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.several_labels import LabelledPhotos
from robustvit.data.swap_pairs import pair_by_labels
from robustvit.data.swaps import usable_background
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import Answer, MeasureSettings, Measuring, expect_finite
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.explanation.attention.interception import evaluating, gradients_for_maps
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import get_method
from robustvit.explanation.methods.trace import slots_of
from robustvit.models.classifier import Classifier


def measure_model(
    model: Classifier,
    photos: MaskedPhotos,
    settings: MeasureSettings,
    *,
    device: str | torch.device = "cpu",
    accelerator: Accelerator | None = None,
) -> list[PhotoMeasure]:
    """Measure a classifier on photos of one class each, see ``measure``, or of several: ``measure_labels``."""
    if isinstance(photos, LabelledPhotos):
        return measure_labels(model, photos, settings, device=device, accelerator=accelerator)
    return measure(model, photos, settings, device=device, accelerator=accelerator)


def measure_labels(
    model: Classifier,
    photos: LabelledPhotos,
    settings: MeasureSettings,
    *,
    device: str | torch.device = "cpu",
    accelerator: Accelerator | None = None,
) -> list[PhotoMeasure]:
    """Measure a multi-label model on photos it was not trained on; arguments as in ``measure``.

    An answer is right if it is for all labels: every class that is there scores above one half, and no other does. All
    objects of a photo are put on another background together, so its labels stay true; ``mixed-other`` takes photos
    that share no label with it. Relevance is measured for each class that is there and has a mask, and averaged.
    """
    measuring = _OfSeveralLabels(model, settings, device, Share.of(accelerator))
    with evaluating(model):
        results, borrow, lend = _measure_photos(measuring, photos)
        if settings.swaps > 0:
            _measure_swaps(measuring, photos, results, borrow, lend)
    return results


@dataclass(frozen=True)
class _OfSeveralLabels(Measuring):
    """Measures photos of several labels each."""

    def read(self, logits: Tensor) -> list[Answer]:
        """Return the class with the highest score, that score, and the scores of all classes."""
        scores = logits.double().sigmoid().tolist()
        best = logits.argmax(dim=1).tolist()
        return [(label, own[label], dict(enumerate(own))) for label, own in zip(best, scores, strict=True)]

    def explain(self, batch: dict[str, Tensor]) -> tuple[Tensor, list[dict[str, float]]]:
        """Return the logits, and for each photo the scores of its maps, as means over its classes with a mask."""
        images, masks = batch["image"].to(self.device), batch["class_masks"].to(self.device)
        order, held = slots_of(batch["targets"].to(self.device) > 0.5)
        found: list[list[dict[str, float]]] = [[] for _ in images]
        with gradients_for_maps(False):
            trace = get_method(self.settings.method)(self.model, images)
            for slot in range(held.shape[1]):
                inside = masks[:, [min(slot, masks.shape[1] - 1)]]
                rows = trace.explain(order[:, slot], True).detach()
                maps = image_map(rows, (images.shape[-2], images.shape[-1]))
                scores = {name: score(maps, inside).tolist() for name, score in self.settings.scores.items()}
                shown = held[:, slot] & (inside > 0.5).flatten(1).any(dim=1)
                for index in shown.nonzero()[:, 0].tolist():
                    found[index].append({name: values[index] for name, values in scores.items()})
        means = [{name: sum(one[name] for one in own) / len(own) for name in own[0]} if own else {} for own in found]
        return expect_finite(trace.logits.detach()), means


def _measure_photos(
    measuring: _OfSeveralLabels, photos: LabelledPhotos
) -> tuple[list[PhotoMeasure], list[bool], list[bool]]:
    """Measure every photo; also whether it can be put on other backgrounds, and whether it can lend its own."""
    results: list[PhotoMeasure] = []
    roles: list[tuple[bool, bool]] = []
    for batch in measuring.load(Subset(photos, measuring.share.of_items(range(len(photos)))), "measuring photos"):
        if measuring.settings.maps and (batch["class_masks"] > 0.5).any():
            logits, maps = measuring.explain(batch)
        else:
            logits = measuring.predict(batch["image"].to(measuring.device))
            maps = [{} for _ in logits]
        for i, (index, answer) in enumerate(zip(batch["index"].tolist(), measuring.read(logits), strict=True)):
            photo = photos.photos[index]
            result = PhotoMeasure(str(photo.image), photo.label, answer[0], answer[1], scores=answer[2])
            result.labels, result.group = list(photo.labels or ()), photo.group
            result.values = {"ordinary": float(result.is_right(result)), **maps[i]}
            results.append(result)
            mask = batch["mask"][i]
            whole = bool(batch["kept"][i] > 0.5) and bool(mask.any())
            free = bool(batch["empty"][i]) and not photo.labels  # nothing is there, so nothing stays behind
            roles.append((whole and bool(photo.labels), free or (whole and bool(usable_background(mask > 0.5)))))
    joined = measuring.share.joined(roles)
    return measuring.share.joined(results), [one for one, _ in joined], [other for _, other in joined]


def _measure_swaps(
    measuring: Measuring,
    photos: LabelledPhotos,
    results: list[PhotoMeasure],
    borrow: Sequence[bool],
    lend: Sequence[bool],
) -> None:
    """Add the answers on other backgrounds to ``results``."""
    settings = measuring.settings
    able = [index for index, ok in enumerate(borrow) if ok]
    labels = [result.labels or [] for result in results]
    plan: list[tuple[str, int, int]] = []
    for kind in settings.kinds:
        chosen = pair_by_labels(labels, lend, kind, swaps=settings.swaps, seed=settings.seed, borrowers=able)
        plan += [(kind, index, donor) for index, donors in enumerate(chosen) for donor in donors]
    for index, swap in measuring.answer_swaps(photos, plan, able):
        results[index].swapped.append(swap)
    for index in able:
        results[index].rate_swaps()
