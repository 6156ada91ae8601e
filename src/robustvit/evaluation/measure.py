"""Measuring a classifier photo by photo: ordinary accuracy, accuracy on swapped backgrounds, place of the relevance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

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
from robustvit.data.batches import MaskedPhotos, SwappedPhotos
from robustvit.data.swaps import Swap, pair_backgrounds, usable_background
from robustvit.explanation.attention.interception import evaluating, gradients_for_maps
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods import method_of

MEASURES: dict[str, str] = {
    "ordinary": "ordinary accuracy",
    "mixed-other": "accuracy on backgrounds of other classes (mixed-other)",
    "mixed-same": "accuracy on backgrounds of the same class (mixed-same)",
    "mixed-rand": "accuracy on random backgrounds, the own class's too (mixed-rand)",
    "miou": "mIoU of relevance map and mask",
    "energy": "relevance inside the mask",
}
_ASKED: tuple[Swap, ...] = ("mixed-same", "mixed-other")  # answers to mixed-rand are among these


@dataclass(frozen=True)
class Swapped:
    """What a model said of one photo's object on another photo's background."""

    kind: str
    donor: int
    predicted: int
    probability: float


@dataclass
class PhotoMeasure:
    """What was measured on one photo.

    Attributes:
        image: the photo's file.
        label: its class, or None where unknown.
        predicted: the class predicted.
        probability: the predicted class's probability.
        values: by measure, 0 to 1; swapped backgrounds averaged over swaps. What does not apply is left out.
        swapped: every swapped background.
    """

    image: str
    label: int | None
    predicted: int
    probability: float
    values: dict[str, float] = field(default_factory=dict)
    swapped: list[Swapped] = field(default_factory=list)


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the relevance that lies inside the mask, ``(B,)``; 0 where a map is all zero.

    Args:
        maps: ``(B, 1, H, W)``, non-negative.
        masks: ``(B, 1, H, W)`` in [0, 1].
    """
    total = maps.sum(dim=(1, 2, 3))
    return (maps * masks).sum(dim=(1, 2, 3)) / total.where(total > 0, 1.0)


