"""Measure a classifier photo by photo: ordinary accuracy, accuracy on swapped backgrounds, where the relevance lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from robustvit.common.devices import Share
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.photo import Photo
from robustvit.data.several_labels import LabelledPhotos
from robustvit.data.swap_pairs import pair_backgrounds, pair_by_labels
from robustvit.evaluation.measuring import RUN_SWAPS, Answer, MeasureSettings, Measuring, Plan, Role, expect_finite
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.explanation.attention.interception import gradients_for_maps
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import get_method
from robustvit.explanation.methods.trace import slots_of
from robustvit.models.forward_pass import evaluating


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

    ``LabelledPhotos`` are measured with a multi-label model. An answer is then right if it is for all labels: every
    class that is there scores above one half, and no other does. All objects of a photo are put on another background
    together, so its labels stay true; mixed-other takes photos that share no label with it. Relevance is measured for
    each class that is there and has a mask, and averaged.

    Args:
        model: a ``Classifier``, already on ``device``.
        photos: transformed without randomness.
        settings: see ``MeasureSettings``; its defaults if None.
        device: where the model is.
        accelerator: its processes share the photos, and each gets all measures; without one this process measures all.
    """
    settings, share = settings or MeasureSettings(), Share.of(accelerator)
    measuring: Measuring
    if isinstance(photos, LabelledPhotos):
        measuring = _OfSeveralLabels(model, settings, device, share)
    else:
        classes = sorted({photo.label for photo in photos.photos if photo.label is not None})
        scored = classes if len(classes) <= MOST_SCORED else []
        measuring = _OfOneClass(model, settings, device, share, scored=scored)
    with evaluating(model):
        return measuring.measure(photos)


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

    def explain(self, batch: dict[str, Tensor]) -> tuple[Tensor, list[dict[str, float]]]:
        """Return the logits, and for each photo with a mask the scores of the map of the predicted class."""
        images, mask = batch["image"].to(self.device), batch["mask"].to(self.device)
        logits, relevance = self.settings.asking.explain(self.model, images, self.settings.method)
        maps = image_map(relevance, (images.shape[-2], images.shape[-1]))
        scores = {name: score(maps, mask).tolist() for name, score in self.settings.scores.items()}
        masked = (mask > 0.5).flatten(1).any(dim=1).tolist()
        found = [{name: values[i] for name, values in scores.items()} if here else {} for i, here in enumerate(masked)]
        return expect_finite(logits), found

    def role_of(self, photo: Photo, whole: bool, empty: bool, lends: bool) -> Role:
        """See ``Measuring``; photos without a class take no part."""
        known = photo.label is not None
        return Role(known and whole, known and (empty or lends))

    def plan_swaps(self, results: Sequence[PhotoMeasure], roles: Sequence[Role]) -> Plan:
        """See ``Measuring`` and ``pair_backgrounds``."""
        part = [i for i, role in enumerate(roles) if role.borrows or role.lends]
        labels = [label for i in part if (label := results[i].label) is not None]
        usable, needing = [roles[i].lends for i in part], [at for at, i in enumerate(part) if roles[i].borrows]
        swaps, seed = self.settings.swaps, self.settings.seed
        plan: Plan = []
        for kind in self.settings.kinds:
            chosen = pair_backgrounds(labels, usable, kind, swaps=swaps, seed=seed, borrowers=needing)
            plan += [(kind, part[i], part[donor]) for i, donors in enumerate(chosen) for donor in donors]
        return plan

    def mix_swaps(self, results: Sequence[PhotoMeasure], roles: Sequence[Role]) -> None:
        """Draw mixed-rand from the predictions on the same class's and on other classes' backgrounds.

        Classes are drawn uniformly from those that can lend; the photo's own class counts if another photo of it can.
        """
        if self.settings.kinds != RUN_SWAPS:
            return
        lending = {result.label for result, role in zip(results, roles, strict=True) if role.lends}
        for index, (result, role) in enumerate(zip(results, roles, strict=True)):
            if not role.borrows:
                continue
            rng = np.random.default_rng([self.settings.seed, index])
            same, other = ([swap for swap in result.swapped if swap.kind == kind] for kind in RUN_SWAPS)
            classes = len(lending) - (result.label in lending) + bool(same)
            # A photo without another class has no random background either: nothing would be shifted.
            owns = rng.integers(classes, size=len(other)) == 0 if same and other else [False] * len(other)
            drawn = [same[at] if own else other[at] for at, own in enumerate(owns)]
            result.swapped += [replace(swap, kind="mixed-rand") for swap in drawn]


@dataclass(frozen=True)
class _OfSeveralLabels(Measuring):
    """Measures photos of several labels each."""

    masks: str = "class_masks"

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

    def role_of(self, photo: Photo, whole: bool, empty: bool, lends: bool) -> Role:
        """See ``Measuring``; a photo without a label shows nothing, so nothing stays behind in its background."""
        return Role(whole and bool(photo.labels), lends or (empty and not photo.labels))

    def plan_swaps(self, results: Sequence[PhotoMeasure], roles: Sequence[Role]) -> Plan:
        """See ``Measuring`` and ``pair_by_labels``."""
        labels, lend = [result.labels or [] for result in results], [role.lends for role in roles]
        able = [index for index, role in enumerate(roles) if role.borrows]
        swaps, seed = self.settings.swaps, self.settings.seed
        plan: Plan = []
        for kind in self.settings.kinds:
            chosen = pair_by_labels(labels, lend, kind, swaps=swaps, seed=seed, borrowers=able)
            plan += [(kind, index, donor) for index, donors in enumerate(chosen) for donor in donors]
        return plan
