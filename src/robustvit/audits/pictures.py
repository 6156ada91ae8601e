"""Pictures of an audit: the worst photos with mask, relevance and most harmful background, and thumbnails."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from robustvit.audits.measures import AuditedPhoto
from robustvit.classifier import Classifier
from robustvit.data.batches import SwappedPhotos
from robustvit.data.held_photos import HeldPhotos
from robustvit.panels import overlay
from robustvit.relevance_maps import relevance

__all__ = ["WORST_RULE", "Tile", "choose_worst", "inlined", "outlined", "thumbnails", "worst_tiles"]

WORST_RULE = (
    "Photos that are answered wrong as they are, or whose object some background takes over; first those with the "
    "least relevance inside the mask, measured against the mask's share of the frame."
)
_LINE, _EDGE = (255, 210, 0), (20, 20, 20)
_SIDE, _THUMBNAIL, _QUALITY = 280, 96, 85


@dataclass(frozen=True)
class Tile:
    """A picture as a data address, and what it is, in words."""

    source: str
    kind: str


def choose_worst(photos: Sequence[AuditedPhoto], count: int) -> list[int]:
    """Indices of up to ``count`` photos, worst first, by ``WORST_RULE``."""
    found = [
        (photo.values["energy"] / photo.values["uniform"], index)
        for index, photo in enumerate(photos)
        if photo.values.get("uniform") and (photo.plain.predicted != photo.label or photo.turned)
    ]
    return [index for _, index in sorted(found)[:count]]


def worst_tiles(
    photos: HeldPhotos,
    model: Classifier,
    audited: Sequence[AuditedPhoto],
    indices: Sequence[int],
    *,
    method: str = "gae",
    batch_size: int = 32,
    device: str | torch.device = "cpu",
) -> list[list[Tile]]:
    """Pictures of some photos as a model sees them: ``mask`` (its outline), ``relevance`` (of the predicted class) and,
    where one was tried, ``harmful`` (the object on the background on which its own class is least probable).

    Args:
        photos: prepared for ``model``.
        model: on ``device``.
        audited: what was measured on the photos.
        indices: which of them.
        method: relevance method.
        batch_size: images at a time.
        device: where the model is.
    """
    rows = []
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        items = [photos[index] for index in part]
        with torch.no_grad():
            maps = relevance(model, torch.stack([item["image"] for item in items]).to(device), method=method)
        for index, item, found in zip(part, items, maps, strict=True):
            tiles = [Tile(inlined(outlined(item["image"], item["mask"])), "mask")]
            tiles.append(Tile(inlined(overlay(item["image"], found)), "relevance"))
            harmful = audited[index].most_harmful
            if harmful is not None:
                swapped = SwappedPhotos(photos, [(index, harmful.donor)])[0]["image"]
                tiles.append(Tile(inlined(_pixels(swapped)), "harmful"))
            rows.append(tiles)
    return rows


def outlined(image: Tensor, mask: Tensor) -> np.ndarray:
    """An image, uint8 ``(H, W, 3)``, enlarged, with the outline of its mask; arguments as items of ``HeldPhotos``."""
    photo = _fitted(Image.fromarray(_pixels(image)), _SIDE)
    cover = Image.fromarray(mask[0].numpy()).resize(photo.size, Image.Resampling.BILINEAR)
    inside = np.asarray(cover) > 0.5
    line = binary_dilation(inside) & ~binary_erosion(inside)
    pixels = np.array(photo)
    pixels[binary_dilation(line)] = _EDGE
    pixels[line] = _LINE
    return pixels


def thumbnails(photos: HeldPhotos, indices: Sequence[int]) -> dict[int, str]:
    """Small pictures of some photos as data addresses, by index."""
    return {index: inlined(_pixels(photos[index]["image"]), _THUMBNAIL) for index in dict.fromkeys(indices)}


def inlined(pixels: np.ndarray, side: int = _SIDE) -> str:
    """A picture, uint8 ``(H, W, 3)``, as a data address, its longer side ``side`` pixels."""
    target = io.BytesIO()
    _fitted(Image.fromarray(pixels), side).save(target, "JPEG", quality=_QUALITY, optimize=True, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _pixels(image: Tensor) -> np.ndarray:
    return (255 * image.permute(1, 2, 0).clamp(0, 1)).round().to(torch.uint8).cpu().numpy()
