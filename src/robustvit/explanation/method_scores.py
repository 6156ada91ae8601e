"""Measuring relevance methods: deletion and insertion, and maps of the same model with random weights."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import Fill
from robustvit.common.progress import track
from robustvit.data.datasets import MaskedPhotos
from robustvit.explanation.deletion import deletion_insertion
from robustvit.explanation.maps import relevance
from robustvit.explanation.methods import check_method
from robustvit.explanation.randomisation import Sanity, measure_sanity
from robustvit.models.classifier import Classifier
from robustvit.models.families import find_layout

NOISE_MAPS = "random"  # a method that does not beat maps of noise is useless


def unsupported_methods(names: list[str], classifier: Classifier) -> dict[str, str]:
    """Return why a model does not support some methods; refuse a model that supports none of them."""
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
    classifier: Classifier, data: MaskedPhotos, methods: list[str], steps: int, fill: Fill, running: RunningOptions
) -> dict[str, list[tuple[float, float]]]:
    """Return the areas under the deletion and insertion curves of each photo, by method, and of random maps."""
    generator = torch.Generator().manual_seed(running.seed)
    areas: dict[str, list[tuple[float, float]]] = {name: [] for name in [*methods, NOISE_MAPS]}
    loader = DataLoader(data, batch_size=running.batch_size, num_workers=running.workers)
    for batch in track(loader, "deleting and inserting"):
        images = batch["image"].to(classifier.mean.device)
        for name, found in areas.items():
            maps = _make_maps(classifier, images, name, generator)
            curves = deletion_insertion(classifier, images, maps, steps=steps, fill=fill)
            found += zip(curves.deletion_auc.tolist(), curves.insertion_auc.tolist(), strict=True)
    return areas


def check_sanity(
    classifier: Classifier, data: MaskedPhotos, methods: list[str], photos: int, seed: int
) -> Sanity | None:
    """Compare maps with those of randomised weights, on ``photos`` of the data; None for a network without blocks."""
    try:
        find_layout(classifier)
    except UserError:
        photos = 0
    if not photos:
        return None
    chosen = range(0, len(data), -(-len(data) // photos))
    images = torch.stack([data[index]["image"] for index in chosen]).to(classifier.mean.device)
    return measure_sanity(classifier, images, methods, seed)


def _make_maps(classifier: Classifier, images: Tensor, name: str, generator: Generator) -> Tensor:
    if name == NOISE_MAPS:
        return torch.rand(len(images), *images.shape[-2:], generator=generator).to(images.device)
    with torch.no_grad():
        return relevance(classifier, images, method=name)
