"""Where the study trains and measures: the embedded benchmark, and real photos with drawn and with TokenCut masks.

Beside the swapped backgrounds of ``evaluate``, both are tested on the object alone and on the background alone, which
no method trains on.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image, ImageOps

from benchmarks.study.photo_base import train_base
from robustvit import shifts
from robustvit.cli.demo import VALIDATION_PER_CLASS, write_scenes
from robustvit.data.find_photos import find_photos

SIZE = 112
VARIANTS = ["only-fg", "only-bg-t"]  # the object on black; the background alone, where the object was is tiled over


@dataclass(frozen=True)
class Cell:
    """One run: an arm, a seed, how many masked photos a class, and whose masks."""

    arm: str
    seed: int
    samples: int
    masks: str = "drawn"

    @property
    def name(self) -> str:
        return f"{self.arm.replace(' ', '_')}-{self.masks}-{self.samples}-{self.seed}"


class Embedded:
    """Scenes that come with the package, and the small model that looks at their backgrounds."""

    name = "embedded"
    seeds, tuning_seed = tuple(range(5)), 100
    groups = (("drawn", 20),)
    rates: ClassVar = {"attention": 3e-4, "all": 1e-5}
    swaps = 2
    temperature = 0.3

    def __init__(self, work: Path) -> None:
        self.folder = work / self.name
        self.data = self.folder / "data"
        self.tests = {name: self.data / name / "images" for name in ("swapped", "location", "size", "rotation")}
        self.tests |= {kind: self.folder / "shifted" / kind for kind in VARIANTS}
        self.judged = (str(self.data / "test" / "images"), str(self.data / "test" / "masks"))

    def prepare(self) -> None:
        """Scenes and their variants; once. One validation scene a class does: it chooses nothing here."""
        done = self.folder / "prepared"
        if done.exists():
            return
        write_scenes(self.data)
        for kind in ("images", "masks"):
            for place in sorted((self.data / "validation" / kind).glob("*/*"))[::VALIDATION_PER_CLASS]:
                few = self.data / "few" / kind / place.parent.name
                few.mkdir(parents=True, exist_ok=True)
                shutil.copy(place, few)
        shifts(*self.judged, out=str(self.folder / "shifted"), kinds=VARIANTS, size=SIZE)
        shutil.copytree(str(files("robustvit.data.embedded") / "model"), self.base(0), dirs_exist_ok=True)
        done.touch()

    def base(self, seed: int) -> Path:
        return self.folder / "base"

    def training(self, cell: Cell) -> dict[str, Any]:
        """Options of finetune for the photos: half the classes, as in the demo."""
        return {
            "images": str(self.data / "train" / "images"),
            "masks": str(self.data / "train" / "masks"),
            "val_images": str(self.data / "few" / "images"),
            "val_masks": str(self.data / "few" / "masks"),
            "samples_per_class": cell.samples,
            "classes": 0.5,
            "epochs": 6,
        }


class Photos:
    """Five classes of animals; the base model is a ViT-S finetuned on all 150 training photos without masks."""

    name = "photos"
    seeds, tuning_seed = tuple(range(3)), 100
    groups = (("drawn", 10), ("tokencut", 10), ("drawn", 30), ("drawn", 3), ("tokencut", 30), ("tokencut", 3))
    rates: ClassVar = {"attention": 1e-4, "all": 1e-5}
    swaps = 1
    temperature = 1.0
    epochs: ClassVar = {3: 16, 10: 5, 30: 2}  # 32 to 38 steps of 8 photos

    def __init__(self, work: Path, data: Path, weights: Path, tokencut: Path) -> None:
        self.folder = work / self.name
        self.data, self.weights = data, weights
        self.masks = {"drawn": data / "train" / "masks", "tokencut": tokencut}
        self.tests = {kind: self.folder / "shifted" / kind for kind in VARIANTS}
        self.judged = (str(data / "test" / "images"), str(data / "test" / "masks"))

    def prepare(self) -> None:
        """Variants of the test photos; mirrored training photos for the loop's validation, which chooses nothing."""
        done = self.folder / "prepared"
        if done.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        shifts(*self.judged, out=str(self.folder / "shifted"), kinds=VARIANTS, size=2 * SIZE)
        photos = find_photos(self.data / "train" / "images", self.masks["drawn"])
        for photo in {photo.class_name: photo for photo in photos}.values():
            for kind, place in (("images", photo.image), ("masks", photo.mask)):
                folder = self.folder / "validation" / kind / str(photo.class_name)
                folder.mkdir(parents=True, exist_ok=True)
                if place is not None:
                    ImageOps.mirror(Image.open(place)).save(folder / f"{photo.image.stem}.png")
        done.touch()

    def base(self, seed: int) -> Path:
        folder = self.folder / f"base-{seed}"
        if not (folder / "config.json").is_file():
            train_base(self.data, self.weights, seed, folder.with_suffix(f".{os.getpid()}"), SIZE)
            folder.with_suffix(f".{os.getpid()}").rename(folder)
        return folder

    def training(self, cell: Cell) -> dict[str, Any]:
        """Options of finetune for the photos: of TokenCut's masks the good ones, as by default."""
        return {
            "images": str(self.data / "train" / "images"),
            "masks": str(self.masks[cell.masks]),
            "val_images": str(self.folder / "validation" / "images"),
            "val_masks": str(self.folder / "validation" / "masks"),
            "samples_per_class": cell.samples,
            "epochs": self.epochs[cell.samples],
        }
