"""Example photos: scenes of the embedded benchmark for models that know its classes, else sample photos."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.data.embedded.scenes import BACKGROUNDS, CLASSES, make_scene
from robustvit.data.embedded.textures import sample_photo

# Class and background of each scene; in the training of the embedded model, both had the same number.
_SCENES = ((0, 0), (0, 4), (4, 4), (4, 9), (8, 8), (3, 6))
_PHOTOS = {"cat": "chelsea", "coffee cup": "coffee", "rocket": "rocket", "astronaut": "astronaut"}


@dataclass(frozen=True)
class Example:
    """An example photo.

    Attributes:
        name: title.
        file: photo.
        digest: SHA-256 of the file.
        mask: mask, ``(H, W)`` float32 of 0 and 1, if there is one.
    """

    name: str
    file: Path
    digest: str
    mask: np.ndarray | None = None


def write_examples(folder: str | Path, class_names: list[str]) -> list[Example]:
    """Write example photos that suit models with these classes, as PNG files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not set(CLASSES) <= set(class_names):
        return [_write_example(name, sample_photo(photo), None, folder) for name, photo in _PHOTOS.items()]
    found = []
    for number, (label, background) in enumerate(_SCENES):
        scene = make_scene(label, background, np.random.default_rng([11, number]), part="test")
        where = "its usual background" if label == background else "another background"
        name = f"{CLASSES[label]} on {where} ({BACKGROUNDS[background]})"
        found.append(_write_example(name, Image.fromarray(scene.image), scene.mask, folder))
    return found


def _write_example(name: str, photo: Image.Image, mask: np.ndarray | None, folder: Path) -> Example:
    file = folder / f"{name.replace(' ', '-').replace('(', '').replace(')', '')}.png"
    photo.convert("RGB").save(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Example(name, file, digest, None if mask is None else (mask > 0).astype(np.float32))
