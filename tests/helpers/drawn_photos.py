"""Drawn photos of three classes with their masks, in folders."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.small_models import SIZE

CLASSES = ("disc", "frame", "stripe")


def draw_photo(rng: np.random.Generator, label: int, size: int = SIZE) -> tuple[Image.Image, Image.Image]:
    """A bright object of one of three shapes on a tinted noise background that goes with its class."""
    tint = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200)][label])
    canvas = (0.5 * tint + rng.integers(0, 90, (size, size, 3))).astype(np.uint8)
    rows, columns = np.mgrid[:size, :size]
    y, x = rng.integers(size // 3, size - size // 3, 2)
    reach = size // 5
    box = np.maximum(abs(rows - y), abs(columns - x))
    shapes = (
        (rows - y) ** 2 + (columns - x) ** 2 <= reach**2,
        (box <= reach) & (box >= reach // 2),
        (abs(rows - y) <= reach // 2) & (abs(columns - x) <= reach),
    )
    canvas[shapes[label]] = rng.integers(200, 255, 3)
    return Image.fromarray(canvas), Image.fromarray((255 * shapes[label]).astype(np.uint8))


def without_classes(photos: tuple[Path, Path], folder: Path, pattern: str = "*.png") -> tuple[str, str]:
    """Copies of photos and masks in one flat folder each."""
    for kind, source in zip(("images", "masks"), photos, strict=True):
        (folder / kind).mkdir(parents=True)
        for path in sorted(source.rglob(pattern)):
            shutil.copy(path, folder / kind / f"{path.parent.name}-{path.name}")
    return str(folder / "images"), str(folder / "masks")


def write_photos(folder: Path, count: int, seed: int = 0, classes=CLASSES) -> tuple[Path, Path]:
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        for kind in ("images", "masks"):
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo, mask = draw_photo(rng, label)
            photo.save(folder / "images" / name / f"{number:03d}.png")
            mask.save(folder / "masks" / name / f"{number:03d}.png")
    return folder / "images", folder / "masks"


def write_photos_of_several(folder: Path, count: int) -> tuple[Path, Path]:
    """Photos of none, one or two of the shapes: a list in columns of 0 and 1, and a folder with a mask of each."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        shown = sorted({number % 3, (number // 3) % 3}) if number % 8 else []
        canvas = rng.integers(0, 90, (SIZE, SIZE, 3)).astype(np.uint8)
        for label in shown:
            photo, mask = draw_photo(rng, label)
            inside = np.array(mask) > 0
            canvas[inside] = np.array(photo)[inside]
            place = folder / "masks" / CLASSES[label] / f"{number:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            mask.save(place)
        Image.fromarray(canvas).save(folder / f"{number:03d}.png")
        rows.append([f"{number:03d}.png", *(int(label in shown) for label in range(3))])
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", *CLASSES], *rows])
    return folder / "list.csv", folder / "masks"
