"""Stand-ins for the paper's models at tiny scale: the embedded model with its ten classes among ImageNet's 1000."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import timm
import torch

from robustvit.data.embedded.scenes import CLASSES
from robustvit.evaluation.sets.class_tables import unique_imagenet_names
from robustvit.models.classifier import Classifier
from robustvit.models.recipes import CARDS
from robustvit.models.save import save_model

# ImageNet classes that stand for the embedded ones, by index and with SI-Score's name; they are in INet-A, INet-R and
# SI-Score. The choice has no meaning.
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
    """Return the embedded model with 1000 classes. A constant makes the weights, and so the records, differ by card."""
    with as_file(files("robustvit.data.embedded") / "model") as folder:
        small: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    _use_half_normalization(small)
    head = torch.nn.Linear(small.head.in_features, 1000)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(_NEVER - 0.01 * CARDS.index(card))
        for label, (index, _) in enumerate(STANDS_FOR.values()):
            head.weight[index], head.bias[index] = small.head.weight[label], small.head.bias[label]
    small.head, small.num_classes = head, 1000
    return Classifier(small, class_names=unique_imagenet_names(), source=f"stand-in for {card}").eval()


def _use_half_normalization(network: Any) -> None:
    """Change the first layer to take pixels normalized with 0.5, as in the paper's protocol."""
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    projection = network.patch_embed.proj
    with torch.no_grad():
        projection.bias += (projection.weight * (0.5 - mean) / std).sum(dim=(1, 2, 3))
        projection.weight *= 0.5 / std


def write_stand_in(card: str, folder: Path) -> Path:
    """Write a stand-in, unless it exists."""
    return folder if (folder / "config.json").is_file() else save_model(stand_in(card), folder)
