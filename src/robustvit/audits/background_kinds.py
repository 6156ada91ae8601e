"""Groups of photos by class and background: backgrounds are clusters of a backbone's features beside the object."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.spatial.distance import cdist
from torch import nn
from torch.utils.data import DataLoader

from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.common.options import Feature
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.swaps import tiled_background, usable_background
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.groups import MIN_GROUP

MOST_BACKGROUNDS = 12
_RESTARTS = 10
_MOST_COMPARED = 2000


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


@dataclass(frozen=True)
class Group:
    """Photos of one class on one kind of background.

    Attributes:
        class_name: the class.
        background: the kind, from 0.
        photos: indices of the photos.
        accuracy: ordinary accuracy on them.
        before: of the baseline, if there is one.
        difference: paired, accuracy minus the baseline's.
    """

    class_name: str
    background: int
    photos: list[int]
    accuracy: Interval
    before: Interval | None = None
    difference: Interval | None = None

    @property
    def fair(self) -> bool:
        """Whether the group is large enough to compare."""
        return len(self.photos) >= MIN_GROUP


def background_features(
    model: nn.Module,
    photos: CachedPhotos,
    *,
    feature: Feature = "keys",
    block: int | None = None,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    asking: Asking | None = None,
) -> np.ndarray:
    """Return the normalized mean feature of each photo's patches outside the mask.

    If there is enough background, the object is tiled over first, because attention would carry it to every patch.

    Args:
        model: backbone on ``device``; see ``patch_features``.
        photos: prepared for ``model``.
        feature: see ``patch_features``, also for ``block``.
        batch_size: images at a time.
        device: where the model is.
        asking: how the model is asked.

    Returns:
        ``(N, C)`` float64; NaN for photos without a patch outside the mask.
    """
    rows = []
    for batch in track(DataLoader(photos, batch_size=batch_size), "features of backgrounds"):
        images = [
            tiled_background(image, mask) if usable_background(mask) else image
            for image, mask in zip(batch["image"], batch["mask"], strict=True)
        ]
        found = (asking or Asking()).features(model, torch.stack(images).to(device), feature, block).cpu()
        rows_and_columns = (found.shape[1], found.shape[2])
        outside = F.adaptive_avg_pool2d((batch["mask"] > 0.5).float(), rows_and_columns)[:, 0] == 0
        total = (found * outside[..., None]).sum(dim=(1, 2)).double()
        rows.append(total / total.norm(dim=1, keepdim=True))
    return torch.cat(rows).numpy()


def find_backgrounds(features: np.ndarray, *, count: int = 0, seed: int = 0) -> BackgroundKinds:
    """Cluster backgrounds by k-means.

    Args:
        features: ``(N, C)``; photos with NaN belong to no kind.
        count: kinds of background; with 0, the number from 2 to ``MOST_BACKGROUNDS`` with the largest mean silhouette.
        seed: of the ten restarts, of which the best is used.
    """
    able = np.flatnonzero(np.isfinite(features).all(axis=1))
    if not len(able):
        return BackgroundKinds([None] * len(features), [float("inf")] * len(features), {})
    points = features[able]
    different = len(np.unique(points, axis=0))
    candidates = [count] if count else list(range(2, MOST_BACKGROUNDS + 1))
    labels, centres, silhouettes = choose_clusters(points, [k for k in candidates if k < different] or [1], seed)
    best = len(centres)
    members: list[int | None] = [None] * len(features)
    distances = [float("inf")] * len(features)
    # Numbered by size: the most common background is 0.
    names = {old: new for new, old in enumerate(np.argsort(-np.bincount(labels, minlength=best), kind="stable"))}
    for index, point, label in zip(able, points, labels, strict=True):
        members[index] = int(names[label])
        distances[index] = float(np.linalg.norm(point - centres[label]))
    return BackgroundKinds(members, distances, silhouettes)


def choose_clusters(
    points: np.ndarray, candidates: Sequence[int], seed: int
) -> tuple[np.ndarray, np.ndarray, dict[int, float]]:
    """Cluster points into that number of the candidates whose mean silhouette is largest, the smallest of equals.

    Returns:
        Labels, centres, and the silhouettes by number of clusters.
    """
    found = {k: cluster_points(points, k, seed) for k in candidates}
    chosen = np.random.default_rng(seed).permutation(len(points))[:_MOST_COMPARED]
    silhouettes = {k: silhouette(points[chosen], labels[chosen]) for k, (labels, _) in found.items() if k > 1}
    best = max(silhouettes, key=lambda k: (silhouettes[k], -k), default=candidates[0])
    return *found[best], silhouettes


def cluster_points(points: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and centres of the best of several restarts."""
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for restart in range(_RESTARTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                centres, labels = kmeans2(
                    points, count, iter=50, minit="++", missing="raise", rng=np.random.default_rng([seed, restart])
                )
        except ClusterError:
            continue  # a cluster ran empty
        spread = float(((points - centres[labels]) ** 2).sum())
        if best is None or spread < best[0]:
            best = (spread, labels, centres)
    if best is None:
        return np.zeros(len(points), dtype=int), points.mean(axis=0, keepdims=True)
    return best[1], best[2]


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette (Rousseeuw 1987): ``(b - a) / max(a, b)`` with the mean distances ``a`` to a point's own cluster
    and ``b`` to the nearest other one; 0 for a cluster of one point. In [-1, 1].

    Args:
        points: ``(N, C)``.
        labels: ``(N,)``, the cluster of each.
    """
    kinds, own = np.unique(labels, return_inverse=True)
    if len(kinds) < 2:
        return 0.0
    sizes = np.bincount(own)
    sums = cdist(points, points) @ np.eye(len(kinds))[own]
    at = np.arange(len(points))
    within = sums[at, own] / np.maximum(sizes[own] - 1, 1)
    others = sums / sizes
    others[at, own] = np.inf
    between = others.min(axis=1)
    largest = np.maximum(within, between)
    values = np.where((sizes[own] > 1) & (largest > 0), (between - within) / np.where(largest > 0, largest, 1), 0.0)
    return float(values.mean())


def group_photos(
    backgrounds: BackgroundKinds,
    names: Sequence[str],
    right: Sequence[float],
    before: Sequence[float] | None = None,
) -> list[Group]:
    """Return the groups of class and background, lowest accuracy first; groups under ``MIN_GROUP`` photos come last.

    Args:
        backgrounds: of the photos.
        names: class of each photo.
        right: 1 for photos predicted right, else 0.
        before: the same of a baseline.
    """
    members: dict[tuple[str, int], list[int]] = {}
    for index, (name, kind) in enumerate(zip(names, backgrounds.members, strict=True)):
        if kind is not None:
            members.setdefault((name, kind), []).append(index)
    groups = []
    for (name, kind), photos in sorted(members.items()):
        new = [right[i] for i in photos]
        if before is None:
            groups.append(Group(name, kind, photos, mean_interval(new)))
            continue
        old = [before[i] for i in photos]
        groups.append(
            Group(
                name,
                kind,
                photos,
                mean_interval(new),
                mean_interval(old),
                paired_difference(old, new),
            )
        )
    return sorted(groups, key=lambda group: (not group.fair, group.accuracy.mean, group.class_name, group.background))


def usual_photos(backgrounds: BackgroundKinds, names: Sequence[str]) -> list[bool | None]:
    """Return whether each photo has the most common background of its class, the first of equally common ones.

    None for photos without background.
    """
    counts: dict[str, Counter[int]] = {}
    for name, kind in zip(names, backgrounds.members, strict=True):
        if kind is not None:
            counts.setdefault(name, Counter())[kind] += 1
    usual = {name: min(found, key=lambda kind: (-found[kind], kind)) for name, found in counts.items()}
    return [
        None if kind is None else kind == usual[name] for name, kind in zip(names, backgrounds.members, strict=True)
    ]
