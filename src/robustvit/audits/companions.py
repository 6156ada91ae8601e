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

from robustvit.audits.measures import predict_classes
from robustvit.audits.region import BlurEffect, ModelAnswers, measure_blurring
from robustvit.common.errors import UserError
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import evaluation_transform
from robustvit.data.read_photos import read_photo
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.explanation.deletion import blur_images
from robustvit.masks.annotations import read_annotations
from robustvit.models.classifier import Classifier

LEAST = 10  # photos with a kind of object, below which nothing is said


@dataclass(frozen=True, kw_only=True)
class Companion(BlurEffect):
    """A kind of object beside the class's own, and the effect of blurring all such objects.

    Attributes:
        name: its category in the annotations.
        classes: number of photos with it by their class.
    """

    name: str
    classes: dict[str, int]


def read_companions(source: str, images: str, photos: CachedPhotos) -> dict[str, dict[int, Tensor]]:
    """Read the objects that annotations, of any tool that ``masks --from auto`` reads, name beside each photo's class.

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
    models: Sequence[ModelAnswers],
    photos: CachedPhotos,
    companions: dict[str, dict[int, Tensor]],
    settings: MeasureSettings,
) -> list[Companion]:
    """Blur each kind of object where it stands, and as a control a region of the same shape elsewhere.

    Args:
        models: the model and, if there is one that takes photos in the same way, the baseline.
        photos: prepared for them.
        companions: see ``read_companions``; kinds in fewer than 10 photos are left out.
        settings: in which batches the models are asked.
    """

    def answer(model: Classifier, places: dict[int, Tensor], elsewhere: bool = False) -> list[float]:
        loader = DataLoader(_Blurred(photos, places, elsewhere), batch_size=settings.batch_size)
        return mark_right(predict_classes(model, loader, settings.asking), sorted(places))

    def mark_right(said: Sequence[int], indices: Sequence[int]) -> list[float]:
        return [float(one == photos.photos[index].label) for one, index in zip(said, indices, strict=True)]

    found = []
    for name, places in companions.items():
        indices = sorted(places)
        if len(indices) < LEAST:
            continue
        plain = [mark_right([one.answers[index][0] for index in indices], indices) for one in models]
        covered = [answer(one.model, places) for one in models]
        elsewhere = answer(models[0].model, places, elsewhere=True)
        baseline = (plain[1], covered[1]) if len(models) > 1 else None
        effect = measure_blurring(plain[0], covered[0], elsewhere, baseline)
        classes = Counter(str(photos.photos[index].class_name) for index in indices)
        found.append(Companion(**vars(effect), name=name, classes=dict(classes.most_common())))
    return sorted(found, key=lambda one: (one.accuracy.mean, one.name))


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
        return torch.where(inside, blur_images(image[None], reach, reach)[0], image)
