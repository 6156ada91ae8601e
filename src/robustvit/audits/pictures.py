"""Pictures of an audit: the worst photos with mask, relevance and most harmful background, and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from robustvit.audits.measures import AuditedPhoto
from robustvit.common.pictures import jpeg_url, outline_mask, overlay, pixels_of
from robustvit.data.batches import SwappedPhotos
from robustvit.data.held_photos import HeldPhotos
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier

WORST_RULE = (
    "Photos that are answered wrong as they are, or whose object some background takes over; first those with the "
    "least relevance inside the mask, measured against the mask's share of the frame."
)
_THUMBNAIL = 96


@dataclass(frozen=True)
class Tile:
    """A picture as a data URL, and what it is, in words."""

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
            tiles = [Tile(jpeg_url(outline_mask(item["image"], item["mask"])), "mask")]
            tiles.append(Tile(jpeg_url(overlay(item["image"], found)), "relevance"))
            harmful = audited[index].most_harmful
            if harmful is not None:
                swapped = SwappedPhotos(photos, [(index, harmful.donor)])[0]["image"]
                tiles.append(Tile(jpeg_url(pixels_of(swapped)), "harmful"))
            rows.append(tiles)
    return rows


def thumbnails(photos: HeldPhotos, indices: Sequence[int]) -> dict[int, str]:
    """Small pictures of some photos as data URLes, by index."""
    return {index: jpeg_url(pixels_of(photos[index]["image"]), _THUMBNAIL) for index in dict.fromkeys(indices)}
