"""Measure a classifier photo by photo: ordinary accuracy, accuracy on swapped backgrounds, where the relevance lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from robustvit.common.devices import Share
from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json
from robustvit.common.progress import track
from robustvit.common.signals import reading_processes
from robustvit.data.backgrounds import Backgrounds, PastedPhotos, deal_backgrounds
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.swaps import Swap, pair_backgrounds, usable_background
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.explanation.attention.interception import evaluating
from robustvit.explanation.maps import energy_inside, image_map

MEASURES: dict[str, str] = {
    "ordinary": "ordinary accuracy",
    "mixed-other": "accuracy on backgrounds of other classes (mixed-other)",
    "unseen": "accuracy on backgrounds that no photo has (unseen)",
    "mixed-same": "accuracy on backgrounds of the same class (mixed-same)",
    "mixed-rand": "accuracy on random backgrounds, the own class's too (mixed-rand)",
    "miou": "mIoU of relevance map and mask",
    "energy": "relevance inside the mask",
}
UNSEEN = "unseen"
_RUN: tuple[Swap, ...] = ("mixed-same", "mixed-other")  # mixed-rand reuses these predictions


@dataclass(frozen=True)
class Swapped:
    """A model's prediction for one photo's object on the background of another photo, ``donor``.

    ``scores`` is as in ``PhotoMeasure``.
    """

    kind: str
    donor: int
    predicted: int
    probability: float
    scores: dict[int, float] = field(default_factory=dict)


@dataclass
class PhotoMeasure:
    """Measures of one photo.

    Attributes:
        image: the photo's file.
        label: its class, or None if unknown.
        predicted: the predicted class.
        probability: probability of the predicted class.
        values: by measure, 0 to 1; swapped backgrounds are averaged over swaps. Measures that do not apply are missing.
        swapped: predictions on swapped backgrounds.
        group: where the photo is from, if that is known.
        scores: probability of each class that the photos have, by label; empty if they have more than ``MOST_SCORED``,
            and in files of older versions.
        labels: of a multi-label model, all classes that the photo shows; ``scores`` then has every class of the model.
    """

    image: str
    label: int | None
    predicted: int
    probability: float
    values: dict[str, float] = field(default_factory=dict)
    swapped: list[Swapped] = field(default_factory=list)
    group: str | None = None
    scores: dict[int, float] = field(default_factory=dict)
    labels: list[int] | None = None

    def is_right(self, answer: PhotoMeasure | Swapped) -> bool:
        """Whether an answer to this photo is right; of several labels, whether all of them are."""
        if self.labels is None:
            return answer.predicted == self.label
        return {label for label, score in answer.scores.items() if score > 0.5} == set(self.labels)


def map_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean IoU of object and background, ``(B,)``, with each map cut at its mean (the paper's segmentation test).

    Arguments as in ``energy_inside``; soft masks are cut at 0.5.
    """
    from torchmetrics.functional.segmentation import mean_iou  # seconds to import: only where maps are measured

    cut = (maps > maps.mean(dim=(2, 3), keepdim=True)).squeeze(1).long()
    return mean_iou(cut, (masks > 0.5).squeeze(1).long(), num_classes=2, input_format="index")