def map_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean IoU of object and background, ``(B,)``, with each map cut at its own mean (the paper's segmentation test).

    Arguments as in ``energy_inside``; soft masks are cut at one half.
    """
    from torchmetrics.functional.segmentation import mean_iou  # seconds to import: only where maps are measured

    cut = (maps > maps.mean(dim=(2, 3), keepdim=True)).squeeze(1).long()
    return mean_iou(cut, (masks > 0.5).squeeze(1).long(), num_classes=2, input_format="index")


def pointing_hit(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether a map's highest point lies on the object, ``(B,)``, 0 or 1 (the pointing game, without a margin).

    Arguments as in ``energy_inside``; soft masks are cut at one half, of several equal points the first counts, and a
    map of zeros points nowhere.
    """
    best = maps.flatten(1).argmax(dim=1, keepdim=True)
    hit = (masks.flatten(1) > 0.5).gather(1, best)[:, 0] & (maps.flatten(1).amax(dim=1) > 0)
    return hit.float()


Places = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
PLACES: Places = {"miou": map_iou, "energy": energy_inside}


def measure(
    model: nn.Module,
    photos: MaskedPhotos,
    *,
    swaps: int = 2,
    seed: int = 0,
    maps: bool = True,
    method: str = "gae",
    places: Places = PLACES,
    batch_size: int = 32,
    workers: int = 0,
    device: str | torch.device = "cpu",
    accelerator: Accelerator | None = None,
) -> list[PhotoMeasure]:
    """Measure a classifier on photos it was not trained on.

    Photos without a label have no accuracy, photos without a mask neither swapped backgrounds nor the place of the
    relevance. The relevance map is that of the predicted class. Backgrounds come from photos of the own class
    (mixed-same) and of other classes (mixed-other). mixed-rand is ImageNet-9's mixture of the two and costs nothing
    more: for each swap a class is drawn uniformly out of all that can lend to the photo, and the answer is that of
    mixed-same where it is the own class, else that of mixed-other.

    Args:
        model: a ``Classifier``, already on ``device``.
        photos: transformed without randomness.
        swaps: backgrounds per photo of its own class, and as many of other classes.
        seed: fixes which backgrounds.
        maps: measure the relevance too; accuracy alone takes half the time.
        method: relevance method that the maps are of.
        places: what to measure of maps ``(B, 1, H, W)`` and masks, by name, each ``(B,)``.
        batch_size: images at a time.
        workers: processes that read photos.
        device: where the model is.
        accelerator: its processes share the photos, and all of them get all measures; without one each measures all.
    """
    share = Share.of(accelerator)
    with evaluating(model):
        results, lends = _measure_photos(
            model, photos, method if maps else None, places, batch_size, workers, device, share
        )
        if swaps > 0:
            _measure_swaps(model, photos, results, lends, swaps, seed, batch_size, workers, device, share)
    return results


def _loader(dataset: Dataset, batch_size: int, workers: int) -> DataLoader:
    return DataLoader(dataset, batch_size=batch_size, **reading_processes(workers))


def _measure_photos(
    model, photos: MaskedPhotos, method: str | None, places: Places, batch_size: int, workers: int, device, share: Share
) -> tuple[list[PhotoMeasure], list[bool | None]]:
    """Measures of every photo; and where its object is fit for another background, whether its own can be lent."""
    results: list[PhotoMeasure] = []
    lends: list[bool | None] = []
    mine = Subset(photos, share.of_items(range(len(photos))))
    for batch in track(_loader(mine, batch_size, workers), "measuring photos"):
        images, mask = batch["image"].to(device), batch["mask"].to(device)
        if method and (mask > 0.5).any():
            logits, found_at = _with_maps(model, images, mask, method, places)
        else:  # a map takes two more passes, for nothing where there is no mask to lay it on
            logits, found_at = _logits(model, images), {}
        probabilities, predicted = logits.softmax(dim=1).max(dim=1)
        for i, index in enumerate(batch["index"].tolist()):
            photo = photos.photos[index]
            found = PhotoMeasure(str(photo.image), photo.label, int(predicted[i]), float(probabilities[i]))
            if photo.label is not None:
                found.values["ordinary"] = float(found.predicted == photo.label)
            if (mask[i] > 0.5).any():
                found.values |= {name: float(values[i]) for name, values in found_at.items()}
            results.append(found)
        # ImageNet-9's rule: a foreground counts only if under half of its box is lost to the crop.
        kept = (batch["kept"] > 0.5) & batch["mask"].flatten(1).any(dim=1) & (batch["label"] >= 0)
        lends += [
            bool(usable_background(m > 0.5)) if k else None for m, k in zip(batch["mask"], kept.tolist(), strict=True)
        ]
    return share.joined(results), share.joined(lends)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return _finite(model(images))


def _finite(logits: Tensor) -> Tensor:
    if not torch.isfinite(logits).all():
        raise UserError(
            "expected logits that are numbers, the model gave NaN or infinity: its weights are broken; load others"
        )
    return logits


def _with_maps(
    model: nn.Module, images: Tensor, mask: Tensor, method: str, places: Places
) -> tuple[Tensor, dict[str, Tensor]]:
    with gradients_for_maps(False):
        trace = method_of(method)(model, images)
        row = trace.explain(trace.logits.argmax(dim=1), False)
    maps = image_map(row, (images.shape[-2], images.shape[-1]))
    return _finite(trace.logits.detach()), {name: place(maps, mask) for name, place in places.items()}


def _measure_swaps(model, photos, results, lends, swaps, seed, batch_size, workers, device, share: Share) -> None:
    """Add the answers on swapped backgrounds to ``results``, for photos with label and mask."""
    able = [i for i, lent in enumerate(lends) if lent is not None]
    labels = [results[i].label for i in able]
    usable = [lends[i] for i in able]
    plan: list[tuple[Swap, int, int]] = []
    for kind in _ASKED:
        chosen = pair_backgrounds(labels, usable, kind, swaps=swaps, seed=seed)
        plan += [(kind, able[i], able[donor]) for i, donors in enumerate(chosen) for donor in donors]
    swapped = SwappedPhotos(photos, share.of_items([(index, donor) for _, index, donor in plan]))
    answers: list[tuple[int, float]] = []
    for batch in track(_loader(swapped, batch_size, workers), "measuring swapped backgrounds"):
        probabilities, predicted = _logits(model, batch["image"].to(device)).softmax(dim=1).max(dim=1)
        answers += zip(predicted.tolist(), probabilities.tolist(), strict=True)
    for (kind, index, donor), answer in zip(plan, share.joined(answers), strict=True):
        results[index].swapped.append(Swapped(kind, donor, *answer))
    lending = {label for label, ok in zip(labels, usable, strict=True) if ok}
    for index in able:
        found = results[index]
        found.swapped += _random_swaps(found, lending, np.random.default_rng([seed, index]))
        for kind in dict.fromkeys(one.kind for one in found.swapped):
            right = [one.predicted == found.label for one in found.swapped if one.kind == kind]
            found.values[kind] = sum(right) / len(right)


def _random_swaps(found: PhotoMeasure, lending: AbstractSet[int], rng: np.random.Generator) -> list[Swapped]:
    """Answers to backgrounds of classes drawn uniformly out of ``lending``, those that can lend (the own one where
    another photo of it can), taken from the answers on the own and on other classes.
    """
    same, other = ([one for one in found.swapped if one.kind == kind] for kind in _ASKED)
    classes = len(lending - {found.label}) + bool(same)
    # A photo without another class has no random background either: nothing would be shifted.
    owns = rng.integers(classes, size=len(other)) == 0 if same and other else [False] * len(other)
    drawn = [same[at] if own else other[at] for at, own in enumerate(owns)]
    return [replace(one, kind="mixed-rand") for one in drawn]


def write_measures(results: Sequence[PhotoMeasure], path: str | Path) -> None:
    """Write measures as JSON, whole or not at all."""
    write_json([asdict(result) for result in results], path)


def read_measures(path: str | Path) -> list[PhotoMeasure]:
    """Read what ``write_measures`` wrote."""
    rows = read_json(path)
    try:
        return [PhotoMeasure(**row | {"swapped": [Swapped(**one) for one in row["swapped"]]}) for row in rows]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} holds no measures of ours ({error}): make the run again") from error
