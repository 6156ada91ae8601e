"""What a model looks at beside the object: relevant patches outside the mask, by kind, and what blurring them does."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from robustvit.audits.clusters import choose_clusters
from robustvit.audits.region import ModelAnswers, Patch, Region, measure_blurring
from robustvit.common.intervals import mean_interval
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.explanation.deletion import blur_images
from robustvit.models.classifier import Classifier
from robustvit.models.forward_pass import evaluating

_A_PHOTO = 8  # patches of a photo that are described
Places = dict[int, list[tuple[int, int]]]  # rows and columns of patches, by photo


def find_regions(
    asked: ModelAnswers,
    photos: CachedPhotos,
    names: Sequence[str],
    settings: MeasureSettings,
    baseline: ModelAnswers | None = None,
    *,
    most: int = 6,
    passes: int | None = None,
    anywhere: bool = False,
) -> list[Region]:
    """Group what is relevant but not the object, after Lapuschkin et al. (2019, SpRAy) and Singla and Feizi (2022).

    Up to 8 patches of a photo count: those wholly outside the mask whose relevance is above that of an even map. They
    are clustered by k-means on the model's own keys; their number is that with the largest mean silhouette. Then
    exactly these patches are blurred, and as a control as many others outside the mask.

    Args:
        asked: a model with attention blocks, and its answers.
        photos: with masks, prepared for the model.
        names: class of each photo.
        settings: how the model is asked, and the seed of the clusters, the control and the photos that are tested.
        baseline: takes photos as the model does; the same patches are blurred for it.
        most: kinds of region at most.
        passes: forward passes that blurring may take; None: as many as there are photos with each kind, twice.
        anywhere: all relevant patches count, on the object or not, for photos without masks.

    Returns:
        The kinds, that with most relevance first; empty where nothing outside the masks is relevant.
    """
    patches, features, outside = _find_relevant(asked.model, photos, settings, anywhere)
    if not patches:
        return []
    points = np.stack(features)
    labels, _, _ = choose_clusters(points, range(2, most + 1), settings.seed)
    kinds = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]
    having = [len({patches[at].photo for at in kind}) for kind in kinds]
    tester = _Tester(asked, baseline, photos, outside, settings)
    regions = []
    for kind, limit in zip(kinds, share_out(having, passes), strict=True):
        centre = points[kind].mean(axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-12)
        region = tester.measure([patches[at] for at in kind], names, limit)
        reach = float(np.quantile(points[kind] @ centre, 0.1))
        regions.append(replace(region, centre=tuple(map(float, centre)), reach=reach))
    return sorted(regions, key=lambda one: -one.share)


def share_out(having: Sequence[int], passes: int | None) -> list[int]:
    """Return how many photos to test of each kind, evenly; what small kinds leave goes to the others.

    A test takes two forward passes. At least one photo of each kind is tested, and all if ``passes`` is None.
    """
    if passes is None:
        return list(having)
    left, found = passes // 2, [0] * len(having)
    for done, at in enumerate(sorted(range(len(having)), key=lambda at: having[at])):
        found[at] = max(1, min(having[at], left // (len(having) - done)))
        left -= found[at]
    return found


@torch.no_grad()
def _find_relevant(
    model: Classifier, photos: CachedPhotos, settings: MeasureSettings, anywhere: bool
) -> tuple[list[Patch], list[np.ndarray], list[np.ndarray]]:
    """Return relevant patches, their features, and for each photo which patches lie outside its mask."""
    patches: list[Patch] = []
    features: list[np.ndarray] = []
    free: list[np.ndarray] = []
    device, asking = model.mean.device, settings.asking
    for batch in track(DataLoader(photos, batch_size=settings.batch_size), "regions beside the object"):
        images = batch["image"].to(device)
        found = asking.features(model, images).cpu()
        grid = (found.shape[1], found.shape[2])
        relevance = asking.explain(model, images, settings.method)[1].cpu().float()
        maps = F.adaptive_avg_pool2d(relevance[:, None], grid)[:, 0]
        shares = maps / maps.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        outside = F.adaptive_avg_pool2d((batch["mask"] > 0.5).float(), grid)[:, 0] == 0
        if not anywhere:
            outside &= ~outside.all(dim=2).all(dim=1)[:, None, None]  # without an object nothing is beside it
        for share, beside, described in zip(shares * outside, outside, F.normalize(found, dim=-1), strict=True):
            for position in share.flatten().topk(min(_A_PHOTO, share.numel())).indices.tolist():
                row, column = divmod(position, grid[1])
                if share[row, column] > 1 / share.numel():
                    patches.append(Patch(len(free), row, column, float(share[row, column])))
                    features.append(described[row, column].double().numpy())
            free.append(beside.numpy())
    return patches, features, free


@dataclass(frozen=True)
class _Tester:
    """Blurs kinds of region."""

    asked: ModelAnswers
    baseline: ModelAnswers | None
    photos: CachedPhotos
    outside: Sequence[np.ndarray]
    settings: MeasureSettings

    def measure(self, members: list[Patch], names: Sequence[str], most: int) -> Region:
        """Blur the patches of one kind, and as many others, in at most that many photos."""
        places: Places = defaultdict(list)
        for one in members:
            places[one.photo].append((one.row, one.column))
        rng = np.random.default_rng(self.settings.seed)
        everyone = sorted(places)
        others = {index: _draw_others(self.outside[index], patches, rng) for index, patches in places.items()}
        indices = everyone if len(everyone) <= most else sorted(rng.permutation(everyone)[:most].tolist())
        labels = [int(self.photos[index]["label"]) for index in indices]
        before = [self.asked.answers[index] for index in indices]
        after, elsewhere = (self._blur(self.asked, indices, where) for where in (places, others))
        old = None
        if self.baseline is not None:
            plain = [self.baseline.answers[index] for index in indices]
            old = _mark_right(plain, labels), _mark_right(self._blur(self.baseline, indices, places), labels)
        right = [_mark_right(side, labels) for side in (before, after, elsewhere)]
        effect = measure_blurring(right[0], right[1], right[2], old)
        return Region(
            **vars(effect),
            share=sum(one.weight for one in members) / len(self.outside),
            classes=dict(Counter(names[index] for index in everyone).most_common()),
            patches=sorted(members, key=lambda one: -one.weight),
            probability=mean_interval([new[1] - one[1] for one, new in zip(before, after, strict=True)]),
            decided=[index for index, one, new in zip(indices, before, after, strict=True) if one[0] != new[0]],
            tested=len(indices),
        )

    def _blur(self, asked: ModelAnswers, indices: Sequence[int], places: Places) -> list[tuple[int, float]]:
        """Return the answers with patches of photos blurred, and the probability of the answers before."""
        found: list[tuple[int, float]] = []
        size, grid = self.settings.batch_size, self.outside[0].shape
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            images = torch.stack([self.photos[index]["image"] for index in part])
            target = torch.tensor([asked.answers[index][0] for index in part])
            changed = _blur_patches(images, [places[index] for index in part], grid).to(asked.model.mean.device)
            with evaluating(asked.model):
                probabilities = self.settings.asking.logits(asked.model, changed).softmax(dim=1).cpu()
            same = probabilities.gather(1, target[:, None])[:, 0]
            found += zip(probabilities.argmax(dim=1).tolist(), same.tolist(), strict=True)
        return found


def _mark_right(answers: Sequence[tuple[int, float]], labels: Sequence[int]) -> list[float]:
    return [float(said == label) for (said, _), label in zip(answers, labels, strict=True)]


def _draw_others(
    outside: np.ndarray, patches: Sequence[tuple[int, int]], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw as many other patches outside the mask, if there are that many."""
    rest = [(int(row), int(column)) for row, column in np.argwhere(outside) if (row, column) not in patches]
    return [rest[at] for at in rng.permutation(len(rest))[: len(patches)]]


def _blur_patches(images: Tensor, places: Sequence[Sequence[tuple[int, int]]], grid: tuple[int, ...]) -> Tensor:
    """Blur patches of images; colours of up to two patches around mix in."""
    height, width = images.shape[-2:]
    rows, columns = height // grid[0], width // grid[1]
    soft = blur_images(images, float(rows), float(columns))
    changed = images.clone()
    for index, patches in enumerate(places):
        for row, column in patches:
            area = (..., slice(row * rows, (row + 1) * rows), slice(column * columns, (column + 1) * columns))
            changed[index][area] = soft[index][area]
    return changed
