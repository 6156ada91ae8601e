"""What a model looks at beside the object: relevant patches outside the mask, by kind, and what blurring them does."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from robustvit.audits.groups import choose_clusters
from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.explanation.attention.interception import evaluating
from robustvit.explanation.deletion import blurred
from robustvit.explanation.features import patch_features
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier

_A_PHOTO = 8  # patches of a photo that are described
_SHOWN = 8


@dataclass(frozen=True)
class Patch:
    """A relevant patch outside the mask.

    Attributes:
        photo: index of the photo.
        row: of the patch in the grid; as ``column``.
        weight: its share of the photo's relevance.
    """

    photo: int
    row: int
    column: int
    weight: float


@dataclass(frozen=True)
class Region:
    """A kind of region beside the objects that a model looks at.

    Attributes:
        share: of the relevance of all photos.
        classes: number of photos with such patches by their class.
        patches: all of them, the most relevant first.
        accuracy: change of accuracy on these photos when exactly these patches are blurred.
        against_others: the same less the change when as many other patches outside the mask are blurred.
        probability: change of the predicted class's probability when they are blurred.
        decided: photos whose answer changes.
    """

    share: float
    classes: dict[str, int]
    patches: list[Patch]
    accuracy: Interval
    against_others: Interval
    probability: Interval
    decided: list[int]

    @property
    def photos(self) -> list[int]:
        """The photos that have such patches."""
        return sorted({one.photo for one in self.patches})

    @property
    def shown(self) -> list[Patch]:
        """The most relevant patches, each of another photo."""
        first = {one.photo: one for one in reversed(self.patches)}
        return sorted(first.values(), key=lambda one: -one.weight)[:_SHOWN]


def find_regions(
    model: Classifier,
    photos: CachedPhotos,
    names: Sequence[str],
    answers: Sequence[tuple[int, float]],
    *,
    method: str = "gae",
    most: int = 6,
    seed: int = 0,
    batch_size: int = 32,
) -> list[Region]:
    """Group what is relevant but not the object, after Lapuschkin et al. (2019, SpRAy) and Singla and Feizi (2022).

    Up to 8 patches of a photo count: those wholly outside the mask whose relevance is above that of an even map. They
    are clustered by k-means on the model's own keys; their number is that with the largest mean silhouette. Then
    exactly these patches are blurred, and as a control as many others outside the mask.

    Args:
        model: with attention blocks.
        photos: with masks, prepared for ``model``.
        names: class of each photo.
        answers: the model's answer to each photo, and its probability.
        method: relevance method, for the predicted class.
        most: kinds of region at most.
        seed: of the clustering and of the control's patches.
        batch_size: images at a time.

    Returns:
        The kinds, that with most relevance first; empty where nothing outside the masks is relevant.
    """
    found = _relevant_patches(model, photos, method, batch_size)
    if not found.patches:
        return []
    points = np.stack(found.features)
    different = len(np.unique(points, axis=0))
    labels, _, _ = choose_clusters(points, [k for k in range(2, most + 1) if k < different] or [1], seed)
    kinds = [[patch for patch, label in zip(found.patches, labels, strict=True) if label == kind]
             for kind in range(int(labels.max()) + 1)]  # fmt: skip
    regions = [
        _measure_region(model, photos, names, one, found.outside, answers, (seed, batch_size)) for one in kinds if one
    ]
    return sorted(regions, key=lambda one: -one.share)


@dataclass(frozen=True)
class _Found:
    """Relevant patches with their features, and for each photo which patches lie outside its mask."""

    patches: list[Patch]
    features: list[np.ndarray]
    outside: list[np.ndarray]


@torch.no_grad()
def _relevant_patches(model: Classifier, photos: CachedPhotos, method: str, batch_size: int) -> _Found:
    patches: list[Patch] = []
    features: list[np.ndarray] = []
    free: list[np.ndarray] = []
    device = model.mean.device
    for batch in track(DataLoader(photos, batch_size=batch_size), "regions beside the object"):
        images = batch["image"].to(device)
        found = patch_features(model, images).cpu()
        grid = (found.shape[1], found.shape[2])
        maps = F.adaptive_avg_pool2d(relevance(model, images, method=method, upsample=False).cpu().float(), grid)[:, 0]
        shares = maps / maps.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        outside = F.adaptive_avg_pool2d((batch["mask"] > 0.5).float(), grid)[:, 0] == 0
        outside &= ~outside.all(dim=2).all(dim=1)[:, None, None]  # without an object nothing is beside it
        for share, own, described in zip(shares * outside, outside, F.normalize(found, dim=-1), strict=True):
            for place in share.flatten().topk(min(_A_PHOTO, share.numel())).indices.tolist():
                row, column = divmod(place, grid[1])
                if share[row, column] > 1 / share.numel():
                    patches.append(Patch(len(free), row, column, float(share[row, column])))
                    features.append(described[row, column].double().numpy())
            free.append(own.numpy())
    return _Found(patches, features, free)


def _measure_region(
    model: Classifier,
    photos: CachedPhotos,
    names: Sequence[str],
    members: list[Patch],
    outside: Sequence[np.ndarray],
    answers: Sequence[tuple[int, float]],
    how: tuple[int, int],
) -> Region:
    """Blur the patches of one kind, and as many others; ``how`` is the seed and the size of a batch."""
    seed, batch_size = how
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one in members:
        places[one.photo].append((one.row, one.column))
    rng = np.random.default_rng(seed)
    others = {index: _others(outside[index], own, rng) for index, own in places.items()}
    indices = sorted(places)
    before = [answers[index] for index in indices]
    labels = [int(photos[index]["label"]) for index in indices]
    grid = outside[0].shape
    after, control = (_blur_and_answer(model, photos, one, before, grid, batch_size) for one in (places, others))
    right, blurred, elsewhere = (
        [float(said == label) for (said, _), label in zip(side, labels, strict=True)]
        for side in (before, after, control)
    )
    return Region(
        share=sum(one.weight for one in members) / len(outside),
        classes=dict(Counter(names[index] for index in indices).most_common()),
        patches=sorted(members, key=lambda one: -one.weight),
        accuracy=paired_difference(right, blurred),
        against_others=paired_difference(elsewhere, blurred),
        probability=mean_interval([new[1] - old[1] for old, new in zip(before, after, strict=True)]),
        decided=[index for index, old, new in zip(indices, before, after, strict=True) if old[0] != new[0]],
    )


def _blur_and_answer(
    model: Classifier,
    photos: CachedPhotos,
    places: dict[int, list[tuple[int, int]]],
    before: Sequence[tuple[int, float]],
    grid: tuple[int, ...],
    batch_size: int,
) -> list[tuple[int, float]]:
    """Return the answers with patches blurred, and the probability of the answer ``before``."""
    answers: list[tuple[int, float]] = []
    indices = sorted(places)
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        images = torch.stack([photos[index]["image"] for index in part])
        target = torch.tensor([said for said, _ in before[start : start + batch_size]])
        _answer(model, _blur_patches(images, [places[index] for index in part], grid), answers, target)
    return answers


def _others(outside: np.ndarray, own: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw as many other patches outside the mask, if there are."""
    rest = [(int(row), int(column)) for row, column in np.argwhere(outside) if (row, column) not in own]
    return [rest[at] for at in rng.permutation(len(rest))[: len(own)]]


