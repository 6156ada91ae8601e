"""What an audit measures on every photo: swapped, missing and black backgrounds, vulnerable objects, relevance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from robustvit.audits.audited_photo import AuditedPhoto, PhotoAnswer, Tried
from robustvit.audits.measure_names import DIFFERENCES
from robustvit.audits.tried_backgrounds import choose_tries, choose_tries_by_labels, fit_photos
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedLabels, CachedPhotos
from robustvit.data.datasets import SwappedPhotos
from robustvit.data.swaps import (
    boxed_background,
    no_foreground,
    only_foreground,
    tiled_background,
)
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.label_measures import measure_model
from robustvit.evaluation.map_scores import MAP_SCORES, pointing_hit
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.explanation.attention.interception import evaluating
from robustvit.models.classifier import Classifier

VARIANTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "only-fg": only_foreground,
    "no-fg": no_foreground,
    "only-bg-t": tiled_background,
    "only-bg-b": boxed_background,
}
_NEEDS_BACKGROUND = ("only-bg-t", "only-bg-b")


@dataclass(frozen=True, kw_only=True)
class PhotoSettings:
    """How photos are audited.

    Attributes:
        swaps: backgrounds per photo for mixed-same, and as many for mixed-other.
        tries: backgrounds of other classes per photo, to search for one that flips the answer.
        variants: of ``VARIANTS``, those that are measured.
        seed: fixes which backgrounds.
        method: relevance method of the maps.
        batch_size: images at a time.
        asking: how the model is asked.
    """

    swaps: int = 2
    tries: int = 12
    variants: Sequence[str] = tuple(VARIANTS)
    seed: int = 0
    method: str = "gae"
    batch_size: int = 32
    asking: Asking = field(default_factory=Asking)


def audit_photos(
    model: Classifier,
    photos: CachedPhotos,
    settings: PhotoSettings,
    *,
    device: str | torch.device = "cpu",
) -> list[AuditedPhoto]:
    """Measure a classifier on photos with masks and classes; of several labels, an answer is right if all are.

    Args:
        model: on ``device``.
        photos: the photos.
        settings: what is measured.
        device: where the model is.
    """
    how = MeasureSettings(
        settings.swaps,
        settings.seed,
        method=settings.method,
        scores={**MAP_SCORES, "pointing": pointing_hit},
        batch_size=settings.batch_size,
        asking=settings.asking,
    )
    found = [AuditedPhoto(one, dict(one.values)) for one in measure_model(model, photos, how, device=device)]
    for index, photo in enumerate(found):
        for name, (kind, less) in DIFFERENCES.items():
            if kind in photo.values and less in photo.values:
                photo.values[name] = photo.values[kind] - photo.values[less]
        if "energy" in photo.values:
            photo.values["uniform"] = float(photos[index]["mask"].mean())
    labels = [photo.label for photo in found]
    classes = sorted(set(labels))
    scored = classes if len(classes) <= MOST_SCORED else []  # as ``measure`` keeps on swapped backgrounds
    able, usable = fit_photos(photos)
    jobs = [
        (index, name) for index in able for name in settings.variants if usable[index] or name not in _NEEDS_BACKGROUND
    ]
    answers = _predict(model, _VariantPhotos(photos, jobs), settings, device, "objects and backgrounds alone", scored)
    for (index, name), answer in zip(jobs, answers, strict=True):
        found[index].answers[name] = answer
        found[index].values[name] = float(found[index].plain.is_right(answer))
    if isinstance(photos, CachedLabels):
        several = [photo.plain.labels or [] for photo in found]
        pairs = choose_tries_by_labels(several, able, usable, settings.tries, settings.seed)
    else:
        pairs = choose_tries(labels, able, usable, settings.tries, settings.seed)
    answers = _predict(model, SwappedPhotos(photos, pairs), settings, device, "backgrounds of other classes", scored)
    for (index, donor), answer in zip(pairs, answers, strict=True):
        found[index].tried.append(Tried(donor, labels[donor], answer, tuple(found[donor].plain.labels or ())))
    for photo in found:
        if photo.tried:
            photo.values["turned"] = len(photo.turned) / len(photo.tried)
            photo.values["vulnerable"] = float(bool(photo.turned))
    return found


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


def _predict(
    model: nn.Module,
    dataset: Dataset,
    settings: PhotoSettings,
    device: str | torch.device,
    title: str,
    scored: Sequence[int],
) -> list[PhotoAnswer]:
    """Return the answers; of one class a photo, they keep the probabilities of the ``scored`` classes."""
    answers: list[PhotoAnswer] = []
    with evaluating(model):
        for batch in track(DataLoader(dataset, batch_size=settings.batch_size), title):
            logits = settings.asking.logits(model, batch["image"].to(device))
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
