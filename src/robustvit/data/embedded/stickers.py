"""Objects of the embedded benchmark: symbols of matplotlib's DejaVu font, drawn as stickers with a pale rim."""

from __future__ import annotations

import colorsys
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

SYMBOLS: dict[str, str] = {
    "heart": "♥",
    "star": "★",
    "club": "♣",
    "umbrella": "☂",
    "airplane": "✈",
    "telephone": "☎",
    "knight": "♞",
    "music": "♫",
    "anchor": "⚓",
    "sun": "☀",
}
# For pretraining only: no class of the benchmark.
EXTRA_SYMBOLS = "♠✂☁☕⚑☘⚘☾✿❄♻⚙☯☮⚡✏✉☠⚖⚔☺♛♜☞❀♿"

_FONT_SIZE = 160
_RIM = 10


@cache
def _draw_silhouettes(symbol: str) -> tuple[Image.Image, Image.Image]:
    """Return the ink of a symbol and its silhouette with the rim, two grey images of one size."""
    font = ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _FONT_SIZE)
    inks = []
    for stroke in (0, _RIM):
        canvas = Image.new("L", (3 * _FONT_SIZE, 3 * _FONT_SIZE))
        # The anchor keeps the baseline in one place, or the stroked symbol would be drawn elsewhere than the plain one.
        where = (1.5 * _FONT_SIZE, 2 * _FONT_SIZE)
        ImageDraw.Draw(canvas).text(where, symbol, font=font, fill=255, stroke_width=stroke, anchor="ms")
        inks.append(canvas)
    box = inks[1].getbbox()
    return inks[0].crop(box), inks[1].crop(box)


def draw_sticker(symbol: str, rng: np.random.Generator, *, pixels: float, angle: float) -> Image.Image:
    """Draw a symbol as a sticker in a random colour; return an RGBA image that fits it closely.

    Args:
        symbol: one character.
        rng: source of all randomness.
        pixels: number of pixels that the sticker covers, rim included.
        angle: degrees, counter-clockwise.
    """
    ink, outline = _draw_silhouettes(symbol)
    hue, saturation, value = rng.random(), rng.uniform(0.65, 0.95), rng.uniform(0.55, 0.9)
    colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    drawn = Image.composite(Image.new("RGB", ink.size, colour), Image.new("RGB", ink.size, "#fdfaf2"), ink)
    drawn.putalpha(outline)
    drawn = drawn.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    alpha = drawn.getchannel("A")
    scale = float(np.sqrt(pixels / (np.asarray(alpha) >= 128).sum()))
    drawn = drawn.crop(alpha.getbbox())
    width, height = (max(1, round(side * scale)) for side in drawn.size)
    return drawn.resize((width, height), Image.Resampling.LANCZOS)
