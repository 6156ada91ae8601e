"""Pictures: relevance laid over photos, outlines of masks, figures of titled pictures, pictures as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from robustvit.common.errors import UserError, printable
from robustvit.common.files import new_file

_LINE, _EDGE = (255, 235, 0), (0, 0, 0)  # far apart in brightness: one of them is visible on any photo
_SIDE = 280


def outline_mask(image: Tensor, mask: Tensor, side: int = _SIDE) -> np.ndarray:
    """Draw the outline of a mask, ``(1, H, W)``, on its image, ``(3, H, W)``.

    The result is uint8, ``(h, w, 3)``, with a longer side of ``side`` pixels.
    """
    photo = fit_side(Image.fromarray(pixels_of(image)), side)
    cover = Image.fromarray(mask[0].numpy()).resize(photo.size, Image.Resampling.BILINEAR)
    return draw_outline(np.array(photo), np.asarray(cover) > 0.5)


def draw_outline(pixels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Draw the border of a region, bool ``(H, W)``, into a picture, uint8 ``(H, W, 3)``; returns the picture."""
    line = binary_dilation(inside) & ~binary_erosion(inside)
    pixels[binary_dilation(line)] = _EDGE
    pixels[line] = _LINE
    return pixels


def jpeg_url(pixels: np.ndarray, side: int = _SIDE, *, quality: int = 85) -> str:
    """Encode a picture, uint8 ``(H, W, 3)``, as the data URL of a JPEG whose longer side has ``side`` pixels."""
    target = io.BytesIO()
    picture = fit_side(Image.fromarray(pixels), side)
    picture.save(target, "JPEG", quality=quality, optimize=True, subsampling=0)  # thin coloured lines stay sharp
    return data_url(target.getvalue(), "jpeg")


def data_url(content: bytes, format: str) -> str:
    """Return the data URL of a picture file, ``png`` or ``jpeg``."""
    return f"data:image/{format};base64,{base64.b64encode(content).decode()}"


def fit_side(picture: Image.Image, side: int) -> Image.Image:
    """Scale a picture up or down so that its longer side has ``side`` pixels."""
    scale = side / max(picture.size)
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def pixels_of(image: Tensor) -> np.ndarray:
    """Convert an image, ``(3, H, W)`` in [0, 1], to uint8 ``(H, W, 3)``."""
    return (255 * image.permute(1, 2, 0).clamp(0, 1)).round().to(torch.uint8).cpu().numpy()


def overlay(image: Tensor, relevance_map: Tensor, opacity: float = 0.55) -> np.ndarray:
    """Overlay a relevance map on an image as a heat map.

    Args:
        image: ``(3, H, W)`` in [0, 1].
        relevance_map: ``(1, H, W)`` in [0, 1], as ``relevance`` returns it for one image.
        opacity: of the colours, 0 to 1.

    Returns:
        uint8 ``(H, W, 3)``.

    Raises:
        UserError: other shapes.

    Example:
        overlay(image, relevance(model, image))
    """
    size = tuple(image.shape[-2:])
    if tuple(image.shape) != (3, *size) or tuple(relevance_map.shape) != (1, *size):
        raise UserError(
            f"expected an image (3, H, W) and its map (1, H, W), got {tuple(image.shape)} and "
            f"{tuple(relevance_map.shape)}: give one image and the map of that image"
        )
    colours = matplotlib.colormaps["inferno"](relevance_map[0].detach().cpu().numpy())[..., :3]
    photo = image.detach().cpu().permute(1, 2, 0).numpy()
    return (255 * ((1 - opacity) * photo + opacity * colours)).round().clip(0, 255).astype(np.uint8)


def figure_of_rows(
    rows: Sequence[Sequence[tuple[str, np.ndarray]]], path: str | Path, *, dpi: int = 110, legend: str = ""
) -> None:
    """Write rows of equally many titled pictures, uint8 or [0, 1] arrays, 2.4 inches wide, as one PNG.

    ``legend``: meaning of the colours of relevance maps; a bar of them is drawn below.
    """
    across = len(rows[0])
    figure = Figure(figsize=(2.4 * across, 2.75 * len(rows) + 0.5 * bool(legend)), dpi=dpi, layout="constrained")
    grid = figure.subplots(len(rows), across, squeeze=False, subplot_kw={"xticks": [], "yticks": []})  # half the time
    for axes, pictures in zip(grid, rows, strict=True):
        for axis, (title, picture) in zip(axes, pictures, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1 if picture.ndim == 2 else None)
            axis.set_title(printable(title), fontsize=9, parse_math=False)
            axis.set_axis_off()
    if legend:
        colours = ScalarMappable(Normalize(0, 1), matplotlib.colormaps["inferno"])
        key = figure.colorbar(
            colours, ax=grid.ravel().tolist(), location="bottom", fraction=0.06, aspect=40, shrink=0.8
        )
        key.set_ticks([0, 1], labels=["least", "most"], fontsize=8)
        key.set_label(legend, fontsize=8, labelpad=-8)
        key.outline.set_visible(False)
    with new_file(path) as file:
        figure.savefig(file, format="png")
