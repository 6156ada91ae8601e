"""ImageNet-S as the paper uses it: a few masked photos of half of its classes, and one of each other for validation.

Layout, merged classes and mask colours follow its repository (LUSSeg/ImageNet-S, README).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from robustvit.common.csv_files import csv_text
from robustvit.common.errors import UserError
from robustvit.common.files import write_text
from robustvit.data.read_photos import IMAGE_SUFFIXES
from robustvit.experiments.paper.plan import ReproductionScale, Run

# ImageNet-S-919 merges five ImageNet classes into five others; masks cannot separate the two, so both are left out.
MERGED = {
    "n04356056": "n04355933",  # sunglasses into sunglass
    "n04493381": "n02808440",  # tub into bathtub
    "n03642806": "n03832673",  # laptop into notebook
    "n04008634": "n03773504",  # projectile into missile
    "n03887697": "n15075141",  # paper towel into toilet tissue
}
_SOURCE = "https://github.com/LUSSeg/ImageNet-S (from a copy of ImageNet's training photos)"
_PHOTOS, _MASKS = "train-semi", "train-semi-segmentation"

PhotoAndMask = tuple[Path, Path]  # photo and mask


@dataclass(frozen=True)
class Lists:
    """Photos for training, and photos that choose the epoch: (photo, mask, class) each."""

    train: list[tuple[Path, Path, str]]
    validation: list[tuple[Path, Path, str]]


class ImageNetS:
    """The annotated training photos of ImageNet-S, in a folder with ``train-semi`` and ``train-semi-segmentation``."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.masks = folder / _PHOTOS, folder / _MASKS

    @cached_property
    def classes(self) -> list[str]:
        """WordNet ids in order, without the merged ones; independent of the order of the file system."""
        merged = {*MERGED, *MERGED.values()}
        return sorted(p.name for p in self.masks.iterdir() if p.is_dir() and p.name[0] != "." and p.name not in merged)

    def pairs(self, wnid: str) -> list[PhotoAndMask]:
        """Return the photos of a class with their masks, ordered by name."""
        photos = self.photos_of(wnid)
        masks = sorted(p for p in (self.masks / wnid).iterdir() if p.suffix == ".png" and p.name[0] != ".")
        for mask in masks:
            if mask.stem not in photos:
                raise UserError(
                    f"expected the photo of {mask} in {self.photos / wnid}, found none: extract ImageNet-S again "
                    f"({_SOURCE})"
                )
        return [(photos[mask.stem], mask) for mask in masks]

    def photos_of(self, wnid: str) -> dict[str, Path]:
        """Return the photos of a class by stem, ordered by name."""
        folder = self.photos / wnid
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return {p.stem: p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."}

    def check(self, scale: ReproductionScale) -> None:
        """Raise if this is another edition."""
        if len(self.classes) != scale.available:
            raise UserError(
                f"expected {scale.available} classes besides the ten merged ones in {self.masks}, found "
                f"{len(self.classes)}: the paper uses ImageNet-S-919, from {_SOURCE}"
            )

    def split(self, run: Run) -> tuple[list[str], list[str]]:
        """Return training classes and the others: the first by name, or drawn by a seed above 0."""
        names = list(self.classes)
        if run.seed:
            random.Random(run.seed).shuffle(names)
        return names[: run.classes], names[run.classes :]

    def lists(self, run: Run) -> Lists:
        """Return the photos of a run: the first of each training class by name, and one of each other class."""
        chosen, others = self.split(run)
        return Lists(self._first(chosen, run.samples), self._first(others, 1))

    def _first(self, classes: Sequence[str], count: int) -> list[tuple[Path, Path, str]]:
        rows = []
        for wnid in classes:
            found = self.pairs(wnid)[:count]
            if len(found) < count:
                raise UserError(
                    f"expected {count} masked photos of {wnid}, found {len(found)}: extract ImageNet-S again"
                )
            rows += [(photo, mask, wnid) for photo, mask in found]
        return rows


def find_imagenet_s(root: Path) -> ImageNetS:
    """Find ImageNet-S-919 in a root folder."""
    names = ("imagenet-s/ImageNetS919", "ImageNetS919", "imagenet-s", ".")
    for folder in (root / name for name in names):
        if (folder / _PHOTOS).is_dir() and (folder / _MASKS).is_dir():
            return ImageNetS(folder)
    raise UserError(
        f"expected ImageNet-S below {root} (imagenet-s/ImageNetS919 with {_PHOTOS} and {_MASKS}), found none: get it "
        f"from {_SOURCE}"
    )


def write_list(rows: Sequence[tuple[Path, Path, str]], path: Path) -> None:
    """Write rows as a CSV file for ``finetune --images``, with absolute paths, unless the file has the same."""
    listed = [[photo.resolve(), mask.resolve(), wnid] for photo, mask, wnid in rows]
    text = csv_text([["image", "mask", "label"], *listed])
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(text, path)
