"""Relevance maps against a plain second implementation written from equations 6 and 7."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F

from helpers.small_models import SIZE, tiny_network
from helpers.state import state_of
from plain.relevance_maps import plain_forward
from robustvit import UserError, load_model, relevance
from robustvit.explanation.maps import image_map


def plain_relevance(network, images, targets=None):
    """One image at a time, one gradient per block, whole matrices from the first block to the last."""
    result = []
    for index in range(len(images)):
        logits, maps = plain_forward(network, images[index : index + 1])
        target = logits[0].argmax() if targets is None else targets[index]
        total = torch.eye(maps[0].shape[-1], dtype=images.dtype)
        for attention in maps:
            gradient = torch.autograd.grad(logits[0, target], attention, retain_graph=True)[0]
            heads = [torch.relu(g * a) for g, a in zip(gradient[0], attention[0], strict=True)]
            total = total + (sum(heads) / len(heads)) @ total
        prefix = network.num_prefix_tokens
        side = round((total.shape[0] - prefix) ** 0.5)
        row = total[0, prefix:].reshape(1, 1, side, side)
        full = F.interpolate(row, size=images.shape[-2:], mode="bilinear")[0, 0]
        result.append((full - full.min()) / (full.max() - full.min()))
    return torch.stack(result)[:, None]


@pytest.fixture
def images():
    return torch.rand(3, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 3}, {"qk_norm": True}, {"init_values": 0.5}], ids=str)
@pytest.mark.parametrize("targets", [None, torch.tensor([2, 0, 1])], ids=["predicted", "given"])
def test_equals_the_plain_loop(images, options, targets):
    network = tiny_network(**options).double()
    ours = relevance(network, images, targets)
    assert ours.shape == (3, 1, SIZE, SIZE)
    assert torch.allclose(ours, plain_relevance(network, images, targets), atol=1e-12)


@pytest.mark.parametrize("second_order", [False, True])
def test_gradient_equals_finite_differences_of_the_plain_loop(images, second_order):
    """First order holds the attention's gradient constant; second order is the true derivative of the map."""
    network = tiny_network().double()
    target = torch.tensor([1, 2, 0])
    weights = torch.randn(3, 1, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    parameter = network.blocks[1].attn.qkv.weight
    ours = torch.autograd.grad(
        (relevance(network, images, target, second_order=second_order) * weights).sum(), parameter
    )
    direction = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    predicted = float((ours[0] * direction).sum())
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * step * direction
        values.append(float((plain_relevance(network, images, target) * weights).sum()))
        with torch.no_grad():
            parameter -= sign * step * direction
    measured = (values[0] - values[1]) / (2 * step)
    assert (abs(predicted - measured) < 1e-4 * abs(measured)) == second_order


def test_first_order_reaches_earlier_weights_but_not_the_head(network):
    images = torch.rand(2, 3, SIZE, SIZE)
    relevance(network, images, torch.tensor([0, 1])).square().sum().backward()
    assert network.patch_embed.proj.weight.grad.abs().sum() > 0
    assert network.head.weight.grad is None or not network.head.weight.grad.any()
    network.zero_grad()
    relevance(network, images, torch.tensor([0, 1]), second_order=True).square().sum().backward()
    assert network.head.weight.grad.abs().sum() > 0


def test_range_batch_and_one_by_one(network):
    images = torch.rand(4, 3, SIZE, SIZE)
    maps = relevance(network, images)
    assert torch.isfinite(maps).all()
    assert maps.amin(dim=(1, 2, 3)).eq(0).all()
    assert maps.amax(dim=(1, 2, 3)).eq(1).all()
    single = torch.cat([relevance(network, image[None]) for image in images])
    assert torch.allclose(maps, single, atol=1e-5)


def test_raw_row_upsampled_is_the_map(network):
    images = torch.rand(2, 3, SIZE, SIZE)
    raw = relevance(network, images, upsample=False)
    assert raw.shape == (2, 1, 6, 6)
    assert (raw >= 0).all()
    assert torch.equal(image_map(raw[:, 0], (SIZE, SIZE)), relevance(network, images))


def test_constant_maps_stay_finite_with_finite_gradients():
    for value in (0.0, 1.0, 1e-30, 1e30):
        grid = torch.full((2, 3, 3), value, requires_grad=True)
        maps = image_map(grid, (24, 24))
        assert torch.equal(maps, torch.zeros(2, 1, 24, 24))
        (maps * 1e6).sum().backward()
        assert torch.isfinite(grid.grad).all()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_model_is_left_as_it_was_after_success_and_failure(training, fused):
    network = tiny_network(patch_drop_rate=0.3, attn_drop_rate=0.3).train(training)
    for block in network.blocks:
        block.attn.fused_attn = fused
    network.set_grad_checkpointing(True)
    before = state_of(network)
    images = torch.rand(2, 3, SIZE, SIZE)
    first = relevance(network, images, torch.tensor([0, 1]))
    assert torch.equal(first, relevance(network, images, torch.tensor([0, 1]))), "dropout must be off while recording"
    assert state_of(network) == before
    handle = network.blocks[1].register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("inside")))
    with pytest.raises(RuntimeError, match="inside"):
        relevance(network, images)
    handle.remove()
    assert state_of(network) == before


