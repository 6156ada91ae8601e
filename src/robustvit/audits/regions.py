"""What a model looks at beside the object: relevant patches outside the mask, by kind, and what blurring them does."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from robustvit.audits.clusters import choose_clusters
from robustvit.audits.region import Patch, Region
from robustvit.common.intervals import mean_interval, paired_difference
from robustvit.common.progress import track
from robustvit.data.cached_photos import CachedPhotos
from robustvit.evaluation.asking import Asking
from robustvit.explanation.attention.interception import evaluating
from robustvit.explanation.deletion import blurred
from robustvit.models.classifier import Classifier

_A_PHOTO = 8  # patches of a photo that are described


@dataclass(frozen=True)
class Asked:
    """A model, and its answers to the photos as they are, with their probabilities."""

    model: Classifier
    answers: Sequence[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class RegionSettings:
    """How regions are found and tested.

    Attributes:
        method: relevance method, for the predicted class.
        most: kinds of region at most.
        seed: of the clustering, of the control's patches and of the photos that are tested.
        batch_size: images at a time.
        passes: forward passes that blurring may take; None: as many as there are photos with each kind, twice.
        anywhere: all relevant patches count, on the object or not, for photos without masks.
        asking: how the model is asked.
    """

    method: str = "gae"
    most: int = 6
    seed: int = 0
    batch_size: int = 32
    passes: int | None = None
    anywhere: bool = False
    asking: Asking = field(default_factory=Asking)


def find_regions(
    model: Classifier,
    photos: CachedPhotos,
    names: Sequence[str],
    answers: Sequence[tuple[int, float]],
    settings: RegionSettings | None = None,
    baseline: Asked | None = None,
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
        settings: how; the defaults if None.
        baseline: takes photos as ``model`` does; the same patches are blurred for it.

    Returns:
        The kinds, that with most relevance first; empty where nothing outside the masks is relevant.
    """
    settings = settings or RegionSettings()
    found = _relevant_patches(model, photos, settings)
    if not found.patches:
        return []
    points = np.stack(found.features)
    different = len(np.unique(points, axis=0))
    candidates = [k for k in range(2, settings.most + 1) if k < different] or [1]
    labels, _, _ = choose_clusters(points, candidates, settings.seed)
    kinds = [np.flatnonzero(labels == kind) for kind in range(int(labels.max()) + 1)]
    kinds = [kind for kind in kinds if len(kind)]
    having = [len({found.patches[at].photo for at in kind}) for kind in kinds]
    tester = _Tester(Asked(model, answers), baseline, photos, found.outside, settings)
    regions = []
    for kind, most in zip(kinds, share_out(having, settings.passes), strict=True):
        centre = points[kind].mean(axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-12)
        region = tester.measure([found.patches[at] for at in kind], names, most)
        reach = float(np.quantile(points[kind] @ centre, 0.1))
        regions.append(replace(region, centre=tuple(map(float, centre)), reach=reach))
    return sorted(regions, key=lambda one: -one.share)


