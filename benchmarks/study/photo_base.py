"""Base models for the benchmarks on real photos: a pretrained ViT-S finetuned in the ordinary way, without any mask."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from robustvit import Classifier
from robustvit.data.datasets import read_pair
from robustvit.data.find_photos import find_photos
from robustvit.models.classifier import Preprocessing
from robustvit.models.save import save_model

ARCHITECTURE = "vit_small_patch14_dinov2"
BASE_EPOCHS, BASE_BATCH = 8, 8
BASE_RATES = {"head": 1e-3, "backbone": 1e-5}


def preprocessing(size: int) -> Preprocessing:
    """What a model of ``size`` pixels takes."""
    return Preprocessing((size, size), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "bicubic")


def training_tensors(data: Path, size: int) -> tuple[Tensor, Tensor, list[str]]:
    """Training photos squashed to 8/7 of the input size, their labels, and the names of the classes."""
    photos = find_photos(data / "train" / "images")
    names = sorted({str(photo.class_name) for photo in photos})
    side = round(size * 8 / 7)
    images = [
        TF.resize(TF.pil_to_tensor(read_pair(photo)[0]), [side, side], InterpolationMode.BICUBIC, antialias=True)
        for photo in photos
    ]
    labels = torch.tensor([names.index(str(photo.class_name)) for photo in photos])
    return torch.stack(images).float() / 255, labels, names


def new_model(weights: Path, classes: list[str], size: int) -> Classifier:
    """The pretrained backbone with a fresh head."""
    network: Any = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=len(classes), img_size=size)
    missing, unexpected = network.load_state_dict(checkpoint_filter_fn(load_file(weights), network), strict=False)
    if set(missing) != {"head.weight", "head.bias"} or unexpected:
        sys.exit(f"{weights} does not hold the backbone of {ARCHITECTURE}: lacks {missing}, has {unexpected}")
    nn.init.trunc_normal_(network.head.weight, std=0.02)
    return Classifier(network, preprocessing=preprocessing(size), class_names=classes)


def cropped(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A random crop of each image, mirrored in half of the cases."""
    room = images.shape[-1] - size + 1
    crops = []
    for image in images:
        top, left = (int(torch.randint(room, (1,), generator=generator)) for _ in range(2))
        crop = image[:, top : top + size, left : left + size]
        crops.append(crop.flip(-1) if torch.rand(1, generator=generator) < 0.5 else crop)
    return torch.stack(crops)


def train_base(
    data: Path, weights: Path, seed: int, folder: Path, size: int,
    rates: Mapping[str, float] = BASE_RATES, epochs: int = BASE_EPOCHS,
) -> None:  # fmt: skip
    """Ordinary finetuning: new head, small rate for the backbone, cross-entropy, every training photo, no masks."""
    images, labels, names = training_tensors(data, size)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = new_model(weights, names, size)
    head = list(model.network.get_classifier().parameters())
    body = [p for name, p in model.network.named_parameters() if not name.startswith("head")]
    groups = [{"params": head, "lr": rates["head"]}, {"params": body, "lr": rates["backbone"]}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(images), generator=generator).split(BASE_BATCH):
            loss = F.cross_entropy(model(cropped(images[batch], size, generator)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        print(f"seed {seed}, base epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)
    save_model(model, folder)
