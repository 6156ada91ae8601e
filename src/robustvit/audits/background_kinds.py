"""Kinds of background: clusters of a backbone's features beside the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from robustvit.audits.clusters import choose_clusters
from robustvit.common.options import Feature
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.swaps import tiled_background, usable_background
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.models.classifier import Classifier

MOST_BACKGROUNDS = 12


@dataclass(frozen=True)
class BackgroundKinds:
    """Kinds of background.

    Attributes:
        members: kind of each photo, from 0; None for photos without background.
        distances: of each photo to its kind's centre.
        silhouettes: mean silhouette by number of kinds, for the numbers tried.
    """

    members: list[int | None]
    distances: list[float]
    silhouettes: dict[int, float]

    @property
    def count(self) -> int:
        """Number of kinds."""
        return len({kind for kind in self.members if kind is not None})

    def typical(self, photos: Sequence[int], count: int) -> list[int]:
        """Return the photos nearest to the centre of their kind."""
        return sorted(photos, key=lambda index: self.distances[index])[:count]


def background_features(
    model: Classifier,
    photos: CachedPhotos,
    settings: MeasureSettings,
    *,
    feature: Feature = "keys",
    block: int | None = None,
) -> np.ndarray:
    """Return the normalized mean feature of each photo's patches outside the mask.

    If there is enough background, the object is tiled over first, because attention would carry it to every patch. For
    ``feature`` and ``block`` see ``patch_features``; the settings say in which batches the model is asked.

    Returns:
        ``(N, C)`` float64; NaN for photos without a patch outside the mask.
    """
    rows = []
    for batch in track(DataLoader(photos, batch_size=settings.batch_size), "features of backgrounds"):
        images = [
            tiled_background(image, mask) if usable_background(mask) else image
            for image, mask in zip(batch["image"], batch["mask"], strict=True)
        ]
        found = settings.asking.features(model, torch.stack(images).to(model.mean.device), feature, block).cpu()
        grid = (found.shape[1], found.shape[2])
        outside = F.adaptive_avg_pool2d((batch["mask"] > 0.5).float(), grid)[:, 0] == 0
        total = (found * outside[..., None]).sum(dim=(1, 2)).double()
        rows.append(total / total.norm(dim=1, keepdim=True))
    return torch.cat(rows).numpy()


def find_backgrounds(features: np.ndarray, *, count: int = 0, seed: int = 0) -> BackgroundKinds:
    """Cluster backgrounds by their features ``(N, C)``; photos with NaN belong to no kind.

    With a count of 0, their number, from 2 to ``MOST_BACKGROUNDS``, is that with the largest mean silhouette.
    """
    able = np.flatnonzero(np.isfinite(features).all(axis=1))
    if not len(able):
        return BackgroundKinds([None] * len(features), [float("inf")] * len(features), {})
    points = features[able]
    candidates = [count] if count else range(2, MOST_BACKGROUNDS + 1)
    labels, centres, silhouettes = choose_clusters(points, candidates, seed)
    members: list[int | None] = [None] * len(features)
    distances = [float("inf")] * len(features)
    # Numbered by size: the most common background is 0.
    sizes = np.bincount(labels, minlength=len(centres))
    names = {old: new for new, old in enumerate(np.argsort(-sizes, kind="stable"))}
    for index, point, label in zip(able, points, labels, strict=True):
        members[index] = int(names[label])
        distances[index] = float(np.linalg.norm(point - centres[label]))
    return BackgroundKinds(members, distances, silhouettes)
