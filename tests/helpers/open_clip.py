"""A small zero-shot model of open_clip."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helpers.small_models import SIZE
from robustvit.models.libraries.open_clip import ZeroShot


def from_open_clip():
    tower = pytest.importorskip("open_clip.transformer").VisionTransformer
    network = tower(image_size=SIZE, patch_size=8, width=24, layers=2, heads=3, mlp_ratio=2, output_dim=8)
    return ZeroShot(network, F.normalize(torch.randn(3, 8), dim=-1), 10.0)
