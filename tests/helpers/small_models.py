"""Small models of every library, with random weights that a seed fixes."""

from __future__ import annotations

from pathlib import Path

import pytest

SIZE = 48


def tiny_network(num_classes: int = 3, **options):
    import timm
    import torch

    torch.manual_seed(0)
    settings = {"img_size": SIZE, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
    return timm.create_model("vit_tiny_patch16_224", num_classes=num_classes, **(settings | options)).eval()


def tiny_transformers(kind: str = "ViT", head: str = "ForImageClassification", **options):
    import torch

    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = {"image_size": SIZE, "patch_size": 8, "hidden_size": 24, "intermediate_size": 48, "num_labels": 3}
    settings |= {"num_hidden_layers": 2, "num_attention_heads": 3}
    return getattr(library, kind + head)(getattr(library, kind + "Config")(**(settings | options))).eval()


def tiny_torchvision(**options):
    import torch
    from torch import nn
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    settings = {"image_size": SIZE, "patch_size": 8, "hidden_dim": 24, "mlp_dim": 48, "num_classes": 3}
    network = VisionTransformer(**({"num_layers": 2, "num_heads": 3} | settings | options)).eval()
    nn.init.normal_(network.heads.head.weight)  # zero at the start: no gradient would reach anything
    return network


def save_varied(folder: Path, classes: int, seed: int = 0, scale: float = 4.0) -> Path:
    """Save a tiny transformer whose answers differ from image to image."""
    import torch

    from robustvit.models.classifier import Classifier, Preprocessing
    from robustvit.models.save import save_model

    network = tiny_network(classes)
    torch.manual_seed(seed)
    torch.nn.init.normal_(network.get_classifier().weight, std=scale)
    own = Preprocessing((48, 48), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.9, "bicubic")
    return save_model(Classifier(network, preprocessing=own), folder)
