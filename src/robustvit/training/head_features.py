"""Inputs of the last layer, of photos on their own backgrounds and on those of other photos."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from robustvit.common.errors import UserError
from robustvit.common.signals import reading_processes
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.explanation.attention.interception import evaluating
from robustvit.models.classifier import Classifier, logits_of

Pair = tuple[int, int | None]  # a photo, and the one that lends its background


class Composites(Dataset):
    """Photos, each on its own background or on that of another."""

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
