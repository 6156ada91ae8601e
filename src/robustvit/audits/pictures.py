"""Pictures of an audit: the worst photos with mask, relevance and most harmful background, and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from robustvit.audits.measures import AuditedPhoto
from robustvit.audits.regions import Patch, crop_around
from robustvit.common.pictures import jpeg_url, outline_mask, overlay, pixels_of
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import SwappedPhotos
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier
from robustvit.models.families import find_layout

WORST_RULE = (
    "Photos that are predicted wrong unchanged, or whose answer some background flips; first those with the "
    "least relevance inside the mask, relative to the mask's share of the frame."
)
_THUMBNAIL = 96


@dataclass(frozen=True)
class AuditPicture:
    """A picture as a data URL, and what it shows."""

    source: str
    kind: str


def choose_worst(photos: Sequence[AuditedPhoto], count: int) -> list[int]:
    """Return the indices of up to ``count`` photos, worst first, by ``WORST_RULE``."""
    found = [
        (photo.values["energy"] / photo.values["uniform"], index)
        for index, photo in enumerate(photos)
        if photo.values.get("uniform") and (photo.plain.predicted != photo.label or photo.turned)
    ]
    return [index for _, index in sorted(found)[:count]]


def draw_worst(
    photos: CachedPhotos,
    model: Classifier,
    audited: Sequence[AuditedPhoto],
    indices: Sequence[int],
    *,
    method: str = "gae",
    batch_size: int = 32,
    device: str | torch.device = "cpu",
) -> list[list[AuditPicture]]:
    """Draw photos as a model sees them.

    Each gets ``mask`` (its outline), ``relevance`` (of the predicted class) and, if backgrounds were tried, ``harmful``
    (the object on the background on which its true class is least probable).

    Args:
        photos: prepared for ``model``.
        model: on ``device``.
        audited: measures of the photos.
        indices: of the photos to draw.
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
            tiles = [AuditPicture(jpeg_url(outline_mask(item["image"], item["mask"])), "mask")]
            tiles.append(AuditPicture(jpeg_url(overlay(item["image"], found)), "relevance"))
            harmful = audited[index].most_harmful
            if harmful is not None:
                swapped = SwappedPhotos(photos, [(index, harmful.donor)])[0]["image"]
                tiles.append(AuditPicture(jpeg_url(pixels_of(swapped)), "harmful"))
            rows.append(tiles)
    return rows


def draw_crops(photos: CachedPhotos, model: Classifier, patches: Sequence[Patch]) -> list[str]:
    """Draw what lies around patches as data URLs."""
    rows, columns = find_layout(model).grid(photos[0]["image"][None])
    return [jpeg_url(pixels_of(crop_around(photos[one.photo]["image"], one, (rows, columns))), _THUMBNAIL)
            for one in patches]  # fmt: skip


def thumbnails(photos: CachedPhotos, indices: Sequence[int]) -> dict[int, str]:
    """Draw small pictures of some photos as data URLs, by index."""
    return {index: jpeg_url(pixels_of(photos[index]["image"]), _THUMBNAIL) for index in dict.fromkeys(indices)}
