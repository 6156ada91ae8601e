"""The data that a new last layer is fitted on: photos, and the inputs of the layer for each, on any background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from robustvit.common.errors import UserError
from robustvit.common.options import Balance
from robustvit.common.signals import reading_processes
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.gather import RunPhotos
from robustvit.data.photo import Photo
from robustvit.models.classifier import Classifier, logits_of
from robustvit.models.forward_pass import evaluating

Pair = tuple[int, int | None]  # a photo, and the photo that lends its background


class Composites(Dataset):
    """Photos, each on its own background or on the background of another photo."""

    def __init__(self, photos: MaskedPhotos, pairs: Sequence[Pair]) -> None:
        self.photos, self.pairs = photos, pairs
        self.swapped = SwappedPhotos(photos, [(index, index if donor is None else donor) for index, donor in pairs])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, position: int) -> Tensor:
        index, donor = self.pairs[position]
        return (self.photos[index] if donor is None else self.swapped[position])["image"]


@torch.no_grad()
def last_features(
    classifier: Classifier,
    layers: Sequence[nn.Linear],
    composites: Dataset,
    batch_size: int,
    workers: int,
    device: str | torch.device,
) -> tuple[Tensor, Tensor]:
    """Return the inputs of the last layers, joined to ``(N, D)``, and the logits ``(N, C)``; float64, on the CPU."""
    features, logits = [], []
    entered: dict[nn.Module, Tensor] = {}
    with evaluating(classifier), ExitStack() as hooks:
        for layer in layers:
            hook = layer.register_forward_pre_hook(lambda layer, given: entered.update({layer: given[0]}))
            hooks.enter_context(hook)
        for images in DataLoader(composites, batch_size=batch_size, **reading_processes(workers)):
            found = logits_of(classifier(images.to(device)))
            features.append(torch.cat([entered[layer].flatten(1) for layer in layers], dim=1).cpu().double())
            logits.append(found.cpu().double())
    if features[0].shape[1] != sum(layer.in_features for layer in layers):
        raise UserError(
            f"expected one feature vector per photo for --guidance dfr, {type(classifier.network).__name__} has "
            "several: use --guidance last-layer"
        )
    return torch.cat(features), torch.cat(logits)


def photos_to_fit(gathered: RunPhotos, classes: int, balance: Balance = "background") -> list[Photo]:
    """Choose the photos to fit a new head on: held-out photos, except those that judge.

    If a class has fewer than two of them, or a class of a group with ``balance="group"``, the training photos are
    added. Classes of a group that still have a single photo are left out, and named in the run's notes.
    """
    judged = {photo.image.resolve() for photo in gathered.verdict}
    photos = [photo for photo in gathered.validation if photo.image.resolve() not in judged]
    if _count_fewest(photos, classes) < 2:
        photos += gathered.train
    if balance == "group":
        photos = _take_groups(photos, gathered)
    if (fewest := _count_fewest(photos, classes)) < 2:
        raise UserError(
            f"expected at least two photos of each of the model's {classes} classes that do not judge, for --guidance "
            f"dfr, which makes a new head; a class has {fewest}: give more photos, or use --guidance last-layer"
        )
    return photos


def _take_groups(photos: list[Photo], gathered: RunPhotos) -> list[Photo]:
    """Return photos of known groups, at least two of each class of each group."""
    there = {photo.image for photo in photos}
    train = [photo for photo in gathered.train if photo.image not in there]
    counts = Counter(map(cell_of, photos))
    if any(counts[cell_of(photo)] < 2 for photo in [*photos, *train] if photo.group is not None):
        photos = [*photos, *train]
        counts = Counter(map(cell_of, photos))
    if not any(photo.group is not None for photo in photos):
        raise UserError("expected groups for --balance group, found none: name their column or folders with --group-by")
    kept = [photo for photo in photos if photo.group is not None and counts[cell_of(photo)] > 1]
    cells = set(map(cell_of, kept))
    if lost := sorted({f"{photo.class_name} of {photo.group}" for photo in photos if cell_of(photo) not in cells}):
        line = f"Not used for the new head, with fewer than two photos or of no group: {', '.join(lost[:10])}."
        if line not in gathered.notes:
            gathered.notes.append(line)
    return kept


def cell_of(photo: Photo) -> tuple[str | None, int | None]:
    """Return group and class of a photo; a balanced subset has equally many photos of each such pair."""
    return photo.group, photo.label


def _count_fewest(photos: Sequence[Photo], classes: int) -> int:
    counts = Counter(photo.label for photo in photos)
    return min(counts[label] for label in range(classes))
