"""The energy loss against a plain loop in float64, and what it leaves free."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import SIZE, tiny_network
from robustvit import guided_loss, relevance
from robustvit.explanation.methods import RELEVANCE_METHODS
from robustvit.guidance.energy import energy_loss
from robustvit.masks.annotations.boxes import draw_box, draw_ellipse


def plain(maps, masks):
    shares = []
    for one, mask in zip(maps, masks, strict=True):
        pairs = list(zip(one.flatten().tolist(), mask.flatten().tolist(), strict=True))
        total = sum(value for value, _ in pairs)
        shares.append(sum(value * inside for value, inside in pairs) / total if total else 0.0)
    return 1 - sum(shares) / len(shares)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_the_loss_equals_a_plain_loop(seed, empty):
    generator = torch.Generator().manual_seed(seed)
    maps, masks = (torch.rand(3, 1, 5, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    if empty:
        maps[1] = 0
    found = energy_loss(maps, masks)
    assert found.item() == pytest.approx(plain(maps, masks), abs=1e-12)
    assert 0 <= found.item() <= 1
    assert energy_loss(maps, masks[:, 0]).item() == found.item()


def test_it_does_not_matter_where_in_the_box_the_relevance_lies():
    box, one, other = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)
    box[..., 1:4, 1:4], one[..., 1, 1], other[..., 3, 2] = 1, 1, 0.5
    assert energy_loss(one, box).item() == energy_loss(other, box).item() == 0


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    maps, masks = (torch.rand(2, 1, 3, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda m: energy_loss(m, masks), maps.requires_grad_())


@pytest.mark.parametrize("method", RELEVANCE_METHODS)
def test_a_step_is_the_loss_of_the_true_classs_map_and_cross_entropy(method):
    network = tiny_network().double().eval()
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64, generator=generator)
    masks, labels = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.float64), torch.tensor([0, 2])
    masks[..., 5:20, 3:15] = 1
    found = guided_loss(network, images, masks, labels, guidance="energy", relevance=method, relevance_weight=3.0)
    maps = relevance(network, images, labels, method=method)
    entropy = torch.nn.functional.cross_entropy(network(images), labels)
    assert found.loss.item() == pytest.approx(3 * plain(maps, masks) + entropy.item(), rel=1e-8)
    assert found.parts.keys() == {"relevance", "classification"}
    found.loss.backward()
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in network.parameters())


@pytest.mark.parametrize("method", RELEVANCE_METHODS)
def test_a_box_is_taken_as_it_is(method):
    """The share of the map's sum in the rows and columns of the box; a soft edge counts in part."""
    network = tiny_network().double().eval()
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))[:1]
    one_map = relevance(network, images, torch.tensor([0]), method=method)[0, 0].detach().numpy()
    assert one_map.max() == 1
    box = draw_box((3, 5, 15, 20), (SIZE, SIZE), feather=0)
    soft = draw_ellipse((3, 5, 15, 20), (SIZE, SIZE))
    pixels = [(row, column) for row in range(SIZE) for column in range(SIZE)]
    expected = {
        "box": one_map[5:20, 3:15].sum() / one_map.sum(),
        "ellipse": sum(float(one_map[at]) * float(soft[at]) for at in pixels) / one_map.sum(),
    }
    for name, mask in (("box", box), ("ellipse", soft)):
        masks = torch.from_numpy(mask)[None, None]
        found = guided_loss(network, images, masks, torch.tensor([0]), guidance="energy", relevance=method)
        assert found.parts["relevance"].item() == pytest.approx(1 - expected[name], rel=1e-9)