def share_out(having: Sequence[int], passes: int | None) -> list[int]:
    """Return how many photos to test of each kind, evenly; what small kinds leave goes to the others.

    Args:
        having: photos of each kind.
        passes: forward passes that may be used, two for each test; None tests all photos. At least one of each kind is
            tested.
    """
    if passes is None:
        return list(having)
    left, found = passes // 2, [0] * len(having)
    for done, at in enumerate(sorted(range(len(having)), key=lambda at: having[at])):
        found[at] = max(1, min(having[at], left // (len(having) - done)))
        left -= found[at]
    return found


@dataclass(frozen=True)
class _Found:
    """Relevant patches with their features, and for each photo which patches lie outside its mask."""

    patches: list[Patch]
    features: list[np.ndarray]
    outside: list[np.ndarray]


@torch.no_grad()
def _relevant_patches(model: Classifier, photos: CachedPhotos, settings: RegionSettings) -> _Found:
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
        if not settings.anywhere:
            outside &= ~outside.all(dim=2).all(dim=1)[:, None, None]  # without an object nothing is beside it
        for share, own, described in zip(shares * outside, outside, F.normalize(found, dim=-1), strict=True):
            for place in share.flatten().topk(min(_A_PHOTO, share.numel())).indices.tolist():
                row, column = divmod(place, grid[1])
                if share[row, column] > 1 / share.numel():
                    patches.append(Patch(len(free), row, column, float(share[row, column])))
                    features.append(described[row, column].double().numpy())
            free.append(own.numpy())
    return _Found(patches, features, free)


@dataclass(frozen=True)
class _Tester:
    """Blurs kinds of region."""

    asked: Asked
    baseline: Asked | None
    photos: CachedPhotos
    outside: Sequence[np.ndarray]
    settings: RegionSettings

    def measure(self, members: list[Patch], names: Sequence[str], most: int) -> Region:
        """Blur the patches of one kind, and as many others, in at most that many photos."""
        places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for one in members:
            places[one.photo].append((one.row, one.column))
        rng = np.random.default_rng(self.settings.seed)
        everyone = sorted(places)
        others = {index: _others(self.outside[index], own, rng) for index, own in places.items()}
        indices = everyone
        if len(everyone) > most:
            indices = sorted(rng.permutation(everyone)[:most].tolist())
        before = [self.asked.answers[index] for index in indices]
        labels = [int(self.photos[index]["label"]) for index in indices]
        blurred_there, control = ([(index, where[index]) for index in indices] for where in (places, others))
        after = self._blur(self.asked, blurred_there)
        right, after_blur, elsewhere = (
            _right(side, labels) for side in (before, after, self._blur(self.asked, control))
        )
        old = risen = None
        if self.baseline is not None:
            was = _right([self.baseline.answers[index] for index in indices], labels)
            then = _right(self._blur(self.baseline, blurred_there), labels)
            old = paired_difference(was, then)
            risen = paired_difference(*([x - y for x, y in zip(*side, strict=True)]
                                        for side in ((was, then), (right, after_blur))))  # fmt: skip
        return Region(
            share=sum(one.weight for one in members) / len(self.outside),
            classes=dict(Counter(names[index] for index in everyone).most_common()),
            patches=sorted(members, key=lambda one: -one.weight),
            accuracy=paired_difference(right, after_blur),
            against_others=paired_difference(elsewhere, after_blur),
            probability=mean_interval([new[1] - one[1] for one, new in zip(before, after, strict=True)]),
            decided=[index for index, one, new in zip(indices, before, after, strict=True) if one[0] != new[0]],
            tested=len(indices),
            baseline=old,
            risen=risen,
        )

    def _blur(self, asked: Asked, places: Sequence[tuple[int, list[tuple[int, int]]]]) -> list[tuple[int, float]]:
        """Return the answers with patches of photos blurred, and the probability of the answers before."""
        found: list[tuple[int, float]] = []
        size, grid = self.settings.batch_size, self.outside[0].shape
        for start in range(0, len(places), size):
            part = places[start : start + size]
            images = torch.stack([self.photos[index]["image"] for index, _ in part])
            target = torch.tensor([asked.answers[index][0] for index, _ in part])
            changed = _blur_patches(images, [own for _, own in part], grid).to(asked.model.mean.device)
            with evaluating(asked.model):
                probabilities = self.settings.asking.logits(asked.model, changed).softmax(dim=1).cpu()
            same = probabilities.gather(1, target[:, None])[:, 0]
            found += zip(probabilities.argmax(dim=1).tolist(), same.tolist(), strict=True)
        return found


def _right(answers: Sequence[tuple[int, float]], labels: Sequence[int]) -> list[float]:
    return [float(said == label) for (said, _), label in zip(answers, labels, strict=True)]


def _others(outside: np.ndarray, own: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw as many other patches outside the mask, if there are."""
    rest = [(int(row), int(column)) for row, column in np.argwhere(outside) if (row, column) not in own]
    return [rest[at] for at in rng.permutation(len(rest))[: len(own)]]


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
