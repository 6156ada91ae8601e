"""Pictures of an audit: the worst photos with mask, relevance and most harmful background, and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.region import Patch, crop_around
from robustvit.common.pictures import jpeg_url, outline_mask, overlay, pixels_of
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.datasets import SwappedPhotos
from robustvit.evaluation.asking import Asking
from robustvit.explanation.maps import image_map
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
        if photo.values.get("uniform") and (not photo.is_right or photo.turned)
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
    asking: Asking | None = None,
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
        asking: how the model is asked.
    """
    rows = []
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        items = [photos[index] for index in part]
        images = torch.stack([item["image"] for item in items]).to(device)
        _, found = (asking or Asking()).explain(model, images, method)
        maps = image_map(found, (images.shape[-2], images.shape[-1]))
        for index, item, drawn in zip(part, items, maps, strict=True):
            tiles = [AuditPicture(jpeg_url(outline_mask(item["image"], item["mask"])), "mask")]
            tiles.append(AuditPicture(jpeg_url(overlay(item["image"], drawn)), "relevance"))
            harmful = audited[index].most_harmful
            if harmful is not None:
                swapped = SwappedPhotos(photos, [(index, harmful.donor)])[0]["image"]
                tiles.append(AuditPicture(jpeg_url(pixels_of(swapped)), "harmful"))
            rows.append(tiles)
    return rows


@dataclass(frozen=True)
class Case:
    """The photo that shows best what a background does: its answer is right, and on another background it is not.

    Attributes:
        index: of the photo.
        donor: of the photo that lends the background; None where no background flips an answer.
    """

    index: int
    donor: int | None


def choose_case(photos: Sequence[AuditedPhoto]) -> Case | None:
    """Return the flip of which the model is surest, of a right answer if there is one, else the surest wrong answer."""
    flips = [
        (photo.is_right, one.answer.probability, index, one.donor)
        for index, photo in enumerate(photos)
        for one in photo.turned
    ]
    if flips:
        _, _, index, donor = max(flips)
        return Case(index, donor)
    wrong = [(one.plain.probability, index) for index, one in enumerate(photos) if not one.is_right]
    return Case(max(wrong)[1], None) if wrong else None


def draw_case(
    photos: CachedPhotos,
    model: Classifier,
    audited: Sequence[AuditedPhoto],
    case: Case | None,
    *,
    method: str = "gae",
    asking: Asking | None = None,
) -> list[AuditPicture]:
    """Draw a case: the ``photo``, its ``relevance``, and ``harmful``, the object on the other background."""
    if case is None:
        return []
    image = photos[case.index]["image"]
    _, found = (asking or Asking()).explain(model, image[None].to(model.mean.device), method)
    map_of = image_map(found, (image.shape[-2], image.shape[-1]))[0]
    tiles = [
        AuditPicture(jpeg_url(pixels_of(image)), "photo"),
        AuditPicture(jpeg_url(overlay(image, map_of)), "relevance"),
    ]
    if case.donor is not None:
        swapped = SwappedPhotos(photos, [(case.index, case.donor)])[0]["image"]
        tiles.append(AuditPicture(jpeg_url(pixels_of(swapped)), "harmful"))
    return tiles


def draw_crops(photos: CachedPhotos, model: Classifier, patches: Sequence[Patch]) -> list[str]:
    """Draw what lies around patches as data URLs."""
    rows, columns = find_layout(model).grid(photos[0]["image"][None])
    return [jpeg_url(pixels_of(crop_around(photos[one.photo]["image"], one, (rows, columns))), _THUMBNAIL)
            for one in patches]  # fmt: skip


def thumbnails(photos: CachedPhotos, indices: Sequence[int]) -> dict[int, str]:
    """Draw small pictures of some photos as data URLs, by index."""
    return {index: jpeg_url(pixels_of(photos[index]["image"]), _THUMBNAIL) for index in dict.fromkeys(indices)}
