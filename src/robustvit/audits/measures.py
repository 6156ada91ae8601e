"""What an audit measures on every photo: swapped, missing and black backgrounds, vulnerable objects, relevance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from robustvit.audits.audited_photo import AuditedPhoto, PhotoAnswer, Tried
from robustvit.audits.background_choice import choose_tries, choose_tries_by_labels, fit_photos
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedLabels, CachedPhotos
from robustvit.data.datasets import SwappedPhotos
from robustvit.data.swaps import boxed_background, no_foreground, only_foreground, tiled_background
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.map_scores import MAP_SCORES, pointing_hit
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.models.classifier import Classifier
from robustvit.models.forward_pass import evaluating

AUDIT_MEASURES: dict[str, str] = {
    "ordinary": "ordinary accuracy",
    "mixed-other": "accuracy on backgrounds of other classes (mixed-other)",
    "mixed-same": "accuracy on backgrounds of the same class (mixed-same)",
    "cost": "cost of a wrong background: mixed-same − mixed-other, points",
    "mixed-rand": "accuracy on random backgrounds, the own class's too (mixed-rand)",
    "gap": "ImageNet-9's BG-Gap, to compare: mixed-same − mixed-rand, points",
    "only-fg": "accuracy on the object alone (only-fg)",
    "only-bg-t": "accuracy on the background alone, object's box tiled over (only-bg-t)",
    "only-bg-b": "accuracy on the background alone, object's box black (only-bg-b)",
    "no-fg": "accuracy on the background with the object's silhouette in black (no-fg)",
    "vulnerable": "vulnerable objects: some background flips the answer",
    "turned": "backgrounds of other classes that flip the answer",
    "position": "accuracy over positions of the object",
    "size": "accuracy over sizes of the object",
    "rotation": "accuracy over rotations of the object",
    "energy": "relevance inside the mask",
    "uniform": "the mask's share of the frame, which an even map would reach",
    "miou": "mIoU of relevance map and mask",
    "pointing": "pointing game: the map's highest point is on the object",
}

# Measures that are the difference of two kinds of swapped backgrounds.
DIFFERENCES: dict[str, tuple[str, str]] = {"cost": ("mixed-same", "mixed-other"), "gap": ("mixed-same", "mixed-rand")}

VARIANTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "only-fg": only_foreground,
    "no-fg": no_foreground,
    "only-bg-t": tiled_background,
    "only-bg-b": boxed_background,
}
_NEEDS_BACKGROUND = ("only-bg-t", "only-bg-b")


def audit_photos(
    model: Classifier,
    photos: CachedPhotos,
    settings: MeasureSettings,
    *,
    tries: int = 12,
    variants: Sequence[str] = tuple(VARIANTS),
) -> list[AuditedPhoto]:
    """Measure a classifier on photos with masks and classes; an answer to several labels is right if all are.

    Each object is put on ``tries`` backgrounds of other classes, in search of one that flips the answer, and shown in
    ``variants``, of ``VARIANTS``.
    """
    settings = replace(settings, scores={**MAP_SCORES, "pointing": pointing_hit})
    measured = measure(model, photos, settings, device=model.mean.device)
    found = [AuditedPhoto(one, dict(one.values)) for one in measured]
    for index, photo in enumerate(found):
        _add_differences(photo.values)
        if "energy" in photo.values:
            photo.values["uniform"] = float(photos[index]["mask"].mean())  # what an even map would have inside
    able, usable = fit_photos(photos)
    classes = sorted({photo.label for photo in found})
    scored = classes if len(classes) <= MOST_SCORED else []  # as ``measure`` keeps on swapped backgrounds
    answer = partial(_answer, model, settings=settings, scored=scored)
    jobs = [(index, name) for index in able for name in variants if usable[index] or name not in _NEEDS_BACKGROUND]
    answers = answer(_VariantPhotos(photos, jobs), title="objects and backgrounds alone")
    for (index, name), said in zip(jobs, answers, strict=True):
        found[index].answers[name] = said
        found[index].values[name] = float(found[index].plain.is_right(said))
    if isinstance(photos, CachedLabels):
        several = [photo.plain.labels or [] for photo in found]
        pairs = choose_tries_by_labels(several, able, usable, tries, settings.seed)
    else:
        pairs = choose_tries([photo.label for photo in found], able, usable, tries, settings.seed)
    answers = answer(SwappedPhotos(photos, pairs), title="backgrounds of other classes")
    _add_tries(found, pairs, answers)
    return found


def _add_tries(found: list[AuditedPhoto], pairs: list[tuple[int, int]], answers: list[PhotoAnswer]) -> None:
    """Add the answers on backgrounds of other classes, to each photo from the other that lends its background."""
    for (index, donor), said in zip(pairs, answers, strict=True):
        lender = found[donor]
        found[index].tried.append(Tried(donor, lender.label, said, tuple(lender.plain.labels or ())))
    for photo in (one for one in found if one.tried):
        photo.values |= {"turned": len(photo.turned) / len(photo.tried), "vulnerable": float(bool(photo.turned))}


def _add_differences(values: dict[str, float]) -> None:
    for name, (kind, less) in DIFFERENCES.items():
        if kind in values and less in values:
            values[name] = values[kind] - values[less]


class _VariantPhotos(Dataset):
    """Variants of photos, by index and name."""

    def __init__(self, photos: CachedPhotos, jobs: list[tuple[int, str]]) -> None:
        self.photos, self.jobs = photos, jobs

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, position: int) -> dict[str, Any]:
        index, name = self.jobs[position]
        item = self.photos[index]
        return item | {"image": VARIANTS[name](item["image"], item["mask"])}


def _answer(
    model: Classifier, dataset: Dataset, *, settings: MeasureSettings, title: str, scored: Sequence[int]
) -> list[PhotoAnswer]:
    """Return the answers; of one class a photo, they keep the probabilities of the ``scored`` classes."""
    answers: list[PhotoAnswer] = []
    with evaluating(model):
        for batch in track(DataLoader(dataset, batch_size=settings.batch_size), title):
            logits = settings.asking.logits(model, batch["image"].to(model.mean.device))
            if "targets" in batch:
                probabilities = logits.sigmoid().cpu()
                right = torch.where(batch["targets"] > 0.5, probabilities, 1.0).amin(dim=1)
            else:
                probabilities = logits.softmax(dim=1).cpu()
                right = probabilities.gather(1, batch["label"][:, None])[:, 0]
            best, predicted = probabilities.max(dim=1)
            kept = range(probabilities.shape[1]) if "targets" in batch else scored
            scores = probabilities[:, list(kept)].tolist()
            rows = zip(predicted.tolist(), best.tolist(), right.tolist(), scores, strict=True)
            answers += [PhotoAnswer(*row[:3], dict(zip(kept, row[3], strict=True))) for row in rows]
    return answers


def predict_classes(model: Classifier, batches: Iterable[Tensor], asking: Asking) -> list[int]:
    """Return the predicted class of every image of some batches ``(B, 3, H, W)``."""
    device = model.mean.device
    with evaluating(model):
        return [one for images in batches for one in asking.logits(model, images.to(device)).argmax(dim=1).tolist()]
