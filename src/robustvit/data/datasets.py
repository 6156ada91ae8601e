"""Photos and masks as tensors: joint transforms, and the datasets for training and measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.data.mask_files import check_background, read_mask
from robustvit.data.photo import Photo
from robustvit.data.read_photos import open_header, read_photo
from robustvit.data.swaps import bounding_box, paste, tiled_background
from robustvit.models.classifier import Preprocessing


def _to_float() -> v2.Transform:
    return v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)


def training_transform(preprocessing: Preprocessing) -> v2.Compose:
    """Return the paper's transform: resize image and mask to 8/7 of the input size, random crop, random flip."""
    return v2.Compose([*fixed_transform(preprocessing).transforms, *random_transform(preprocessing).transforms])


def fixed_transform(preprocessing: Preprocessing) -> v2.Compose:
    """Return the part of the training transform that is the same in every epoch."""
    resized = [round(side * 256 / 224) for side in preprocessing.input_size]
    return v2.Compose([v2.ToImage(), _to_float(), v2.Resize(resized, antialias=True)])


def random_transform(preprocessing: Preprocessing) -> v2.Compose:
    """Return the part of the training transform that is drawn for every photo and epoch."""
    return v2.Compose([v2.RandomCrop(list(preprocessing.input_size)), v2.RandomHorizontalFlip()])


def evaluation_transform(preprocessing: Preprocessing) -> v2.Compose:
    """Return the model's transform: resize the shorter side (both if it squashes or is not square), centre crop."""
    size = list(preprocessing.resized) if preprocessing.resizes_both_sides else [preprocessing.resized[0]]
    interpolation = InterpolationMode(preprocessing.interpolation)
    # Bicubic resampling overshoots, but inputs must be in [0, 1]: torchvision resizes 8-bit images, which clip.
    resize, crop = v2.Resize(size, interpolation, antialias=True), v2.CenterCrop(list(preprocessing.input_size))
    return v2.Compose([v2.ToImage(), resize, crop, _to_float()])


def enlarge_input(preprocessing: Preprocessing, side: int = 448) -> Preprocessing:
    """Return a preprocessing with the model's crop but more pixels, at least ``side`` on the longer side."""
    height, width = preprocessing.input_size
    times = max(1, -(-side // max(height, width)))
    return replace(preprocessing, input_size=(times * height, times * width))


def read_pair(photo: Photo, mask_format: MaskFormat = "auto") -> tuple[Image.Image, tv_tensors.Mask]:
    """Read a photo and its mask, ``(1, H, W)`` float32 in [0, 1]; zeros if it has none or shows no object."""
    image = read_photo(photo.image, pixels=photo.pixels)
    width, height = image.size
    if photo.mask is None:
        return image, tv_tensors.Mask(torch.zeros(1, height, width))
    mask = read_mask_of(photo.image, photo.mask, image.size, mask_format)
    return image, tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(mask))[None])


def read_mask_of(image: Path, file: Path, size: tuple[int, int], mask_format: MaskFormat) -> np.ndarray:
    """Read a mask of a photo of this width and height, ``(height, width)`` float32 in [0, 1]."""
    width, height = size
    mask = read_mask(file, mask_format)
    check_background(mask, file)
    if mask.shape != (height, width):
        mask = _rotate_like(image, mask)
    if mask.shape != (height, width):
        raise UserError(
            f"mask {file} is {mask.shape[1]} x {mask.shape[0]} pixels, its image {image} is {width} x {height}: make "
            "them the same size"
        )
    return mask


def _rotate_like(image: str | Path, mask: np.ndarray) -> np.ndarray:
    """Rotate a mask that was drawn on the photo's raw pixels, ignoring its EXIF tag."""
    with open_header(image) as raw:
        if mask.shape != raw.size[::-1]:
            return mask
        drawn = Image.fromarray(mask)
        drawn.getexif()[ExifTags.Base.Orientation] = raw.getexif().get(ExifTags.Base.Orientation, 1)
        return np.array(ImageOps.exif_transpose(drawn))


