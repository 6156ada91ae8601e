"""Objects cut out of photos and placed on other backgrounds, after SI-Score (Djolonga et al. 2021, its generator)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Intervention

# Side of the square images in pixels, and the least share of the box that must lie inside them, as in the set.
SIZES: dict[Intervention, int] = {"si-size": 512, "si-rotation": 512, "si-location": 500}
MIN_INSIDE: dict[Intervention, float] = {"si-size": 0.95, "si-rotation": 0.95, "si-location": 0.0}


@dataclass(frozen=True)
class Placement:
    """Position and size of an object on a background.

    Attributes:
        x: centre of the object's box as a share of the background's width, from the left.
        y: the same of its height, from the top.
        area: area of the box, before rotation, as a share of the background's.
        angle: degrees, counter-clockwise.
    """

    x: float
    y: float
    area: float
    angle: float


def grid(kind: Intervention) -> list[Placement]:
    """Return the placements of an SI-Score set: 100 of ``si-size``, 72 of ``si-rotation``, 441 of ``si-location``."""
    if kind == "si-size":
        return [Placement(0.5, 0.5, step / 100, 0) for step in range(1, 101)]
    if kind == "si-rotation":
        return [Placement(0.5, 0.5, area, angle) for area in (0.2, 0.5, 0.8, 1.0) for angle in range(1, 361, 20)]
    expect_one_of("the intervention", kind, SIZES)
    return [Placement(column / 20, row / 20, 0.2, 0) for column in range(21) for row in range(21)]


def cut_out(photo: Image.Image, mask: np.ndarray) -> Image.Image:
    """Cut the object out of a photo: RGBA, cropped to the box of the mask's values above one half.

    The mask, ``(H, W)`` in [0, 1] and of the photo's size, is the alpha channel.
    """
    if mask.shape != (photo.height, photo.width):
        raise UserError(
            f"expected a mask of the photo's {photo.width} x {photo.height} pixels, got "
            f"{' x '.join(map(str, mask.shape[::-1]))}: make them one size"
        )
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        raise UserError(
            "empty mask: no pixel above one half is on the object; draw it, or move photo and mask elsewhere"
        )
    alpha = Image.fromarray((255 * mask.clip(0, 1)).round().astype(np.uint8))
    cutout = photo.convert("RGB")
    cutout.putalpha(alpha)
    return cutout.crop((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))


def square_background(photo: Image.Image, size: int) -> Image.Image:
    """Return the largest square from a photo's top left corner, resized (bilinear) to ``size`` pixels per side; RGB."""
    side = min(photo.size)
    return photo.convert("RGB").crop((0, 0, side, side)).resize((size, size), Image.Resampling.BILINEAR)


def place(cutout: Image.Image, background: Image.Image, placement: Placement) -> tuple[Image.Image, float]:
    """Place an object on a background: scaled (bilinear), then rotated (bicubic), then pasted by its alpha.

    The scale of a ``w`` x ``h`` cut-out is ``sqrt(area * W * H / (w * h))``. As in the set's generator, sizes and
    positions are cut to whole pixels.

    Returns:
        RGB image of the background's size, and the share of the box of the scaled and rotated cut-out that lies
        inside it.
    """
    turned = cutout.resize(_scale_size(cutout.size, background.size, placement.area), Image.Resampling.BILINEAR)
    if placement.angle:
        turned = turned.rotate(placement.angle, Image.Resampling.BICUBIC, expand=True)
    left, top = _find_corner(turned.size, background.size, placement)
    image = background.convert("RGB")
    image.paste(turned, (left, top), turned)
    return image, _measure_inside(turned.size, (left, top), background.size)


def share_inside(cutout: tuple[int, int], background: tuple[int, int], placement: Placement) -> float:
    """Return what ``place`` would return for a cut-out's box; both sizes are (width, height) in pixels."""
    box = _turn_size(_scale_size(cutout, background, placement.area), placement.angle)
    return _measure_inside(box, _find_corner(box, background, placement), background)


def _scale_size(cutout: tuple[int, int], background: tuple[int, int], area: float) -> tuple[int, int]:
    width, height = cutout
    scale = math.sqrt(area * background[0] * background[1] / (width * height))
    # A thin object's short side stays a pixel; 1e-9 keeps numbers that are whole but for rounding: 0.58 * 100.
    return max(1, int(width * scale + 1e-9)), max(1, int(height * scale + 1e-9))


def _find_corner(box: tuple[int, int], background: tuple[int, int], placement: Placement) -> tuple[int, int]:
    left = int(placement.x * background[0] + 1e-9) - box[0] / 2
    top = int(placement.y * background[1] + 1e-9) - box[1] / 2
    return int(left), int(top)


def _measure_inside(box: tuple[int, int], corner: tuple[int, int], background: tuple[int, int]) -> float:
    share = 1.0
    for length, start, room in zip(box, corner, background, strict=True):
        share *= max(0, min(start + length, room) - max(start, 0)) / length
    return share


def _turn_size(size: tuple[int, int], angle: float) -> tuple[int, int]:
    """Return the size of Pillow's expanded canvas of a rotated image."""
    if not angle % 360:
        return size
    return Image.new("1", size).rotate(angle, expand=True).size
