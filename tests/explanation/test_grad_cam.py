"""Grad-CAM and the input gradient on transformers, convolutional and windowed networks, against plain computations."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from timm.models.mlp_mixer import MlpMixer

from helpers.drawn_photos import CLASSES
from helpers.small_models import SIZE, tiny_network
from robustvit import UserError, finetune, guided_loss, relevance
from robustvit.explanation.methods import check_method
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.models.save import save_model

SWIN = {"img_size": 56, "depths": (1, 1), "embed_dim": 24, "num_heads": (2, 2), "window_size": 7}
NETWORKS = {
    "resnet": ("resnet10t", {}, SIZE),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32), "conv_mlp": False}, 64),
    "swin": ("swin_tiny_patch4_window7_224", SWIN, 56),
}


def build(name):
    torch.manual_seed(0)
    model, options, size = NETWORKS[name]
    return timm.create_model(model, num_classes=3, **options).eval(), size


def test_on_tokens_equals_the_plain_computation():
    network = tiny_network(reg_tokens=2).double()
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
    target = torch.tensor([2, 1])
    ours = relevance(network, images, target, method="grad_cam", upsample=False)
    for i in range(2):
        tokens = network.norm_pre(network._pos_embed(network.patch_embed(images[i : i + 1])))
        for block in network.blocks[:-1]:
            tokens = block(tokens)
        logits = network.forward_head(network.norm(network.blocks[-1](tokens)))
        gradient = torch.autograd.grad(logits[0, target[i]], tokens)[0][0, 3:]
        expected = torch.relu((gradient.mean(dim=0) * tokens[0, 3:]).sum(dim=-1)).reshape(6, 6)
        assert torch.allclose(ours[i, 0], expected, atol=1e-12)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_on_feature_maps_equals_the_plain_computation(name):
    network, size = build(name)
    network.double()
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    ours = relevance(network, images, torch.tensor([2, 0]), method="grad_cam", upsample=False)
    features = network.forward_features(images)
    gradient = torch.autograd.grad(network.forward_head(features)[[0, 1], [2, 0]].sum(), features)[0]
    if name == "swin":
        features, gradient = features.permute(0, 3, 1, 2), gradient.permute(0, 3, 1, 2)
    assert features.shape[1] == network.num_features
    expected = torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1, keepdim=True))
    assert torch.allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["vit", *NETWORKS])
def test_input_gradient_equals_the_plain_computation(name):
    network, size = (tiny_network(), SIZE) if name == "vit" else build(name)
    network.double()
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    ours = relevance(network, images, torch.tensor([2, 0]), method="input_gradient", upsample=False)
    assert ours.shape == (2, 1, size, size)
    assert not images.requires_grad
    for i, target in enumerate((2, 0)):
        image = images[i : i + 1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(image)[0, target], image)
        assert torch.allclose(ours[i], gradient[0].abs().sum(dim=0), atol=1e-12)


@pytest.mark.parametrize(("method", "name"), [("grad_cam", "vit"), ("grad_cam", "swin"), ("input_gradient", "vit")])
def test_second_order_is_the_true_derivative(method, name):
    network, size = (tiny_network(), SIZE) if name == "vit" else build(name)
    network.double()
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, size, size, dtype=torch.float64, generator=generator)
    target = torch.tensor([0, 2])

    def total():
        return relevance(network, images, target, method=method, second_order=True, upsample=False).square().sum()

    parameter = network.head.weight if name == "vit" else network.head.fc.weight
    (gradient,) = torch.autograd.grad(total(), parameter)
    direction = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * step * direction
        values.append(float(total().detach()))
        with torch.no_grad():
            parameter -= sign * step * direction
    assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_features_smaller_than_two_positions_are_passed_over():
    network, _ = build("convnext")
    assert relevance(network, torch.rand(2, 3, 32, 32), method="grad_cam", upsample=False).shape == (2, 1, 2, 2)


def test_first_order_reaches_the_features_but_not_the_head():
    network, size = build("resnet")
    with torch.no_grad():
        network.fc.weight.abs_()  # an untrained network's map may be 0 everywhere, all weighted features being negative
    images = torch.rand(3, 3, size, size)
    relevance(network, images, torch.tensor([0, 1, 2]), method="grad_cam", upsample=False).sum().backward()
    assert network.conv1[0].weight.grad.any()
    assert network.fc.weight.grad is None


@pytest.mark.parametrize("method", ["grad_cam", "input_gradient"])
def test_torchvision_networks(method):
    torch.manual_seed(0)
    network = torchvision.models.swin_transformer.SwinTransformer([4, 4], 12, [1, 1], [2, 2], [7, 7], num_classes=3)
    maps = relevance(network.eval(), torch.rand(2, 3, 56, 56), method=method)
    assert maps.shape == (2, 1, 56, 56)
    assert (maps.amax(dim=(1, 2, 3)) == 1).all()


def test_tokens_of_unknown_place_are_refused_before_anything_starts():
    mixer = MlpMixer(num_classes=3, img_size=64, patch_size=16, num_blocks=1, embed_dim=16)
    with pytest.raises(UserError, match="MlpMixer is not supported by grad_cam"):
        check_method("grad_cam", Classifier(mixer, preprocessing=Preprocessing((64, 64))))
    check_method("input_gradient", mixer)


def guided_losses(network, size, method, rate, steps):
    """Relevance loss before each step on one fixed batch, the object being in a corner."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, 3, size, size, generator=generator)
    masks = torch.zeros(4, 1, size, size)
    masks[:, :, : size // 2, : size // 2] = 1
    labels = torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        found = guided_loss(network, images, masks, labels, relevance=method, second_order=True)
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        losses.append(float(found.parts["relevance"]))
    return losses


@pytest.mark.parametrize("method", ["grad_cam", "input_gradient"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_guidance_lowers_the_relevance_loss(name, method):
    network, size = build(name)
    losses = guided_losses(network.train(), size, method, 3e-4, 6)
    assert losses[-1] < 0.8 * losses[0]


def test_a_whole_run_on_a_convolutional_network(tmp_path, photos):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3, pretrained_cfg_overlay={"input_size": (3, 64, 64)})
    folder = save_model(Classifier(network, class_names=CLASSES), tmp_path / "cnn")
    data = {"images": str(photos[0]), "masks": str(photos[1]), "tracker": "none", "samples_per_class": 2}
    found = finetune(
        model=str(folder), out=str(tmp_path / "run"), relevance="grad_cam", epochs=1, lr=1e-3, panels=1, swaps=1, **data
    )
    assert (tmp_path / "run" / "verdict.json").is_file()
    assert found.verdict.of("energy") is not None
    for wrong in ({}, {"relevance": "attnlrp"}, {"relevance": "grad_cam", "train": "attention"}):
        with pytest.raises(UserError, match="no attention"):
            finetune(model=str(folder), out=str(tmp_path / "other"), **data, **wrong)
    assert not (tmp_path / "other").exists()