class MaskedPhotos(Dataset):
    """Photos with masks, transformed together.

    Each item holds ``image`` ``(3, H, W)`` in [0, 1], ``mask`` ``(1, H, W)`` in [0, 1], ``label`` (-1 if unknown),
    ``index``, ``kept``, the share of the object's box that the centre crop keeps (0 without an object), and ``empty``,
    whether the photo shows no object: it has no mask, or an empty one. An object so thin that resizing would lose it is
    thickened first.

    ``augment`` applies the random transform of training instead of that of evaluation.

    Attributes:
        seed: with a photo's index it fixes how that photo is augmented, whichever process reads it and in whatever
            order; change it every epoch.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        preprocessing: Preprocessing,
        *,
        augment: bool = False,
        mask_format: MaskFormat = "auto",
    ) -> None:
        self.photos, self.preprocessing, self.mask_format = list(photos), preprocessing, mask_format
        self.transform = training_transform(preprocessing) if augment else evaluation_transform(preprocessing)
        self.augment, self.seed = augment, 0

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, mask = read_pair(self.photos[index], self.mask_format)
        facts = self._describe(index, mask)
        seen, seen_mask = self._transform(image, mask, index)
        if not facts["empty"] and not seen_mask.any():
            seen, seen_mask = self._transform(image, thicken(mask, self.preprocessing), index)
        return {"image": seen.as_subclass(Tensor), "mask": seen_mask.as_subclass(Tensor), **facts}

    def _describe(self, index: int, mask: Tensor) -> dict[str, Any]:
        """Return the rest of an item, from the mask ``(1, h, w)`` before it is transformed."""
        label = self.photos[index].label
        kept = kept_share(mask, self.preprocessing)
        return {"label": -1 if label is None else label, "index": index, "kept": kept, "empty": not bool(mask.any())}

    def _transform(self, image: Image.Image, mask: tv_tensors.Mask, index: int) -> tuple[Tensor, Tensor]:
        with seed_photo(self.seed, index) if self.augment else nullcontext():
            return self.transform(image, mask)


@contextmanager
def seed_photo(seed: int, index: int) -> Iterator[None]:
    """Seed PyTorch's generator for one photo, and restore its state afterwards."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(int(np.random.SeedSequence([seed, index]).generate_state(1)[0]))
    try:
        yield
    finally:
        torch.set_rng_state(before)


def thicken(mask: Tensor, preprocessing: Preprocessing) -> tv_tensors.Mask:
    """Thicken an object by at most the number of pixels that become one when it is resized."""
    sides = zip(mask.shape[-2:], preprocessing.input_size, strict=True)
    reach = math.ceil(max(side / size for side, size in sides) / 2)
    return tv_tensors.Mask(F.max_pool2d(mask.as_subclass(Tensor), 2 * reach + 1, stride=1, padding=reach))


def kept_share(mask: Tensor, preprocessing: Preprocessing) -> float:
    """Return the share of the object's box that the centre crop keeps; ``mask`` is ``(1, h, w)``, not transformed."""
    box = bounding_box(mask)
    if box is None:
        return 0.0
    height, width = mask.shape[-2:]
    sides = [height, width] if preprocessing.resizes_both_sides else [min(height, width)] * 2
    kept = 1.0
    for size, side, low, high in ((height, sides[0], box.top, box.bottom), (width, sides[1], box.left, box.right)):
        margin = (size - side * preprocessing.crop_share) / 2
        kept *= max(0.0, min(high, size - margin) - max(low, margin)) / (high - low)
    return kept


class SwappedPhotos(Dataset):
    """Photos with the object pasted on the background of another photo; items as in ``MaskedPhotos``.

    ``pairs`` are indices of a photo, transformed without randomness, and of the photo that lends its background.
    """

    _KEPT = 64  # photos: each is in several pairs, and reading is slower than pasting; 200 KiB each at 112 pixels

    def __init__(self, photos: MaskedPhotos, pairs: Sequence[tuple[int, int]]) -> None:
        self.photos, self.pairs = photos, list(pairs)
        self._read: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, position: int) -> dict[str, Any]:
        index, donor = self.pairs[position]
        item = self._photo(index)
        return item | {"image": paste(item["image"], item["mask"], self._background(donor))}

    def _background(self, donor: int) -> Tensor:
        lender = self._photo(donor)
        return tiled_background(lender["image"], lender["mask"])

    def _photo(self, index: int) -> dict[str, Any]:
        if index not in self._read:
            if len(self._read) == self._KEPT:
                del self._read[next(iter(self._read))]  # the oldest
            self._read[index] = self.photos[index]
        return self._read[index]
