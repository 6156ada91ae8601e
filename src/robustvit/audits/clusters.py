"""Clusters of features: k-means with restarts, and how many by the mean silhouette."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.spatial.distance import cdist

_RESTARTS = 10
_MOST_COMPARED = 2000


def choose_clusters(
    points: np.ndarray, candidates: Sequence[int], seed: int
) -> tuple[np.ndarray, np.ndarray, dict[int, float]]:
    """Cluster points into that number of the candidates whose mean silhouette is largest, the smallest of equals.

    Candidates count that are below the number of different points; without any, all points are one cluster.

    Returns:
        Labels, centres, and the silhouettes by number of clusters.
    """
    different = len(np.unique(points, axis=0))
    candidates = [k for k in candidates if k < different] or [1]
    found = {k: cluster_points(points, k, seed) for k in candidates}
    chosen = np.random.default_rng(seed).permutation(len(points))[:_MOST_COMPARED]
    silhouettes = {k: silhouette(points[chosen], labels[chosen]) for k, (labels, _) in found.items() if k > 1}
    best = max(silhouettes, key=lambda k: (silhouettes[k], -k), default=candidates[0])
    return *found[best], silhouettes


def cluster_points(points: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and centres of the best of several restarts."""
    found = []
    for restart in range(_RESTARTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                centres, labels = kmeans2(
                    points, count, iter=50, minit="++", missing="raise", rng=np.random.default_rng([seed, restart])
                )
        except ClusterError:
            continue  # a cluster ran empty
        found.append((float(((points - centres[labels]) ** 2).sum()), labels, centres))
    if not found:
        return np.zeros(len(points), dtype=int), points.mean(axis=0, keepdims=True)
    _, labels, centres = min(found, key=lambda one: one[0])
    return labels, centres


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean silhouette (Rousseeuw 1987) of points ``(N, C)`` with their clusters ``(N,)``, in [-1, 1].

    It is ``(b - a) / max(a, b)`` with the mean distances ``a`` to a point's own cluster and ``b`` to the nearest other
    cluster; 0 for a cluster of a single point.
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
