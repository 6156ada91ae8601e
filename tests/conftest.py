"""Small models and drawn photos that every test can build on; nothing is downloaded."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # several tests run at once, one on each core

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# PyTorch and timm are imported in the functions: the process that only hands tests out must not wait for them

SIZE = 48
CLASSES = ("disc", "frame", "stripe")


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


def draw_photo(rng: np.random.Generator, label: int, size: int = SIZE) -> tuple[Image.Image, Image.Image]:
    """A bright object of one of three shapes on a tinted noise background that goes with its class."""
    tint = np.array([(200, 60, 60), (60, 200, 60), (60, 60, 200)][label])
    canvas = (0.5 * tint + rng.integers(0, 90, (size, size, 3))).astype(np.uint8)
    rows, columns = np.mgrid[:size, :size]
    y, x = rng.integers(size // 3, size - size // 3, 2)
    reach = size // 5
    box = np.maximum(abs(rows - y), abs(columns - x))
    shapes = (
        (rows - y) ** 2 + (columns - x) ** 2 <= reach**2,
        (box <= reach) & (box >= reach // 2),
        (abs(rows - y) <= reach // 2) & (abs(columns - x) <= reach),
    )
    canvas[shapes[label]] = rng.integers(200, 255, 3)
    return Image.fromarray(canvas), Image.fromarray((255 * shapes[label]).astype(np.uint8))


def without_classes(photos: tuple[Path, Path], folder: Path, pattern: str = "*.png") -> tuple[str, str]:
    """Copies of photos and masks in one flat folder each."""
    for kind, source in zip(("images", "masks"), photos, strict=True):
        (folder / kind).mkdir(parents=True)
        for path in sorted(source.rglob(pattern)):
            shutil.copy(path, folder / kind / f"{path.parent.name}-{path.name}")
    return str(folder / "images"), str(folder / "masks")


def write_photos(folder: Path, count: int, seed: int = 0, classes=CLASSES) -> tuple[Path, Path]:
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        for kind in ("images", "masks"):
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo, mask = draw_photo(rng, label)
            photo.save(folder / "images" / name / f"{number:03d}.png")
            mask.save(folder / "masks" / name / f"{number:03d}.png")
    return folder / "images", folder / "masks"


def pytest_ignore_collect(collection_path, config):
    """Leave the app's tests, whose imports take seconds, to ``make test-app``, which names their mark."""
    return True if collection_path.stem.startswith("test_app_") and "app" not in config.getoption("markexpr") else None


@pytest.fixture
def network():
    return tiny_network()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    from robustvit.models.classifier import Classifier
    from robustvit.models.save import save_model

    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_model(Classifier(tiny_network(), class_names=CLASSES), folder)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> tuple[Path, Path]:
    return write_photos(tmp_path_factory.mktemp("photos"), 10)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Starts runs as processes of their own that need not import everything anew."""
    from run_server import RunServer

    found = RunServer(tmp_path_factory.mktemp("server"))
    yield found
    found.close()
