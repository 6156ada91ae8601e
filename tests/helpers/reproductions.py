"""What tests of reproductions share: the paper's items, a small ImageNet-S, and a model that knows nothing."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from PIL import Image

from robustvit.evaluation.sets.class_tables import unique_imagenet_names
from robustvit.experiments.paper.tiny import STANDS_FOR
from robustvit.models.classifier import Classifier
from robustvit.models.recipes import CARDS

PAPER_ITEMS = [
    *(f"table{number}" for number in (1, 2, 3, 4, 8, 9, 10, 11, 12)),
    *(f"figure{number}" for number in (1, 2, 3, 4, 6, 7)),
    "appendix-a",
    "appendix-j",
]


def write_imagenet_s(root: Path, classes: list[str], photos: int = 4) -> Path:
    """Photos of 8 x 8 pixels; written last to first, so that the file system's order is not that of the names."""
    folder = root / "ImageNetS919"
    for wnid in reversed(classes):
        for kind in ("train-semi", "train-semi-segmentation"):
            (folder / kind / wnid).mkdir(parents=True)
        for number in reversed(range(photos)):
            Image.new("RGB", (8, 8), (number, 9, 9)).save(folder / "train-semi" / wnid / f"{wnid}_{number}.JPEG")
            mask = Image.new("RGB", (8, 8))
            mask.paste((44, 1, 0), (2, 2, 6, 6))  # class 300
            mask.paste((232, 3, 0), (0, 0, 8, 1))  # 1000, ignored
            mask.save(folder / "train-semi-segmentation" / wnid / f"{wnid}_{number}.png")
    return root


def narrow_stand_in(card: str) -> Classifier:
    """As ``stand_in``, with a small network that knows nothing, for a third of the time."""
    torch.manual_seed(CARDS.index(card))
    shape = {"img_size": 112, "patch_size": 14, "embed_dim": 48, "depth": 2, "num_heads": 3}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=1000, **shape)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(-20.0)
        for index, _ in STANDS_FOR.values():
            network.head.weight[index].normal_()
            network.head.bias[index] = 0
    return Classifier(network, class_names=unique_imagenet_names(), source=f"stand-in for {card}").eval()
