"""Scenes that the demo's base model is pretrained on: any symbol on any texture, with a name for every patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustvit.data.embedded.scenes import SIZE, compose_scene
from robustvit.data.embedded.stickers import EXTRA_SYMBOLS, SYMBOLS
from robustvit.data.embedded.textures import EXTRA_TEXTURES, TEXTURES

__all__ = [
    "ALL_SYMBOLS",
    "ALL_TEXTURES",
    "GRID",
    "MEAN",
    "MIXED_PATCH",
    "PATCH",
    "STD",
    "Range",
    "normalized",
    "scenes",
]

PATCH = 14
GRID = SIZE // PATCH
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ALL_SYMBOLS = (*SYMBOLS.values(), *EXTRA_SYMBOLS)
ALL_TEXTURES = (*TEXTURES, *EXTRA_TEXTURES)
MIXED_PATCH = -100  # cross_entropy ignores it


@dataclass(frozen=True)
class Range:
    """What random scenes are drawn from.

    Attributes:
        symbols: how many of ``ALL_SYMBOLS``, from the front.
        area: smallest and largest share of the image that a symbol covers.
        center: smallest and largest coordinate of its centre.
        angle: largest turn in degrees, either way.
        covered: a patch carries the symbol's name where more than this share of it is covered.
    """

    symbols: int
    area: tuple[float, float]
    center: tuple[float, float]
    angle: float
    covered: float


def normalized(images: Tensor) -> Tensor:
    """``(B, H, W, 3)`` uint8 to ``(B, 3, H, W)`` with ImageNet's statistics."""
    floats = images.permute(0, 3, 1, 2).float() / 255
    return (floats - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def scenes(pairs: Sequence[tuple[int, int]], ranges: Range, rng: np.random.Generator) -> dict[str, Tensor]:
    """Draw one scene for each pair of a symbol and a texture.

    Returns:
        ``images (N, H, W, 3)`` uint8, ``symbol (N,)``, ``texture (N,)`` and ``patches (N, GRID * GRID)``: the
        symbol's index, or the texture's after all symbols, or ``MIXED_PATCH``.
    """
    images, patches = [], []
    for symbol, texture in pairs:
        area, angle = rng.uniform(*ranges.area), rng.uniform(-ranges.angle, ranges.angle)
        x, y = rng.uniform(*ranges.center, size=2)
        where = {"center": (x, y), "area": area, "angle": angle}
        image, mask = compose_scene(ALL_SYMBOLS[symbol], ALL_TEXTURES[texture], rng, **where)
        covered = (mask > 0).reshape(GRID, PATCH, GRID, PATCH).mean(axis=(1, 3)).ravel()
        ground = np.where(covered < 0.1, len(ALL_SYMBOLS) + texture, MIXED_PATCH)
        images.append(image)
        patches.append(np.where(covered > ranges.covered, symbol, ground))
    symbols, textures = zip(*pairs, strict=True)
    return {
        "images": torch.from_numpy(np.stack(images)),
        "symbol": torch.tensor(symbols),
        "texture": torch.tensor(textures),
        "patches": torch.from_numpy(np.stack(patches)).long(),
    }
