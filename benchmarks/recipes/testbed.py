"""The testbed: five classes of animals, five base models, and four shifts that no arm is chosen on.

Base models are a ViT-S finetuned in the ordinary way on 60 photos a class. Arms get masks of some of these photos. 20
other training photos a class choose between arms and between weights; the test photos, PACS and the folder of
backgrounds choose nothing.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.study.photo_base import preprocessing, train_base
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.data.photo import Photo
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import only_foreground, paste, usable_background

FOR_VALIDATION = 20  # training photos a class
PAIR = ("dog", "horse")  # the classes of PACS


@dataclass(frozen=True)
class Inputs:
    """Images that models are measured on, as they enter a model: 8 bits, ``(N, 3, H, W)``; masks ``(N, 1, H, W)``."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None


class Testbed:
    """The folders of the testbed, and what is measured in them.

    Args:
        work: for everything that is made.
        data: holds voc-animals-large, pacs-dog-horse and backgrounds.
        weights: of the pretrained backbone.
        size: side of the models' input in pixels.
    """

    def __init__(self, work: Path, data: Path, weights: Path, size: int = 112) -> None:
        self.folder, self.data, self.weights, self.size = work, data, weights, size
        self.animals = data / "voc-animals-large"
        self.base_photos, self.validation = work / "base-photos", work / "validation"
        self.few = work / "few"  # finetune measures something before and after; here that is not used

    def prepare(self) -> None:
        """Split the training photos, once: every fourth of a class is for validation."""
        done = self.folder / "prepared"
        if done.exists():
            return
        for kind in ("images", "masks"):
            for folder in sorted((self.animals / "train" / kind).iterdir()):
                photos = sorted(folder.iterdir())
                held = photos[:: len(photos) // FOR_VALIDATION][:FOR_VALIDATION]
                _copy([photo for photo in photos if photo not in held], self.base_photos / "train" / kind / folder.name)
                _copy(held, self.validation / kind / folder.name)
                _copy(held[:1], self.few / "validation" / kind / folder.name)
                _copy(held[1:2], self.few / "test" / kind / folder.name)
        done.touch()

    @property
    def classes(self) -> list[str]:
        return sorted(folder.name for folder in (self.animals / "test" / "images").iterdir())

    def base(self, seed: int) -> Path:
        """The base model of a seed, trained if it is not there."""
        folder = self.folder / f"base-{self.size}-{seed}"
        if not (folder / "config.json").is_file():
            mine = folder.with_suffix(f".{os.getpid()}")
            train_base(self.base_photos, self.weights, seed, mine, self.size)
            mine.rename(folder)
        return folder

    def photos(self, images: Path, masks: Path | None) -> MaskedPhotos:
        """Photos of a folder as the models take them, labelled by class folder."""
        names = self.classes
        found = [replace(photo, label=names.index(str(photo.class_name))) for photo in find_photos(images, masks)]
        return MaskedPhotos(found, preprocessing(self.size))

    def tests(self) -> dict[str, Inputs]:
        """Everything that is measured at the end, by name; made once and kept."""
        place = self.folder / f"tests-{self.size}.pt"
        if not place.is_file():
            plain = self.photos(self.animals / "test" / "images", self.animals / "test" / "masks")
            found = self._swapped(plain) | {
                f"pacs {domain.name}": inputs_of(self.photos(domain, None))
                for domain in sorted((self.data / "pacs-dog-horse").iterdir())
            }
            torch.save(found, place.with_suffix(f".{os.getpid()}"))
            place.with_suffix(f".{os.getpid()}").rename(place)
        return torch.load(place, weights_only=False)

    def held_out(self) -> dict[str, Inputs]:
        """What arms and weights are chosen by: validation photos, ordinary and on backgrounds of other classes."""
        found = self._swapped(self.photos(self.validation / "images", self.validation / "masks"))
        return {name: found[name] for name in ("ordinary", "mixed-other")}

    def _swapped(self, photos: MaskedPhotos) -> dict[str, Inputs]:
        """Photos as they are, on backgrounds of other classes, on backgrounds never used, and on black."""
        plain = inputs_of(photos)
        images, masks, labels = plain.images.float() / 255, plain.masks, plain.labels
        assert masks is not None
        usable = [bool(usable_background(mask)) for mask in masks]
        donors = pair_backgrounds(labels.tolist(), usable, "mixed-other", swaps=1, seed=0)
        pairs = [(index, chosen[0]) for index, chosen in enumerate(donors)]
        other = inputs_of(SwappedPhotos(photos, pairs))
        unseen = MaskedPhotos(
            [Photo(path) for path in sorted((self.data / "backgrounds").iterdir())], photos.preprocessing
        )
        backgrounds = [item["image"] for item in unseen]
        drawn = np.random.default_rng(0).integers(len(backgrounds), size=len(images))
        pasted = [paste(image, mask, backgrounds[at]) for image, mask, at in zip(images, masks, drawn, strict=True)]
        third = slice(None, None, 3)  # enough where no aim depends on it
        alone = only_foreground(images[third], masks[third])
        return {
            "ordinary": plain,
            "mixed-other": Inputs(other.images, labels),
            "unseen": Inputs(as_bytes(torch.stack(pasted)), labels),
            "only-fg": Inputs(as_bytes(alone), labels[third]),
        }


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)


def as_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def inputs_of(photos: MaskedPhotos | SwappedPhotos) -> Inputs:
    items = [photos[index] for index in range(len(photos))]
    masks = torch.stack([item["mask"] for item in items])
    return Inputs(
        as_bytes(torch.stack([item["image"] for item in items])),
        torch.tensor([item["label"] for item in items]),
        masks if bool(masks.any()) else None,
    )
