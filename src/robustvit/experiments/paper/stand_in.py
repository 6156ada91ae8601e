"""Stand-ins for the paper's models at tiny scale: the embedded model, its ten classes placed among ImageNet's 1000."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import timm
import torch

from robustvit.data.embedded.scenes import CLASSES
from robustvit.evaluation.sets.class_tables import imagenet_names
from robustvit.models.classifier import Classifier
from robustvit.models.recipes import CARDS
from robustvit.models.save import save_model

# ImageNet classes that lend their places to the embedded ones; they are in INet-A, INet-R and SI-Score. By index, with
# SI-Score's name: a heart stands as a goose, and so on. Nothing is meant by it.
STANDS_FOR: dict[str, tuple[int, str]] = dict(
    zip(
        CLASSES,
        (
            (99, "goose"),
            (327, "starfish"),
            (407, "ambulance"),
            (470, "candle"),
            (472, "canoe"),
            (776, "saxophone"),
            (932, "pretzel"),
            (937, "broccoli"),
            (951, "lemon"),
            (954, "banana"),
        ),
        strict=True,
    )
)
_NEVER = -20.0  # bias of the 990 other classes


def stand_in(card: str) -> Classifier:
    """The embedded model with 1000 classes. A constant sets the cards' weights, and so their records, apart."""
    with as_file(files("robustvit.data.embedded") / "model") as folder:
        small: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    _take_half_normalised(small)
    head = torch.nn.Linear(small.head.in_features, 1000)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(_NEVER - 0.01 * CARDS.index(card))
        for place, (index, _) in enumerate(STANDS_FOR.values()):
            head.weight[index], head.bias[index] = small.head.weight[place], small.head.bias[place]
    small.head, small.num_classes = head, 1000
    return Classifier(small, class_names=imagenet_names(), source=f"stand-in for {card}").eval()


def _take_half_normalised(network: Any) -> None:
    """Let the first layer take pixels normalised by 0.5, as the paper's protocol feeds every model, not by its own."""
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    projection = network.patch_embed.proj
    with torch.no_grad():
        projection.bias += (projection.weight * (0.5 - mean) / std).sum(dim=(1, 2, 3))
        projection.weight *= 0.5 / std


def write_stand_in(card: str, folder: Path) -> Path:
    """Write a stand-in, unless it is there."""
    return folder if (folder / "config.json").is_file() else save_model(stand_in(card), folder)