def pointing_hit(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether a map's highest point lies on the object, ``(B,)``, 0 or 1 (the pointing game without a margin).

    Arguments as in ``energy_inside``; soft masks are cut at 0.5. The first of several equal points counts, and a map of
    zeros never hits.
    """
    best = maps.flatten(1).argmax(dim=1, keepdim=True)
    hit = (masks.flatten(1) > 0.5).gather(1, best)[:, 0] & (maps.flatten(1).amax(dim=1) > 0)
    return hit.float()


MapScores = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
MAP_SCORES: MapScores = {"miou": map_iou, "energy": energy_inside}


@dataclass(frozen=True)
class MeasureSettings:
    """How to measure a classifier on photos.

    Attributes:
        swaps: backgrounds per photo from its own class, and as many from other classes; 0 measures none.
        seed: fixes the choice of backgrounds.
        kinds: swaps that are predicted; mixed-rand needs both.
        backgrounds: measure ``unseen`` on these, ``textures`` or a folder, see ``Backgrounds``; None does not.
        maps: measure the relevance too; accuracy alone takes half the time.
        method: relevance method of the maps.
        scores: scores of the maps by name: functions of maps and masks ``(B, 1, H, W)`` that return ``(B,)``.
        batch_size: photos per forward pass.
        workers: processes that read photos.
        asking: how the model is asked.
    """

    swaps: int = 2
    seed: int = 0
    kinds: tuple[Swap, ...] = _RUN
    backgrounds: str | None = None
    maps: bool = True
    method: str = "gae"
    scores: MapScores = field(default_factory=lambda: MAP_SCORES)
    batch_size: int = 32
    workers: int = 0
    asking: Asking = field(default_factory=Asking)


@dataclass(frozen=True)
class _Measuring:
    """A model on its device, and how it is measured."""

    model: nn.Module
    settings: MeasureSettings
    device: str | torch.device
    share: Share
    scored: Sequence[int] = ()

    def load(self, dataset: Dataset, title: str) -> Iterable[dict[str, Tensor]]:
        """Yield the batches of a dataset and show the progress."""
        readers = reading_processes(self.settings.workers)
        return track(DataLoader(dataset, batch_size=self.settings.batch_size, **readers), title)

    def predict(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return expect_finite(self.settings.asking.logits(self.model, images))

    def answers(self, dataset: Dataset, title: str) -> list[tuple[int, float, dict[int, float]]]:
        """Return class, probability and scores of this process's images, joined with those of the others."""
        mine: list[tuple[int, float, dict[int, float]]] = []
        for batch in self.load(dataset, title):
            probabilities = self.predict(batch["image"].to(self.device)).softmax(dim=1)
            best = probabilities.max(dim=1)
            mine += zip(best.indices.tolist(), best.values.tolist(), self.scores(probabilities), strict=True)
        return self.share.joined(mine)

    def scores(self, probabilities: Tensor) -> list[dict[int, float]]:
        """Return the probabilities of the scored classes, to six digits, which files can hold."""
        kept = probabilities[:, list(self.scored)].tolist()
        return [{label: float(f"{p:.6g}") for label, p in zip(self.scored, row, strict=True)} for row in kept]

    def explain(self, images: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and the scores of the maps of the predicted classes."""
        logits, relevance = self.settings.asking.explain(self.model, images, self.settings.method)
        maps = image_map(relevance, (images.shape[-2], images.shape[-1]))
        return expect_finite(logits), {name: score(maps, mask) for name, score in self.settings.scores.items()}


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
    classes (mixed-other), and for unseen from images that are none of these photos. mixed-rand is ImageNet-9's mixture
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
    measuring = _Measuring(model, settings or MeasureSettings(), device, Share.of(accelerator), scored)
    with evaluating(model):
        results, roles = _measure_photos(measuring, photos)
        if measuring.settings.swaps > 0:
            _measure_swaps(measuring, photos, results, roles)
    return results


class _Role(NamedTuple):
    """Whether a photo's object can be put on other backgrounds, and whether it can lend its own."""

    borrows: bool
    lends: bool


def _measure_photos(measuring: _Measuring, photos: MaskedPhotos) -> tuple[list[PhotoMeasure], list[_Role]]:
    """Measure every photo; also what it can do in swaps."""
    results: list[PhotoMeasure] = []
    roles: list[_Role] = []
    mine = Subset(photos, measuring.share.of_items(range(len(photos))))
    for batch in measuring.load(mine, "measuring photos"):
        images, mask = batch["image"].to(measuring.device), batch["mask"].to(measuring.device)
        if measuring.settings.maps and (mask > 0.5).any():
            logits, scores = measuring.explain(images, mask)
        else:  # a map costs two more passes and is useless without a mask
            logits, scores = measuring.predict(images), {}
        every = logits.softmax(dim=1)
        (probabilities, predicted), scores_by_class = every.max(dim=1), measuring.scores(every)
        for i, index in enumerate(batch["index"].tolist()):
            photo = photos.photos[index]
            answer = int(predicted[i]), float(probabilities[i])
            result = PhotoMeasure(str(photo.image), photo.label, *answer, group=photo.group, scores=scores_by_class[i])
            if photo.label is not None:
                result.values["ordinary"] = float(result.predicted == photo.label)
            if (mask[i] > 0.5).any():
                result.values |= {name: float(values[i]) for name, values in scores.items()}
            results.append(result)
        # ImageNet-9's rule: a foreground counts only if the crop keeps over half of its box.
        kept = (batch["kept"] > 0.5) & batch["mask"].flatten(1).any(dim=1) & (batch["label"] >= 0)
        empty = batch["empty"] & (batch["label"] >= 0)
        roles += [
            _Role(k, e or (k and bool(usable_background(m > 0.5))))
            for m, k, e in zip(batch["mask"], kept.tolist(), empty.tolist(), strict=True)
        ]
    return measuring.share.joined(results), measuring.share.joined(roles)


def expect_finite(logits: Tensor) -> Tensor:
    """Return logits; refuse NaN and infinity."""
    if not torch.isfinite(logits).all():
        raise UserError("expected finite logits, the model gave NaN or infinity: its weights are broken; load others")
    return logits


def _measure_swaps(
    measuring: _Measuring, photos: MaskedPhotos, results: list[PhotoMeasure], roles: list[_Role]
) -> None:
    """Add the predictions on swapped backgrounds to ``results``, for photos with label and object."""
    settings, share = measuring.settings, measuring.share
    part = [i for i, role in enumerate(roles) if role.borrows or role.lends]
    able = [i for i in part if roles[i].borrows]
    labels = [label for i in part if (label := results[i].label) is not None]
    usable = [roles[i].lends for i in part]
    needing = [at for at, i in enumerate(part) if roles[i].borrows]
    plan: list[tuple[str, int, int]] = []
    for kind in settings.kinds:
        chosen = pair_backgrounds(labels, usable, kind, swaps=settings.swaps, seed=settings.seed, borrowers=needing)
        plan += [(kind, part[i], part[donor]) for i, donors in enumerate(chosen) for donor in donors]
    swapped = SwappedPhotos(photos, share.of_items([(index, donor) for _, index, donor in plan]))
    answers = measuring.answers(swapped, "measuring swapped backgrounds")
    if settings.backgrounds is not None:
        others = Backgrounds(settings.backgrounds, photos.preprocessing)
        dealt = deal_backgrounds(len(able), len(others), swaps=settings.swaps, seed=settings.seed)
        pairs = [(index, at) for index, drawn in zip(able, dealt, strict=True) for at in drawn]
        plan += [(UNSEEN, index, at) for index, at in pairs]
        answers += measuring.answers(PastedPhotos(photos, others, share.of_items(pairs)), "measuring other backgrounds")
    for (asked, index, donor), answer in zip(plan, answers, strict=True):
        results[index].swapped.append(Swapped(asked, donor, *answer))
    lending = {label for label, ok in zip(labels, usable, strict=True) if ok}
    for index in able:
        result = results[index]
        if settings.kinds == _RUN:
            result.swapped += _random_swaps(result, lending, np.random.default_rng([settings.seed, index]))
        for name in dict.fromkeys(swap.kind for swap in result.swapped):
            right = [swap.predicted == result.label for swap in result.swapped if swap.kind == name]
            result.values[name] = sum(right) / len(right)


def _random_swaps(result: PhotoMeasure, lending: AbstractSet[int], rng: np.random.Generator) -> list[Swapped]:
    """Draw mixed-rand from the predictions on the same class's and on other classes' backgrounds.

    Classes are drawn uniformly from ``lending``, those that can lend; the photo's own class counts if another photo of
    it can.
    """
    same, other = ([swap for swap in result.swapped if swap.kind == kind] for kind in _RUN)
    classes = len(lending) - (result.label in lending) + bool(same)
    # A photo without another class has no random background either: nothing would be shifted.
    owns = rng.integers(classes, size=len(other)) == 0 if same and other else [False] * len(other)
    drawn = [same[at] if own else other[at] for at, own in enumerate(owns)]
    return [replace(swap, kind="mixed-rand") for swap in drawn]


def write_measures(results: Sequence[PhotoMeasure], path: str | Path) -> None:
    """Write measures as JSON, whole or not at all."""
    write_json([asdict(result) for result in results], path)


def read_measures(path: str | Path) -> list[PhotoMeasure]:
    """Read what ``write_measures`` wrote."""
    rows = read_json(path)
    try:
        return [
            PhotoMeasure(**_by_label(row) | {"swapped": [Swapped(**_by_label(swap)) for swap in row["swapped"]]})
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} holds no measures that robustvit wrote ({error}): run it again") from error


def _by_label(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON with the labels of its scores as numbers again; older files have no scores."""
    return row | {"scores": {int(label): float(score) for label, score in row.get("scores", {}).items()}}