def test_logits_are_those_of_the_plain_model(network):
    from robustvit.explanation.attention.recorded import record_forward

    images = torch.rand(2, 3, SIZE, SIZE)
    recorded = record_forward(network, images)
    assert torch.allclose(recorded.logits, network(images), atol=1e-5)
    assert all(a.sum(dim=-1).sub(1).abs().max() < 1e-5 for a in recorded.attentions)


def test_works_on_frozen_models_and_without_gradients(network):
    images = torch.rand(2, 3, SIZE, SIZE)
    expected = relevance(network, images).detach()
    with torch.no_grad():
        assert torch.allclose(relevance(network, images), expected, atol=1e-6)
    with torch.inference_mode():
        maps = relevance(network, images.clone())
    assert torch.allclose(maps, expected, atol=1e-6)
    assert not maps.requires_grad
    network.requires_grad_(False)
    assert torch.allclose(relevance(network, images), expected, atol=1e-6)


def test_classifier_takes_plain_images(network):
    classifier = load_model(network)
    images = torch.rand(2, 3, SIZE, SIZE)
    normalised = (images - classifier.mean) / classifier.std
    assert torch.equal(relevance(classifier, images), relevance(network, normalised))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("resnet18", "ResNet"),
        ("swin_tiny_patch4_window7_224", "SwinTransformer"),
    ],
)
def test_other_families_are_refused_by_name(name, word):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=3)
    with pytest.raises(UserError, match=word):
        relevance(network, torch.rand(1, 3, 224, 224))


def test_headless_model_and_unknown_method_are_refused(network):
    with pytest.raises(UserError, match="no classification head"):
        relevance(tiny_network(num_classes=0), torch.rand(1, 3, SIZE, SIZE))
    with pytest.raises(UserError, match="gae"):
        relevance(network, torch.rand(1, 3, SIZE, SIZE), method="magic")


@pytest.mark.parametrize("upsample", [True, False])
def test_one_image_needs_no_batch_axis_and_one_class_holds_for_all(network, upsample):
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    whole = relevance(network, images, torch.tensor([1, 1]), upsample=upsample)
    assert torch.equal(relevance(network, images, 1, upsample=upsample), whole)
    alone = relevance(network, images[0], 1, upsample=upsample)
    assert alone.shape == whole.shape[1:]
    assert torch.allclose(alone, whole[0], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "target", "words"),
    [
        ((SIZE, SIZE), None, "expected images (B, 3, H, W) or one image"),
        ((2, 3, SIZE, SIZE), 99, "expected classes from 0 to"),
        ((2, 3, SIZE, SIZE), torch.tensor([0, -1]), "expected classes from 0 to"),
        ((2, 3, SIZE, SIZE), torch.tensor([0, 1, 1]), "expected 2 classes to explain, one for each image, got (3,)"),
        ((2, 3, SIZE, SIZE), 0.5, "expected 2 classes to explain"),
    ],
)
def test_images_and_classes_of_another_shape_are_refused(network, shape, target, words):
    with pytest.raises(UserError) as error:
        relevance(network, torch.rand(shape), target)
    assert words in str(error.value)
