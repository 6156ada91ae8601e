"""The segmentation test: relevance maps compared with segmentations (paper, Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.utils.data import DataLoader

from robustvit.common.errors import UserError, expect_at_least
from robustvit.common.intervals import Interval
from robustvit.common.options import MaskFormat
from robustvit.common.progress import track
from robustvit.common.wording import pluralize
from robustvit.data.photo import Photo
from robustvit.evaluation.on_sets.segmented_photos import MatFile, SegmentedPhotos, find_mat
from robustvit.evaluation.records.record import MEASURE_TITLES
from robustvit.explanation.maps import relevance
from robustvit.explanation.methods import check_method
from robustvit.models.classifier import Classifier
from robustvit.models.forward_pass import evaluating

_RESAMPLES = 1999


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of the segmentation test; every number in [0, 1], with a 95 % CI over images.

    Attributes:
        pixel_accuracy: share of all pixels of the set on the right side of the cut.
        miou: mean over object and background of the intersection over union, each pooled over the set.
        map: mean over images of the average precision.
        counts: ``(N, 4)`` pixels of each image: true and false positives, true and false negatives.
        precisions: ``(N,)`` average precision of each image.
    """

    pixel_accuracy: Interval
    miou: Interval
    map: Interval
    counts: np.ndarray
    precisions: np.ndarray

    @property
    def numbers(self) -> dict[str, Interval]:
        """The three numbers by name."""
        return {"pixel_accuracy": self.pixel_accuracy, "miou": self.miou, "map": self.map}

    def __str__(self) -> str:
        rows = [f"  {MEASURE_TITLES[name]:<16}{found.percent()}" for name, found in self.numbers.items()]
        return "\n".join([f"segmentation test on {pluralize(len(self.precisions), 'image')}", *rows])


def segmentation_test(
    model: Classifier,
    photos: Sequence[Photo] | str | Path,
    *,
    method: str = "gae",
    mask_format: MaskFormat = "auto",
    batch_size: int = 32,
    workers: int = 0,
    device: str | torch.device = "cpu",
) -> SegmentationScores:
    """Compare a model's relevance maps of the predicted classes with segmentations.

    Args:
        model: a ``Classifier``, already on ``device``; its training mode is restored.
        photos: photos with masks, or ImageNet-Segmentation's ``gtsegs_ijcv.mat`` or a folder with it.
        method: relevance method.
        mask_format: of photos' masks, see ``read_mask``.
        batch_size: images at a time.
        workers: processes that read images.
        device: where the model is.
    """
    expect_at_least(1, batch_size=batch_size)
    expect_at_least(0, workers=workers)
    check_method(method, model)
    source = MatFile(find_mat(photos)) if isinstance(photos, (str, Path)) else check_masked(photos)
    data = SegmentedPhotos(source, model.preprocessing.input_size, mask_format=mask_format)
    counts, precisions = [], []
    with evaluating(model):
        for batch in track(DataLoader(data, batch_size=batch_size, num_workers=workers), "segmentation test"):
            with torch.no_grad():
                maps = relevance(model, batch["image"].to(device), method=method).float().cpu()
            _expect_finite(maps, batch["index"], data)
            counts.append(pixel_counts(maps, batch["mask"]))
            precisions.append(map_average_precision(maps, batch["mask"]))
    return segmentation_scores(np.concatenate(counts), np.concatenate(precisions))


def check_masked(photos: Sequence[Photo]) -> Sequence[Photo]:
    """Return photos; refuse those without a mask."""
    if not photos:
        raise UserError("expected photos with masks for the segmentation test, got none: name their folders")
    for photo in photos:
        if photo.mask is None:
            raise UserError(f"expected a mask for every photo of the segmentation test, {photo.image} has none: add it")
    return photos


def _expect_finite(maps: Tensor, indices: Tensor, data: SegmentedPhotos) -> None:
    broken = (~maps.isfinite()).flatten(1).any(dim=1)
    if broken.any():
        name = data.name_of(int(indices[broken.nonzero()[0, 0]]))
        raise UserError(
            f"expected a relevance map of finite numbers, the one of {name} holds NaN or infinity: check the model's "
            "weights, or name another --relevance method"
        )


def pixel_counts(maps: Tensor, masks: Tensor) -> np.ndarray:
    """Count right and wrong pixels with each map cut at its mean: the foreground is above it.

    Equal to torchmetrics' ``binary_stat_scores`` by image, in a fifth of its time. Maps and masks (true or 1 on the
    object) are ``(B, 1, H, W)``; the counts are ``(B, 4)`` int64: true and false positives, true and false negatives.
    """
    return np.array(_map_images(_count_pixels, *_flatten(maps, masks)), dtype=np.int64).reshape(-1, 4)


def _count_pixels(values: np.ndarray, labels: np.ndarray) -> tuple[int, int, int, int]:
    cut = values > values.mean(dtype=np.float64)
    right, above, inside = (int(np.count_nonzero(found)) for found in (cut & labels, cut, labels))
    return right, above - right, len(values) - above - inside + right, inside - right


