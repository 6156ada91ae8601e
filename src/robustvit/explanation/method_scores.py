"""Measuring relevance methods: deletion and insertion, and maps of the same model with random weights."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from robustvit.common.errors import UserError
from robustvit.common.intervals import mean_interval
from robustvit.common.option_groups import RunningOptions
from robustvit.common.progress import track
from robustvit.data.datasets import MaskedPhotos
from robustvit.explanation.deletion import Curves, deletion_insertion
from robustvit.explanation.faithfulness import DeletionOptions, MethodScore
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


def score_methods(
    classifier: Classifier, data: MaskedPhotos, methods: list[str], deletion: DeletionOptions, running: RunningOptions
) -> dict[str, MethodScore]:
    """Return the areas under the deletion and insertion curves by method, and of random maps."""
    generator = torch.Generator().manual_seed(running.seed)
    areas: dict[str, list[tuple[float, float]]] = {name: [] for name in [*methods, NOISE_MAPS]}
    loader = DataLoader(data, batch_size=running.batch_size, num_workers=running.workers)
    for batch in track(loader, "deleting and inserting"):
        image = batch["image"].to(classifier.mean.device)
        for name, found in areas.items():
            curves = _measure_curves(classifier, image, name, generator, deletion)
            found += zip(curves.deletion_auc.tolist(), curves.insertion_auc.tolist(), strict=True)
    scores = {}
    for name, found in areas.items():
        deletion_areas, insertion_areas = map(list, zip(*found, strict=True))
        scores[name] = MethodScore(mean_interval(deletion_areas), mean_interval(insertion_areas), found)
    return scores


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


def _measure_curves(
    classifier: Classifier, images: Tensor, name: str, generator: Generator, deletion: DeletionOptions
) -> Curves:
    if name == NOISE_MAPS:
        maps = torch.rand(len(images), *images.shape[-2:], generator=generator).to(images.device)
    else:
        with torch.no_grad():
            maps = relevance(classifier, images, method=name)
    return deletion_insertion(classifier, images, maps, steps=deletion.steps, fill=deletion.fill)
