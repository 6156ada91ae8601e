"""The picture of sufficient input subsets: rows of titled images whose single pixels stay visible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from robustvit.common.errors import printable
from robustvit.common.files import new_file

_INCHES = 2.4  # width of a picture, for the size of the letters
_LEAST = 336  # pixels that the longer side of a picture is drawn with, about


def draw_rows(rows: Sequence[Sequence[tuple[str, Tensor]]], path: str | Path) -> None:
    """Write rows of pictures as one PNG; each of their pixels becomes a whole square of pixels, none is blurred.

    Args:
        rows: title (three lines at most) and picture, ``(3, H, W)`` in [0, 1], all of one size.
        path: of the PNG.
    """
    height, width = rows[0][0][1].shape[-2:]
    zoom = max(1, round(_LEAST / max(height, width)))
    height, width = zoom * height, zoom * width
    dots = round(width / _INCHES)
    gap, title = round(0.12 * dots), round(0.62 * dots)
    whole = (gap + max(map(len, rows)) * (width + gap), gap + len(rows) * (title + height + gap))
    figure = Figure(figsize=(whole[0] / dots, whole[1] / dots), dpi=dots)
    for row, pictures in enumerate(rows):
        bottom = whole[1] - (row + 1) * (title + height + gap)
        for column, (words, picture) in enumerate(pictures):
            left = gap + column * (width + gap)
            pixels = (255 * picture.permute(1, 2, 0).numpy()).round().astype(np.uint8)
            figure.figimage(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1), left, bottom, origin="upper")
            place = ((left + width / 2) / whole[0], (bottom + height + 0.05 * dots) / whole[1])
            figure.text(*place, printable(words), ha="center", va="bottom", fontsize=8, parse_math=False)
    with new_file(path) as file:
        figure.savefig(file, format="png")