def _flatten(maps: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 values and whether each is on the object, both ``(B, N)``."""
    values = maps.detach().float().cpu().flatten(1) + 0.0  # turns -0.0 into 0.0
    return values.numpy(), (masks > 0).cpu().flatten(1).numpy()


def _map_images(of: Callable[[np.ndarray, np.ndarray], Any], values: np.ndarray, labels: np.ndarray) -> list[Any]:
    """Apply a function to each image, in order; NumPy releases the GIL while it sorts and counts."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(of, values, labels))


def map_average_precision(maps: Tensor, masks: Tensor) -> np.ndarray:
    """Compute the average precision ``(B,)`` of images over both channels ``(1 - R, R)``, flattened (paper, Table 3).

    Exact, without bins: ``sum over thresholds of (recall - recall before) * precision``, as torchmetrics and
    scikit-learn define it. One sort of the map is enough, since the first channel runs through the same values
    backwards: its order is the map's, reversed, and joining two sorted lists takes no further sort. The arguments are
    as in ``pixel_counts``, the maps in [0, 1].
    """
    values, labels = _flatten(maps, masks)
    if not (values.min(initial=0) >= 0 and values.max(initial=0) <= 1):
        raise UserError("expected relevance maps in [0, 1], got values outside or NaN: scale them first")
    return np.array(_map_images(_average_precision, values, labels), dtype=np.float64)


def _average_precision(values: np.ndarray, labels: np.ndarray) -> float:
    """Compute the average precision of a map ``(N,)``; every pixel is a positive of one channel, so there are N."""
    count = len(values)
    # Numbers from 0 upwards are ordered as their bits are: the label rides along as one bit more, and plain integers
    # sort several times faster than an order of floats can be found.
    keys = (values.view(np.uint32) << 1) | labels
    keys.sort()
    on = (keys & 1).astype(bool)
    ascending = (keys >> 1).view(np.float32)
    scores = np.concatenate([ascending, 1 - ascending[::-1]])
    order = np.argsort(scores, kind="stable")  # two sorted runs: merged, not sorted
    scores, positive = scores[order], np.concatenate([on, ~on[::-1]])[order]
    places = np.flatnonzero(positive)
    before, thresholds = np.arange(count), scores[places]
    # Equal scores share one threshold, at the first of them.
    tied = np.flatnonzero((thresholds == scores[places - 1]) & (places > 0))
    if tied.size:
        first = np.searchsorted(scores, thresholds[tied])
        before[tied] = np.searchsorted(places, first)
        places[tied] = first
    return float(((count - before) / (2 * count - places)).mean())


def segmentation_scores(counts: np.ndarray, precisions: np.ndarray) -> SegmentationScores:
    """Compute the scores of a set from ``pixel_counts`` and ``map_average_precision`` of its images.

    The intervals are a bootstrap over images.
    """
    accuracy, miou, mean_precision = _bootstrap(np.column_stack([counts, precisions]), _compute_scores)
    return SegmentationScores(accuracy, miou, mean_precision, counts, precisions)


def segmentation_difference(before: SegmentationScores, after: SegmentationScores) -> dict[str, Interval]:
    """Return after minus before of each score, over the same images in the same order, with paired 95 % CIs."""
    if len(before.precisions) != len(after.precisions):
        raise UserError(
            f"expected two models' scores on the same images, got {len(before.precisions)} and {len(after.precisions)}"
        )
    both = np.column_stack([before.counts, before.precisions, after.counts, after.precisions])
    found = _bootstrap(both, lambda sums: _compute_scores(sums[..., 5:]) - _compute_scores(sums[..., :5]))
    return dict(zip(before.numbers, found, strict=True))


def _compute_scores(means: np.ndarray) -> np.ndarray:
    """Compute the scores ``(..., 3)`` from means over images ``(..., 5)`` of the four counts and the precision."""
    right, false, away, missed, precision = np.moveaxis(means, -1, 0)
    accuracy = (right + away) / (right + false + away + missed)
    unions = right + false + missed, away + false + missed
    ious = [np.where(u > 0, i / np.where(u > 0, u, 1), np.nan) for i, u in zip((right, away), unions, strict=True)]
    # A side that neither maps nor masks have anywhere is ignored.
    return np.stack([accuracy, np.nanmean(np.stack(ious), axis=0), precision], axis=-1)


def _bootstrap(rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> list[Interval]:
    count = len(rows)
    found = np.atleast_1d(statistic(rows.sum(axis=0, dtype=np.float64) / count))
    if count == 1:
        return [Interval(float(value), float(value), float(value), count) for value in found]

    def of(chosen: np.ndarray, axis: int) -> np.ndarray:
        return np.moveaxis(statistic(rows[chosen].mean(axis=chosen.ndim - 1)), -1, 0)

    interval = stats.bootstrap(
        (np.arange(count),),
        of,
        n_resamples=_RESAMPLES,
        batch=max(1, 500_000 // count),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    low, high = np.atleast_1d(interval.low), np.atleast_1d(interval.high)
    return [Interval(float(m), float(a), float(b), count) for m, a, b in zip(found, low, high, strict=True)]
