"""Scenes of the embedded benchmark: a sticker on a photographic texture, with the sticker's exact mask.

Every class has a background of its own. In training the two go together, so a model can get away with looking at the
background; swapping the backgrounds, or moving, scaling and turning the object (as in SI-Score), shows whether it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.data.embedded.stickers import SYMBOLS, draw_sticker
from robustvit.data.embedded.textures import TEXTURES, Part, crop_texture

CLASSES: tuple[str, ...] = tuple(SYMBOLS)
BACKGROUNDS: tuple[str, ...] = tuple(TEXTURES)
SIZE = 112

Point = tuple[float, float]

# Shifted tests after SI-Score, as keywords of ``write_split``: the scenes of a class go through the values in turn.
SHIFTS: dict[str, dict[str, Any]] = {
    "location": {"center": [(x, y) for y in (0.2, 0.5, 0.8) for x in (0.2, 0.5, 0.8) if (x, y) != (0.5, 0.5)]},
    "size": {"area": [0.03, 0.05, 0.25, 0.35]},
    "rotation": {"angle": [float(angle) for angle in range(45, 360, 45)]},
}


@dataclass(frozen=True)
class Scene:
    """A labelled, masked image.

    Attributes:
        image: ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` uint8, 255 on the object and 0 elsewhere.
        label: index into ``CLASSES``.
        background: index into ``BACKGROUNDS``; equal to ``label`` where background and class go together.
    """

    image: np.ndarray
    mask: np.ndarray
    label: int
    background: int


def compose_scene(
    symbol: str,
    texture: str,
    rng: np.random.Generator,
    *,
    center: Point | None = None,
    area: float | None = None,
    angle: float | None = None,
    part: Part = "all",
) -> tuple[np.ndarray, np.ndarray]:
    """Draw any symbol on any texture.

    Args:
        symbol: one character.
        texture: name of a texture.
        rng: source of all randomness.
        center: column and row of the object's centre as shares of the side, 0 to 1; near the middle when left out.
        area: share of the image that the object covers, before the frame cuts it; 0.08 to 0.2 when left out.
        angle: degrees, counter-clockwise; within 20 of upright when left out.
        part: half of the texture photo to cut from.

    Returns:
        Image ``(SIZE, SIZE, 3)`` and mask ``(SIZE, SIZE)``, both uint8.
    """
    if area is not None and not 0 < area < 1:
        raise UserError(f"expected area as a share of the image between 0 and 1, got {area}")
    area = rng.uniform(0.08, 0.2) if area is None else area
    angle = rng.uniform(-20, 20) if angle is None else angle
    drawn = draw_sticker(symbol, rng, pixels=area * SIZE**2, angle=angle)
    x, y = rng.uniform(0.3, 0.7, size=2) if center is None else center
    # The texture is drawn last, so that one seed gives the same object on any texture.
    scene = crop_texture(texture, rng, SIZE, part=part)
    corner = (round(x * SIZE - drawn.width / 2), round(y * SIZE - drawn.height / 2))
    scene.paste(drawn, corner, drawn)
    alpha = Image.new("L", scene.size)
    alpha.paste(drawn.getchannel("A"), corner)
    return np.asarray(scene), np.where(np.asarray(alpha) >= 128, 255, 0).astype(np.uint8)


class Placing(TypedDict, total=False):
    """Keywords of ``compose_scene`` that place the object."""

    center: Point | None
    area: float | None
    angle: float | None


def make_scene(
    label: int, background: int, rng: np.random.Generator, *, part: Part = "all", **placing: Unpack[Placing]
) -> Scene:
    """Draw one scene of the benchmark.

    Args:
        label: index into ``CLASSES``.
        background: index into ``BACKGROUNDS``.
        rng: source of all randomness.
        part: as in ``compose_scene``, as is ``placing``.
    """
    if not (0 <= label < len(CLASSES) and 0 <= background < len(BACKGROUNDS)):
        raise UserError(f"expected label and background below {len(CLASSES)}, got {label} and {background}")
    image, mask = compose_scene(SYMBOLS[CLASSES[label]], BACKGROUNDS[background], rng, part=part, **placing)
    return Scene(image, mask, label, background)


def write_split(
    folder: str | Path,
    count_per_class: int,
    *,
    seed: int,
    swapped: bool = False,
    correlation: float = 1.0,
    part: Part = "all",
    **turns: Sequence[Any],
) -> None:
    """Write scenes of every class as ``images/<class>/<nnn>.png`` and ``masks/<class>/<nnn>.png``.

    A seed always gives the same files, and the same objects with ``swapped`` as without.

    Args:
        folder: to write to.
        count_per_class: number of scenes of each class.
        seed: of all randomness.
        swapped: give every scene the background of another class, drawn at random.
        correlation: share of scenes on the background of their own class, in expectation; ``swapped`` sets it to 0.
        part: half of each texture photo to cut from: ``train``, ``test`` or ``all``.
        turns: ``center``, ``area`` or ``angle`` that the scenes of a class go through in turn; see ``SHIFTS``.
    """
    if not 0 <= correlation <= 1:
        raise UserError(f"expected correlation between 0 and 1, got {correlation}")
    for label, name in enumerate(CLASSES):
        images, masks = Path(folder, "images", name), Path(folder, "masks", name)
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        for index in range(count_per_class):
            choice, drawing = np.random.default_rng([seed, label, index]).spawn(2)
            background = label
            if choice.random() >= (0.0 if swapped else correlation):
                background = int((label + choice.integers(1, len(BACKGROUNDS))) % len(BACKGROUNDS))
            shift = {name: values[index % len(values)] for name, values in turns.items()}
            scene = make_scene(label, background, drawing, part=part, **shift)
            Image.fromarray(scene.image).save(images / f"{index:03d}.png")
            Image.fromarray(scene.mask).save(masks / f"{index:03d}.png")