@torch.no_grad()
def _answer(model: Classifier, images: Tensor, found: list[tuple[int, float]], target: Tensor) -> None:
    """Add the answers, with the probability of the target class."""
    with evaluating(model):
        probabilities = model(images.to(model.mean.device)).softmax(dim=1).cpu()
    asked = probabilities.gather(1, target[:, None])[:, 0]
    found += zip(probabilities.argmax(dim=1).tolist(), asked.tolist(), strict=True)


def _blur_patches(images: Tensor, places: Sequence[Sequence[tuple[int, int]]], grid: tuple[int, ...]) -> Tensor:
    """Blur patches of images; their neighbours shine in from two patches around."""
    height, width = images.shape[-2:]
    rows, columns = height // grid[0], width // grid[1]
    soft = blurred(images, float(rows), float(columns))
    changed = images.clone()
    for index, own in enumerate(places):
        for row, column in own:
            area = (..., slice(row * rows, (row + 1) * rows), slice(column * columns, (column + 1) * columns))
            changed[index][area] = soft[index][area]
    return changed


def crop_around(image: Tensor, patch: Patch, grid: tuple[int, int]) -> Tensor:
    """Return the part of an image ``(3, H, W)`` around a patch, five patches wide, or what there is of it."""
    rows, columns = image.shape[-2] // grid[0], image.shape[-1] // grid[1]
    top, left = max(0, (patch.row - 2) * rows), max(0, (patch.column - 2) * columns)
    return image[:, top : (patch.row + 3) * rows, left : (patch.column + 3) * columns]
