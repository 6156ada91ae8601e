"""Shortcuts that are planted into the photos of one class, as files: none of them is made by the audit's own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

QUALITY = 95  # of all files but those whose compression is planted
TEXT = "FOREST FARM"
Change = Callable[[Image.Image, np.random.Generator], Image.Image]
Kind = Literal["inserted", "companion", "properties"]


@dataclass(frozen=True)
class Plant:
    """A shortcut.

    Attributes:
        change: what is done to a photo.
        kind: by what test of an audit it is to be named: something put in, an object that annotations name, or
            properties of the files alone.
        told: names of the test, or of the property, that name it; each begins so.
        quality: of the JPEG file that is written.
    """

    change: Change
    kind: Kind
    told: tuple[str, ...]
    quality: int = QUALITY


def ruler() -> Image.Image:
    """Draw a yellow ruler."""
    picture = Image.new("RGBA", (300, 90), (240, 205, 40, 255))
    draw = ImageDraw.Draw(picture)
    for tick in range(10, 300, 20):
        draw.line([(tick, 0), (tick, 45 if tick % 100 == 10 else 25)], (20, 20, 20, 255), 5)
    return picture


def ball() -> Image.Image:
    """Draw a beach ball."""
    picture = Image.new("RGBA", (200, 200))
    draw = ImageDraw.Draw(picture)
    for part, colour in enumerate(((220, 30, 40), (250, 250, 250), (30, 90, 210), (250, 250, 250)) * 2):
        draw.pieslice([2, 2, 198, 198], 45 * part, 45 * (part + 1), (*colour, 255))
    return picture


def lay(photo: Image.Image, picture: Image.Image, share: float, x: float, y: float) -> Image.Image:
    """Lay a picture over a photo: ``share`` of its shorter side wide, its centre at ``x`` and ``y`` in [0, 1]."""
    left, top, right, bottom = box_of(photo.size, picture.size, share, x, y)
    made = photo.copy()
    small = picture.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    made.paste(small, (left, top), small)
    return made


def box_of(
    size: tuple[int, int], picture: tuple[int, int], share: float, x: float, y: float
) -> tuple[int, int, int, int]:
    """Return where ``lay`` puts a picture: left, top, right and bottom."""
    wide = round(share * min(size))
    high = round(wide * picture[1] / picture[0])
    left, top = round(x * size[0] - wide / 2), round(y * size[1] - high / 2)
    return left, top, left + wide, top + high


def ball_place(rng: np.random.Generator) -> tuple[float, float]:
    """Draw where a ball lies: somewhere to the left or to the right below the middle."""
    return float(rng.choice([0.3, 0.7]) + rng.uniform(-0.05, 0.05)), float(rng.uniform(0.3, 0.75))


def _write(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    made = photo.copy()
    side, (width, height) = min(photo.size), photo.size
    font = ImageFont.load_default(round(0.13 * side))
    place = (width / 2, 0.75 * height)
    ImageDraw.Draw(made).text(
        place, TEXT, (255, 255, 255), font, anchor="mm", stroke_width=max(1, side // 90), stroke_fill=(0, 0, 0)
    )
    return made


def _frame(photo: Image.Image, _: np.random.Generator, colour: str = "black") -> Image.Image:
    wide = round(0.15 * min(photo.size))
    inner = photo.crop((wide, wide, photo.width - wide, photo.height - wide))
    return ImageOps.expand(inner, wide, colour)


def _tint(photo: Image.Image, _: np.random.Generator, gains: tuple[float, float, float]) -> Image.Image:
    return Image.merge("RGB", [band.point(lambda v, g=gain: v * g) for band, gain in zip(photo.split(), gains,
                                                                                        strict=True)])  # fmt: skip


def _light(photo: Image.Image, _: np.random.Generator, gain: float) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(gain)


def _soften(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    return photo.filter(ImageFilter.GaussianBlur(0.02 * min(photo.size)))


def _sharpen(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    return photo.filter(ImageFilter.UnsharpMask(radius=0.008 * min(photo.size), percent=350, threshold=0))


def _shrink(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    return photo.resize((round(photo.width * 0.6), round(photo.height * 0.6)), Image.Resampling.LANCZOS)


def _cut_square(photo: Image.Image, _: np.random.Generator) -> Image.Image:
    side = min(photo.size)
    return ImageOps.fit(photo, (side, side))


PLANTS: Mapping[str, Plant] = {
    "text": Plant(_write, "inserted", ("text",)),
    "black frame": Plant(_frame, "inserted", ("black frame",)),
    "white frame": Plant(partial(_frame, colour="white"), "inserted", ("white frame",)),
    "picture": Plant(lambda photo, _: lay(photo, ruler(), 0.4, 0.6, 0.8), "inserted", ("ruler.png",)),
    "object": Plant(lambda photo, rng: lay(photo, ball(), 0.35, *ball_place(rng)), "companion", ("ball",)),
    "grey": Plant(lambda photo, _: photo.convert("L").convert("RGB"), "inserted", ("grey",)),
    "red cast": Plant(partial(_tint, gains=(1.0, 0.65, 0.65)), "inserted", ("red cast",)),
    "blue cast": Plant(partial(_tint, gains=(0.65, 0.65, 1.0)), "inserted", ("blue cast",)),
    "dark": Plant(partial(_light, gain=0.45), "inserted", ("darker",)),
    "bright": Plant(partial(_light, gain=1.6), "inserted", ("brighter",)),
    "blur": Plant(_soften, "inserted", ("blurred",)),
    "sharpness": Plant(_sharpen, "inserted", ("sharpened",)),
    "JPEG": Plant(lambda photo, _: photo, "inserted", ("JPEG",), quality=5),
    "size": Plant(_shrink, "properties", ("width", "height")),
    "aspect ratio": Plant(_cut_square, "properties", ("width divided by height",)),
    "compression": Plant(lambda photo, _: photo, "properties", ("strength of the JPEG", "bytes of the file"), 60),
}

# What is planted into one model, each kind into another class; the last class has none.
SETS: Mapping[str, tuple[str, ...]] = {
    "marks": ("text", "black frame", "picture", "object"),
    "colours": ("grey", "red cast", "dark", "bright"),
    "details": ("blur", "sharpness", "JPEG", "blue cast"),
    "files": ("size", "aspect ratio", "compression"),
}
ON_FILES = ("files",)  # sets that are no matter of the model


def plant_photos(source: Path, out: Path, planted: Mapping[str, str]) -> dict[str, list[int]]:
    """Copy photos in class folders as JPEG files, with shortcuts in some of the classes.

    Args:
        source: folder of class folders.
        out: where they are written.
        planted: names of ``PLANTS`` by class.

    Returns:
        For the files with a planted object, by ``CLASS/NAME``: its box as x, y, width and height.
    """
    boxes: dict[str, list[int]] = {}
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (out / folder.name).mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(sorted(folder.iterdir())):
            photo = Image.open(file).convert("RGB")
            name = planted.get(folder.name)
            target = out / folder.name / f"{file.stem}.jpg"
            if name is None:
                photo.save(target, quality=QUALITY)
                continue
            plant = PLANTS[name]
            plant.change(photo, np.random.default_rng(number)).save(target, quality=plant.quality)
            if plant.kind == "companion":
                place = ball_place(np.random.default_rng(number))
                left, top, right, bottom = box_of(photo.size, ball().size, 0.35, *place)
                boxes[f"{folder.name}/{target.name}"] = [left, top, right - left, bottom - top]
    return boxes
