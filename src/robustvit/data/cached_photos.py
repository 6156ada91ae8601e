"""Photos as models see them, read once and kept in memory: training and measurements use each of them many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.common.progress import track
from robustvit.data.datasets import (
    MaskedPhotos,
    fixed_transform,
    random_transform,
    read_pair,
    seed_photo,
)
from robustvit.data.photo import Photo
from robustvit.data.several_labels import LabelledPhotos
from robustvit.models.classifier import Classifier, Preprocessing

ROOM = 2**29  # bytes that a run keeps of each of its sets of photos: 2,600 photos of 224 pixels
_Held = tuple[Tensor, Tensor, dict[str, Any]]


class CachedPhotos(MaskedPhotos):
    """``MaskedPhotos``, each read once; arguments and items are the same, bit for bit.

    With ``augment``, only what is the same in every epoch is cached. A photo takes 4 bytes per pixel of the model's
    input (0.2 MB at 224 pixels), 7 with a soft mask; 21 with ``augment``. Copies in processes that were not forked
    begin empty.

    Args:
        photos: as in ``MaskedPhotos``, as are ``preprocessing`` and ``options``.
        room: bytes to keep at most; photos beyond are read whenever they are used. None keeps all.
    """

    def __init__(
        self, photos: Sequence[Photo], preprocessing: Preprocessing, *, room: int | None = None, **options: Any
    ) -> None:
        super().__init__(photos, preprocessing, **options)
        self.room, self._taken = room, 0
        self._fixed, self._random = fixed_transform(preprocessing), random_transform(preprocessing)
        self._held: dict[int, _Held] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": {}, "_taken": 0}

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.augment:
            return self._augment(index)
        if index not in self._held:
            item = super().__getitem__(index)
            if not self._hold(index, *_compact(item)):
                return item
        image, mask, rest = self._held[index]
        return {"image": TF.to_dtype(image, torch.float32, scale=True), "mask": mask.to(torch.float32), **rest}

    def read(self, workers: int = 0) -> None:
        """Read every photo now, with ``workers`` extra processes."""
        missing = [index for index in range(len(self)) if index not in self._held]
        loader = DataLoader(_Reader(self, missing), batch_size=None, num_workers=workers)
        for item in track(loader, "reading photos and masks"):
            if isinstance(item, UserError):
                raise item
            self._hold(item["index"], *_compact(item))

    def _augment(self, index: int) -> dict[str, Any]:
        held = self._held.get(index)
        if held is None:
            image, mask = read_pair(self.photos[index], self.mask_format)
            held = (*self._fixed(image, mask), self._describe(index, mask))
            self._hold(index, *held)
        with seed_photo(self.seed, index):
            seen, seen_mask = self._random(held[0], held[1])
        if not held[2]["empty"] and not seen_mask.any():
            return super().__getitem__(index)  # thickened before it is resized
        return {"image": seen.as_subclass(Tensor), "mask": seen_mask.as_subclass(Tensor), **held[2]}

    def _hold(self, index: int, image: Tensor, mask: Tensor, rest: dict[str, Any]) -> bool:
        """Keep a photo if there is room; return whether it is kept."""
        size = image.nbytes + mask.nbytes + sum(value.nbytes for value in rest.values() if isinstance(value, Tensor))
        if self.room is not None and self._taken + size > self.room:
            return False
        self._held[index] = (image, mask, rest)
        self._taken += size
        return True


def _compact(item: dict[str, Any]) -> _Held:
    # The transform divides 8-bit images by 255 at its end: multiplying restores the same integers.
    image, mask = (255 * item["image"]).round().to(torch.uint8), item["mask"]
    cut = mask > 0.5
    rest = {name: value for name, value in item.items() if name not in ("image", "mask")}
    return image, cut if torch.equal(cut.to(mask.dtype), mask) else mask, rest


class _Reader(Dataset):
    """Items of photos, or the error of reading one, since loaders wrap errors of their processes."""

    def __init__(self, photos: CachedPhotos, indices: list[int]) -> None:
        self.photos, self.indices = photos, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> dict[str, Any] | UserError:
        try:
            return super(CachedPhotos, self.photos).__getitem__(self.indices[position])
        except UserError as error:
            return error


class CachedLabels(CachedPhotos, LabelledPhotos):
    """``LabelledPhotos`` without randomness, each read once; a class's mask takes 4 bytes per pixel."""


def _hold_photos(
    photos: Sequence[Photo], model: Classifier, own: Preprocessing, mask_format: MaskFormat, room: int | None
) -> CachedPhotos:
    """Return photos without randomness, with all their labels for a multi-label model; ``own`` preprocesses them."""
    if model.head_kind == "multi-label":
        return CachedLabels(photos, own, classes=model.num_classes, mask_format=mask_format, room=room)
    return CachedPhotos(photos, own, mask_format=mask_format, room=room)


def see_photos(
    photos: Sequence[Photo], model: Classifier, *, augment: bool = False, mask_format: MaskFormat = "auto"
) -> MaskedPhotos:
    """Return photos as a model sees them; to train on, those of several labels are read whenever they are used."""
    own = model.preprocessing
    if augment and model.head_kind == "multi-label":
        return LabelledPhotos(photos, own, classes=model.num_classes, augment=True, mask_format=mask_format)
    if augment:
        return CachedPhotos(photos, own, augment=True, mask_format=mask_format, room=ROOM)
    return _hold_photos(photos, model, own, mask_format, ROOM)


class ReadOnce:
    """Photos for several models: read once for all models with the same preprocessing.

    Args:
        photos: as in ``CachedPhotos``, as are ``mask_format`` and ``room``.
        classes_of: the model whose classes the photos have; each model's own if it is not given.
        workers: processes that read all photos as soon as a model is to see them; None reads each when it is used.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        mask_format: MaskFormat,
        *,
        classes_of: Classifier | None = None,
        room: int | None = ROOM,
        workers: int | None = None,
    ) -> None:
        self.photos, self.mask_format, self.classes_of, self.room = photos, mask_format, classes_of, room
        self.workers = workers
        self._read: dict[Preprocessing, CachedPhotos] = {}

    def seen_by(self, model: Classifier) -> CachedPhotos:
        """Return the photos as a model sees them."""
        own, labelled = model.preprocessing, self.classes_of or model
        if own not in self._read:
            self._read[own] = _hold_photos(self.photos, labelled, own, self.mask_format, self.room)
            if self.workers is not None:
                self._read[own].read(self.workers)
        return self._read[own]
