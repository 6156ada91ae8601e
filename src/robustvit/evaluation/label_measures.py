"""Measure a multi-label model photo by photo: scores of all classes, other backgrounds, and where relevance lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from robustvit.common.devices import Share
from robustvit.common.progress import track
from robustvit.common.signals import reading_processes
from robustvit.data.backgrounds import Backgrounds, PastedPhotos, deal_backgrounds
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.label_swaps import pair_by_labels
from robustvit.data.several_labels import LabelledPhotos
from robustvit.data.swaps import usable_background
from robustvit.evaluation.measure import UNSEEN, MeasureSettings, PhotoMeasure, Swapped, expect_finite, measure
from robustvit.explanation.attention.interception import evaluating, gradients_for_maps
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import get_method
from robustvit.explanation.methods.trace import slots_of
from robustvit.models.classifier import Classifier

_Answer = tuple[int, float, dict[int, float]]


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
    measuring = _Measuring(model, settings, device, Share.of(accelerator))
    with evaluating(model):
        results, borrow, lend = _measure_photos(measuring, photos)
        if settings.swaps > 0:
            _measure_swaps(measuring, photos, results, borrow, lend)
    return results


@dataclass(frozen=True)
class _Measuring:
    """A model on its device, and how it is measured."""

    model: Classifier
    settings: MeasureSettings
    device: str | torch.device
    share: Share

    def load(self, dataset: Dataset, title: str) -> Iterable[dict[str, Tensor]]:
        """Yield the batches of a dataset and show the progress."""
        readers = reading_processes(self.settings.workers)
        return track(DataLoader(dataset, batch_size=self.settings.batch_size, **readers), title)

    def answers(self, dataset: Dataset, title: str) -> list[_Answer]:
        """Return the answers to this process's images, joined with those of the others."""
        mine: list[_Answer] = []
        for batch in self.load(dataset, title):
            with torch.no_grad():
                mine += _answers(expect_finite(self.model(batch["image"].to(self.device))))
        return self.share.joined(mine)

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


def _answers(logits: Tensor) -> list[_Answer]:
    """Return for each photo the class with the highest score, that score, and the scores of all classes."""
    scores = logits.double().sigmoid().tolist()
    best = logits.argmax(dim=1).tolist()
    return [(label, own[label], dict(enumerate(own))) for label, own in zip(best, scores, strict=True)]


def _measure_photos(measuring: _Measuring, photos: LabelledPhotos) -> tuple[list[PhotoMeasure], list[bool], list[bool]]:
    """Measure every photo; also whether it can be put on other backgrounds, and whether it can lend its own."""
    results: list[PhotoMeasure] = []
    roles: list[tuple[bool, bool]] = []
    for batch in measuring.load(Subset(photos, measuring.share.of_items(range(len(photos)))), "measuring photos"):
        if measuring.settings.maps and (batch["class_masks"] > 0.5).any():
            logits, maps = measuring.explain(batch)
        else:
            with torch.no_grad():
                logits = expect_finite(measuring.model(batch["image"].to(measuring.device)))
            maps = [{} for _ in logits]
        for i, (index, answer) in enumerate(zip(batch["index"].tolist(), _answers(logits), strict=True)):
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
    measuring: _Measuring,
    photos: LabelledPhotos,
    results: list[PhotoMeasure],
    borrow: Sequence[bool],
    lend: Sequence[bool],
) -> None:
    """Add the answers on other backgrounds to ``results``."""
    settings, share = measuring.settings, measuring.share
    able = [index for index, ok in enumerate(borrow) if ok]
    labels = [result.labels or [] for result in results]
    plan: list[tuple[str, int, int]] = []
    for kind in settings.kinds:
        chosen = pair_by_labels(labels, lend, kind, swaps=settings.swaps, seed=settings.seed, borrowers=able)
        plan += [(kind, index, donor) for index, donors in enumerate(chosen) for donor in donors]
    swapped = SwappedPhotos(photos, share.of_items([(index, donor) for _, index, donor in plan]))
    answers = measuring.answers(swapped, "measuring swapped backgrounds")
    if settings.backgrounds is not None:
        others = Backgrounds(settings.backgrounds, photos.preprocessing)
        dealt = deal_backgrounds(len(able), len(others), swaps=settings.swaps, seed=settings.seed)
        pairs = [(index, at) for index, drawn in zip(able, dealt, strict=True) for at in drawn]
        plan += [(UNSEEN, index, at) for index, at in pairs]
        answers += measuring.answers(PastedPhotos(photos, others, share.of_items(pairs)), "measuring other backgrounds")
    for (asked, index, donor), (best, score, scores) in zip(plan, answers, strict=True):
        results[index].swapped.append(Swapped(asked, donor, best, score, scores))
    for index in able:
        result = results[index]
        for name in dict.fromkeys(swap.kind for swap in result.swapped):
            right = [result.is_right(swap) for swap in result.swapped if swap.kind == name]
            result.values[name] = sum(right) / len(right)
