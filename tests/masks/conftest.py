"""A small backbone that objects stand out with, and photos for it."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from helpers.drawn_photos import CLASSES, draw_photo

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small backbone whose keys are little more than the patches' colours, so that objects stand out."""
    torch.manual_seed(0)
    network = timm.create_model(TINY, num_classes=0)
    state = network.state_dict()
    patches = state["patch_embed.proj.weight"]
    patches.copy_(torch.randn(192, 3, 1, 1).expand_as(patches) / 256)
    state["pos_embed"].zero_()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def settings(weights):
    cut = {"feature": "tokens", "centre": True, "threshold": 0.2}  # or every call would choose among several
    return {"model": TINY, "checkpoint": str(weights), "block": 1, "size": 192, "device": "cpu"} | cut


@pytest.fixture
def images(tmp_path):
    """Two photos a class, 96 x 96."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            draw_photo(rng, label, 96)[0].save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"
