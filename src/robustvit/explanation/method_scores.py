"""Measuring relevance methods: deletion and insertion, and maps of the same model with random weights."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from robustvit.common.errors import UserError
from robustvit.common.progress import track
from robustvit.data.datasets import MaskedPhotos
from robustvit.explanation.deletion import Curves, deletion_insertion
from robustvit.explanation.maps import relevance
from robustvit.explanation.methods import check_method
from robustvit.explanation.options import DeletionOptions
from robustvit.explanation.randomisation import Sanity, measure_sanity
from robustvit.models.classifier import Classifier
from robustvit.models.families import find_layout

NOISE_MAPS = "random"  # noise maps: a method that does not beat them is useless


def unsupported_methods(names: list[str], classifier: Classifier) -> dict[str, str]:
    """Return why a model does not allow some methods; refuse a model that allows none of them."""
    found: dict[str, str] = {}
    for name in names:
        try:
            check_method(name, classifier)
        except UserError as error:
            found[name] = str(error)
    if len(found) == len(names):
        raise UserError(found[names[0]])
    return found


def measure_areas(
    classifier: Classifier, loader: DataLoader, methods: list[str], deletion: DeletionOptions, seed: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the areas under the deletion and the insertion curve of each photo, by method."""
    generator = torch.Generator().manual_seed(seed)
    areas: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for batch in track(loader, "deleting and inserting"):
        image = batch["image"].to(classifier.mean.device)
        for name, found in areas.items():
            curves = _curves(classifier, image, name, generator, deletion)
            found += zip(curves.deletion_auc.tolist(), curves.insertion_auc.tolist(), strict=True)
    return areas


def check_sanity(
    classifier: Classifier, data: MaskedPhotos, methods: list[str], photos: int, seed: int
) -> Sanity | None:
    """Compare maps with those of randomised weights on some photos, spread over all; of networks with blocks only."""
    try:
        find_layout(classifier)
    except UserError:
        return None
    if not photos:
        return None
    chosen = range(0, len(data), -(-len(data) // photos))
    images = torch.stack([data[index]["image"] for index in chosen]).to(classifier.mean.device)
    return measure_sanity(classifier, images, methods, seed)


def _curves(
    classifier: Classifier, images: Tensor, name: str, generator: Generator, deletion: DeletionOptions
) -> Curves:
    if name == NOISE_MAPS:
        maps = torch.rand(len(images), *images.shape[-2:], generator=generator).to(images.device)
    else:
        with torch.no_grad():
            maps = relevance(classifier, images, method=name)
    return deletion_insertion(classifier, images, maps, steps=deletion.steps, fill=deletion.fill)
