"""Values of the authors' released code, kept outside the project; skipped where they are missing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from robustvit import guided_loss, relevance
from robustvit.masks.tokencut.bilateral_solver import bilateral_solver, refined_mask
from robustvit.masks.tokencut.normalized_cut import normalized_cut, similar_patches

GOLDEN = Path(os.environ.get("ROBUSTVIT_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
FILES = sorted(GOLDEN.glob("reference_seed*.npz"))

pytestmark = pytest.mark.skipif(not FILES, reason="no golden values beside this checkout")


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def golden(request):
    return np.load(request.param)


@pytest.fixture
def model(golden):
    state = {name[6:]: torch.from_numpy(golden[name]) for name in golden.files if name.startswith("param.")}
    network = timm.create_model(
        "vit_base_patch16_224", pretrained=False, embed_dim=48, depth=4, num_heads=4, num_classes=10
    )
    network.load_state_dict(state)
    return network.eval()


def inputs(golden):
    images = torch.from_numpy(golden["images"]).float()
    return images, torch.from_numpy(golden["masks"]).float(), torch.from_numpy(golden["targets"])


def test_logits_and_maps_equal_the_authors(golden, model):
    images, _, targets = inputs(golden)
    assert np.abs(model(images).detach().numpy() - golden["logits"]).max() < 1e-5
    for target, name in ((targets, "relevance_target"), (None, "relevance_predicted")):
        maps = relevance(model, images, target)
        assert np.abs(maps.detach().numpy() - golden[name]).max() < 1e-5


@pytest.mark.parametrize(("temperature", "suffix"), [(1.0, "t1"), (0.65, "t065")])
def test_losses_and_gradients_equal_the_authors(golden, model, temperature, suffix):
    images, masks, targets = inputs(golden)
    guided = guided_loss(model, images, masks, targets, temperature=temperature)
    values = [guided.parts["background"], guided.parts["foreground"], guided.parts["classification"], guided.loss]
    assert np.abs(np.array([float(value) for value in values]) - golden[f"loss_{suffix}"]).max() < 1e-6
    guided.loss.backward()
    prefix = f"grad_{suffix}."
    names = [name for name in golden.files if name.startswith(prefix)]
    assert names
    for name in names:
        expected = golden[name]
        ours = dict(model.named_parameters())[name[len(prefix) :]].grad.numpy()
        assert np.linalg.norm(ours - expected) <= 1e-4 * np.linalg.norm(expected), name


def test_cuts_equal_tokencuts(golden):
    grid = tuple(golden["ncut_grid"])
    cut = normalized_cut(similar_patches(golden["ncut_features"], 0.2), grid)
    expected = golden["ncut_eigvec"]
    sign = np.sign((cut.eigenvector * expected).sum())
    assert np.abs(sign * cut.eigenvector - expected).max() < 1e-4
    size = np.abs(expected).ravel()  # patches with the same neighbours tie, and rounding chooses among them
    assert size[np.ravel_multi_index(cut.seed, grid)] == pytest.approx(size[golden["ncut_seed"]], abs=1e-9)
    assert (cut.mask == golden["ncut_mask"].astype(bool)).all()


def test_bilateral_solutions_equal_tokencuts(golden):
    soft = bilateral_solver(golden["bilateral_image"], golden["bilateral_target"].astype(float))
    assert np.abs(soft - golden["bilateral_soft"]).max() < 1e-3
    assert (refined_mask(soft) == golden["bilateral_mask"].astype(bool)).all()
