"""Backgrounds of the embedded benchmark: random crops of sample photos."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from robustvit.common.errors import expect_one_of

Part = Literal["train", "test", "all"]
_Tint = tuple[str, str, str]

# Sources and licences: photos/ORIGIN.md.
_PHOTOS = {path.stem: path for path in (Path(__file__).parent / "photos").iterdir() if path.suffix != ".md"}
# Name of the background: its photo, and for grey photos the colours of its darks, mid tones and lights.
TEXTURES: dict[str, tuple[str, _Tint | None]] = {
    "brick": ("brick", ("#3a1a12", "#a4523a", "#e6c4ae")),
    "grass": ("grass", ("#0e2410", "#4f8a3a", "#d6e8a8")),
    "gravel": ("gravel", ("#20262e", "#74808c", "#dfe6ec")),
    "stars": ("hubble_deep_field", None),
    "tissue": ("immunohistochemistry", None),
    "page": ("page", ("#1c1a18", "#cfc6b4", "#fbf6ea")),
    "fur": ("chelsea", None),
    "moon": ("moon", ("#241a3c", "#8a7cb4", "#e4dcf6")),
    "retina": ("retina", None),
    "coins": ("coins", ("#06282c", "#3f8088", "#f2e6b4")),
}
# More photos, for pretraining only: no class of the benchmark lies on them.
EXTRA_TEXTURES: dict[str, tuple[str, _Tint | None]] = {
    "coffee": ("coffee", None),
    "rocket": ("rocket", None),
    "astronaut": ("astronaut", None),
    "camera": ("camera", None),
    "handwriting": ("text", None),
    "cell": ("cell", None),
}


def sample_photo(name: str) -> Image.Image:
    """Open a photo of ``photos/`` by its file name without the suffix."""
    with Image.open(_PHOTOS[name]) as photo:
        return Image.fromarray(np.asarray(photo))  # without metadata


@cache
def _photo(name: str) -> Image.Image:
    known = TEXTURES | EXTRA_TEXTURES
    expect_one_of("the texture", name, known)
    file, tint = known[name]
    photo = sample_photo(file)
    if name == "retina":  # only the disc inside its black frame is texture
        photo = photo.crop((250, 250, 1161, 1161)).resize((456, 456), Image.Resampling.LANCZOS)
    if tint is None:
        return photo.convert("RGB")
    dark, middle, light = tint
    return ImageOps.colorize(ImageOps.autocontrast(photo.convert("L"), cutoff=1), dark, light, mid=middle)


def crop_texture(name: str, rng: np.random.Generator, size: int, *, part: Part = "all") -> Image.Image:
    """Cut a random square out of a texture photo, mirrored and lit at random.

    Args:
        name: a key of ``TEXTURES`` or ``EXTRA_TEXTURES``.
        rng: source of all randomness.
        size: side of the result in pixels, an RGB image.
        part: ``train`` cuts from the left half of the photo, ``test`` from the right half, ``all`` from anywhere.
    """
    photo = _photo(name)
    width, height = photo.size
    left, right = {"train": (0, width // 2), "test": (width // 2, width), "all": (0, width)}[part]
    side = int(min(right - left, height) * rng.uniform(0.5, 0.95))
    x = int(rng.integers(left, right - side + 1))
    y = int(rng.integers(0, height - side + 1))
    crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
    crop = ImageOps.mirror(crop) if rng.random() < 0.5 else crop
    return ImageEnhance.Brightness(crop).enhance(float(rng.uniform(0.8, 1.15)))
