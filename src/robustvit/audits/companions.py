"""Objects that stand beside the class's own, where annotations name them: does covering them change the answers?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from robustvit.common.errors import UserError
from robustvit.common.intervals import Interval, paired_difference
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import evaluation_transform
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.asking import Asking
from robustvit.explanation.attention.interception import evaluating
from robustvit.explanation.deletion import blurred
from robustvit.masks.annotations import read_annotations
from robustvit.models.classifier import Classifier

LEAST = 10  # photos with a kind of object, below which nothing is said


@dataclass(frozen=True)
class Companion:
    """A kind of object beside the class's own.

    Attributes:
        name: its category in the annotations.
        classes: number of photos with it by their class.
        accuracy: change of accuracy on these photos when all such objects are blurred.
        against_others: the same less the change when as much is blurred elsewhere.
        baseline: change of the baseline's accuracy on them, if there is one and it takes photos in the same way.
        risen: how much more blurring costs the model than the baseline, photo by photo.
    """

    name: str
    classes: dict[str, int]
    accuracy: Interval
    against_others: Interval
    baseline: Interval | None = None
    risen: Interval | None = None

    @property
    def decides(self) -> bool:
        """Whether blurring costs accuracy, and more than elsewhere, by the whole intervals."""
        return self.accuracy.high < 0 and self.against_others.high < 0


def read_companions(source: str, images: str, photos: CachedPhotos) -> dict[str, dict[int, Tensor]]:
    """Read the objects that annotations name beside each photo's class.

    Args:
        source: file or folder of annotations of any tool that ``robustvit masks --from auto`` reads.
        images: the folder of the photos.
        photos: of the audit, with the names of their classes.

    Returns:
        By category, for the photos that have it, where in the model's input it lies ``(1, H, W)`` bool.
    """
    places = {photo.image.resolve(): index for index, photo in enumerate(photos.photos)}
    transform = evaluation_transform(photos.preprocessing)
    found: dict[str, dict[int, Tensor]] = defaultdict(dict)
    known = 0
    for annotated in read_annotations("auto", source, Path(images)):
        index = places.get(annotated.image.resolve())
        if index is None:
            continue
        known += 1
        own = str(photos.photos[index].class_name)
        masks: dict[str, np.ndarray] = {}
        for one in annotated.read():
            if one.category is not None and one.category.lower() != own.lower():
                masks[one.category] = np.maximum(masks.get(one.category, np.zeros(1)), one.mask)
        for name, mask in masks.items():
            whole = tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(mask))[None])
            _, seen = transform(read_photo(annotated.image, pixels=photos.photos[index].pixels), whole)
            inside = seen.as_subclass(Tensor) > 0.5
            if bool(inside.any()):
                found[name][index] = inside
    if not known:
        raise UserError(f"expected annotations of the audit's photos in {source}, found none: check that the names fit")
    return dict(found)


def judge_companions(
    models: Sequence[Classifier],
    photos: CachedPhotos,
    companions: dict[str, dict[int, Tensor]],
    predicted: Sequence[Sequence[int]],
    *,
    batch_size: int = 32,
    asking: Asking | None = None,
) -> list[Companion]:
    """Blur each kind of object where it stands, and as a control a region of the same shape elsewhere.

    Args:
        models: the model and, if there is one that takes photos in the same way, the baseline.
        photos: prepared for them.
        companions: see ``read_companions``; kinds in fewer than 10 photos are left out.
        predicted: each model's answers to the photos as they are.
        batch_size: photos at a time.
        asking: how the models are asked.
    """
    found = []
    for name, places in companions.items():
        indices = sorted(places)
        if len(indices) < LEAST:
            continue
        labels = [int(photos.photos[index].label or 0) for index in indices]
        plain = [[float(said[index] == label) for index, label in zip(indices, labels, strict=True)]
                 for said in predicted]  # fmt: skip
        covered = [_right(model, _Blurred(photos, places, False), labels, batch_size, asking or Asking())
                   for model in models]  # fmt: skip
        elsewhere = _right(models[0], _Blurred(photos, places, True), labels, batch_size, asking or Asking())
        costs = [np.subtract(before, after) for before, after in zip(plain, covered, strict=True)]
        found.append(
            Companion(
                name,
                dict(Counter(str(photos.photos[index].class_name) for index in indices).most_common()),
                paired_difference(plain[0], covered[0]),
                paired_difference(elsewhere, covered[0]),
                paired_difference(plain[1], covered[1]) if len(models) > 1 else None,
                paired_difference(costs[1], costs[0]) if len(models) > 1 else None,
            )
        )
    return sorted(found, key=lambda one: (one.accuracy.mean, one.name))


def _right(model: Classifier, dataset: Dataset, labels: Sequence[int], batch_size: int, asking: Asking) -> list[float]:
    """Return whether each answer is right."""
    said: list[int] = []
    with evaluating(model):
        for images in DataLoader(dataset, batch_size=batch_size):
            said += asking.logits(model, images.to(model.mean.device)).argmax(dim=1).tolist()
    return [float(one == label) for one, label in zip(said, labels, strict=True)]


class _Blurred(Dataset):
    """Photos with objects blurred away, or with as much blurred elsewhere: the shape moved by half of the frame."""

    def __init__(self, photos: CachedPhotos, places: dict[int, Tensor], elsewhere: bool) -> None:
        self.photos, self.places, self.elsewhere = photos, places, elsewhere
        self.indices = sorted(places)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Tensor:
        index = self.indices[position]
        image: Tensor = self.photos[index]["image"]
        inside = self.places[index]
        if self.elsewhere:
            inside = torch.roll(inside, (inside.shape[-2] // 2, inside.shape[-1] // 2), dims=(-2, -1))
        reach = min(image.shape[-2:]) / 8
        return torch.where(inside, blurred(image[None], reach, reach)[0], image)
