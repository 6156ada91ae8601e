"""What an audit measures on every photo: swapped, missing and black backgrounds, vulnerable objects, relevance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from robustvit.audits.audited_photo import AuditedPhoto, PhotoAnswer, Tried
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import SwappedPhotos
from robustvit.data.label_swaps import pair_by_labels
from robustvit.data.seen_photos import CachedLabels
from robustvit.data.swaps import (
    boxed_background,
    no_foreground,
    only_foreground,
    pair_backgrounds,
    tiled_background,
    usable_background,
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


def fit_photos(photos: CachedPhotos) -> tuple[list[int], list[bool]]:
    """Return the photos whose objects can be put on other backgrounds, and whether each photo can lend its background.

    As in ImageNet-9, the crop must keep over half of the object's box, and a photo lends its background if the object's
    box covers at most 90 % of the frame. A photo without an object lends the whole frame.
    """
    able, usable = [], []
    for index in range(len(photos)):
        item = photos[index]
        fit = bool((item["mask"] > 0.5).any()) and item["label"] >= 0 and item["kept"] > 0.5
        able += [index] * fit
        usable.append((item["empty"] and item["label"] >= 0) or (fit and usable_background(item["mask"])))
    return able, usable


def choose_tries(
    labels: Sequence[int], able: Sequence[int], usable: Sequence[bool], tries: int, seed: int
) -> list[tuple[int, int]]:
    """Choose pairs of a photo and another that lends its background.

    Each able photo gets ``tries`` different backgrounds, if there are that many, from the other classes in turn (see
    ``pair_backgrounds``). If a class has too few, those used least are added.
    """
    drawn = pair_backgrounds(labels, usable, "mixed-other", swaps=tries, seed=seed, borrowers=able)
    donors = {index: list(dict.fromkeys(drawn[index])) for index in able}
    lent = Counter(donor for own in donors.values() for donor in own)
    for index, own in donors.items():
        others = [i for i, ok in enumerate(usable) if ok and labels[i] != labels[index]] if len(own) < tries else []
        spare = sorted(set(others).difference(own), key=lambda i: (lent[i], i))[: tries - len(own)]
        own += spare
        lent.update(spare)
    return [(index, donor) for index, own in donors.items() for donor in own]


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
    able, usable = fit_photos(photos)
    jobs = [
        (index, name) for index in able for name in settings.variants if usable[index] or name not in _NEEDS_BACKGROUND
    ]
    answers = _predict(model, _VariantPhotos(photos, jobs), settings, device, "objects and backgrounds alone")
    for (index, name), answer in zip(jobs, answers, strict=True):
        found[index].answers[name] = answer
        found[index].values[name] = float(found[index].plain.is_right(answer))
    labels = [photo.label for photo in found]
    if isinstance(photos, CachedLabels):
        pairs = _choose_by_labels(found, able, usable, settings)
    else:
        pairs = choose_tries(labels, able, usable, settings.tries, settings.seed)
    answers = _predict(model, SwappedPhotos(photos, pairs), settings, device, "backgrounds of other classes")
    for (index, donor), answer in zip(pairs, answers, strict=True):
        found[index].tried.append(Tried(donor, labels[donor], answer, tuple(found[donor].plain.labels or ())))
    for photo in found:
        if photo.tried:
            photo.values["turned"] = len(photo.turned) / len(photo.tried)
            photo.values["vulnerable"] = float(bool(photo.turned))
    return found


def _choose_by_labels(
    photos: Sequence[AuditedPhoto], able: Sequence[int], usable: Sequence[bool], settings: PhotoSettings
) -> list[tuple[int, int]]:
    """Choose backgrounds as ``choose_tries`` does, of photos that share no label."""
    labels = [photo.plain.labels or [] for photo in photos]
    chosen = pair_by_labels(
        labels, usable, "mixed-other", swaps=settings.tries, seed=settings.seed, borrowers=list(able)
    )
    return [(index, donor) for index, donors in enumerate(chosen) for donor in donors]


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
    model: nn.Module, dataset: Dataset, settings: PhotoSettings, device: str | torch.device, title: str
) -> list[PhotoAnswer]:
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
            few = probabilities if "targets" in batch or probabilities.shape[1] <= MOST_SCORED else probabilities[:, :0]
            rows = zip(predicted.tolist(), best.tolist(), right.tolist(), few.tolist(), strict=True)
            answers += [PhotoAnswer(*row[:3], dict(enumerate(row[3]))) for row in rows]
    return answers
