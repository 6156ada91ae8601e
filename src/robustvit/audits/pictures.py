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
from robustvit.evaluation.measuring import MeasureSettings
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


@dataclass(frozen=True)
class Case:
    """A photo to show, and the photo that lends it another background, if there is one."""

    index: int
    donor: int | None


def most_harmful_case(photo: AuditedPhoto, index: int) -> Case:
    """Return a photo with the background on which its true class is least probable."""
    harmful = photo.most_harmful
    return Case(index, None if harmful is None else harmful.donor)


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


def draw_photos(
    photos: CachedPhotos,
    model: Classifier,
    cases: Sequence[Case],
    settings: MeasureSettings,
    *,
    masks: bool = True,
) -> list[list[AuditPicture]]:
    """Draw photos as a model sees them.

    Each gets ``mask`` (its outline) or ``photo``, ``relevance`` (of the predicted class) and, if another photo lends
    its background, ``harmful`` (the object on that background).

    The settings have the relevance method, and say in which batches the model is asked.
    """
    rows, size = [], settings.batch_size
    for start in range(0, len(cases), size):
        part = cases[start : start + size]
        items = [photos[case.index] for case in part]
        images = torch.stack([item["image"] for item in items])
        _, found = settings.asking.explain(model, images.to(model.mean.device), settings.method)
        for case, item, drawn in zip(part, items, image_map(found, (images.shape[-2], images.shape[-1])), strict=True):
            first = outline_mask(item["image"], item["mask"]) if masks else pixels_of(item["image"])
            tiles = {"mask" if masks else "photo": first, "relevance": overlay(item["image"], drawn)}
            if case.donor is not None:
                tiles["harmful"] = pixels_of(SwappedPhotos(photos, [(case.index, case.donor)])[0]["image"])
            rows.append([AuditPicture(jpeg_url(pixels), kind) for kind, pixels in tiles.items()])
    return rows


def draw_crops(photos: CachedPhotos, model: Classifier, patches: Sequence[Patch]) -> list[str]:
    """Draw what lies around patches as data URLs."""
    rows, columns = find_layout(model).grid(photos[0]["image"][None])
    return [jpeg_url(pixels_of(crop_around(photos[one.photo]["image"], one, (rows, columns))), _THUMBNAIL)
            for one in patches]  # fmt: skip


def draw_thumbnails(photos: CachedPhotos, indices: Sequence[int]) -> dict[int, str]:
    """Draw small pictures of some photos as data URLs, by index."""
    return {index: jpeg_url(pixels_of(photos[index]["image"]), _THUMBNAIL) for index in dict.fromkeys(indices)}
