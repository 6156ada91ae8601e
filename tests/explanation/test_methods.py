"""What every relevance method keeps to: batches, ranges, gradients, and a model that is left as it was."""

from __future__ import annotations

import pytest
import timm
import torch

from helpers.drawn_photos import CLASSES
from helpers.small_models import SIZE, tiny_network
from helpers.state import state_of
from plain.relevance_maps import plain_forward
from robustvit import UserError, evaluate, explain, relevance
from robustvit.explanation.methods import RELEVANCE_METHODS, check_method, measuring_method
from robustvit.models.classifier import Classifier

every = pytest.mark.parametrize("method", list(RELEVANCE_METHODS))


def plain_rollout(network, images):
    """Whole matrices, first block to last."""
    _, maps = plain_forward(network, images)
    total = torch.eye(maps[0].shape[-1], dtype=images.dtype).expand(len(images), -1, -1)
    for attention in maps:
        total = (0.5 * attention.mean(dim=1) + 0.5 * torch.eye(attention.shape[-1], dtype=images.dtype)) @ total
    return total, maps


@pytest.mark.parametrize(
    "options",
    [{}, {"reg_tokens": 3}, {"class_token": False, "global_pool": "avg"}],
    ids=["class", "registers", "pool"],
)
def test_rollout_and_raw_attention_equal_whole_matrices(options):
    network = tiny_network(**options).double()
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
    total, maps = plain_rollout(network, images)
    assert torch.allclose(total.sum(dim=-1), torch.ones(()).double()), "rows stay normalised"
    prefix = network.num_prefix_tokens
    for method, whole in (("rollout", total), ("raw_attention", maps[-1].mean(dim=1))):
        row = whole.mean(dim=1) if network.global_pool == "avg" else whole[:, 0]
        if network.global_pool == "avg" and method == "rollout":
            row = row - 1 / (row.shape[1] * 2 ** len(maps))  # what the readout starts with
        ours = relevance(network, images, method=method, upsample=False)
        assert torch.allclose(ours.flatten(1), row[:, prefix:], atol=1e-12)
        assert torch.equal(ours, relevance(network, images, torch.tensor([2, 0]), method=method, upsample=False))


def test_rollout_starts_from_an_attention_pool():
    network = timm.create_model(
        "vit_base_patch16_siglip_224", img_size=32, embed_dim=24, depth=2, num_heads=2, num_classes=3
    ).eval()
    images = torch.rand(2, 3, 32, 32)
    raw = relevance(network, images, method="raw_attention", upsample=False)
    assert torch.allclose(raw.sum(dim=(1, 2, 3)), torch.ones(2))
    rolled = relevance(network, images, method="rollout", upsample=False)
    assert torch.allclose(rolled.sum(dim=(1, 2, 3)), torch.ones(2), atol=1e-6)
    assert not torch.allclose(raw, rolled, atol=1e-7)


@every
@pytest.mark.parametrize("second_order", [False, True])
def test_batch_is_one_by_one_and_maps_are_finite_and_in_range(method, second_order):
    network = tiny_network()
    images, target = torch.rand(3, 3, SIZE, SIZE), torch.tensor([0, 2, 1])
    options = {"method": method, "second_order": second_order}
    raw = relevance(network, images, target, upsample=False, **options)
    assert torch.isfinite(raw).all()
    assert (raw >= 0).all()
    maps = relevance(network, images, target, **options)
    assert maps.shape == (3, 1, SIZE, SIZE)
    assert maps.amin() == 0
    assert maps.amax() == 1
    single = [relevance(network, images[i : i + 1], target[i : i + 1], **options) for i in range(3)]
    assert torch.allclose(maps, torch.cat(single), atol=2e-4)


@every
def test_gradients_reach_the_weights(method):
    network = tiny_network()
    (relevance(network, torch.rand(2, 3, SIZE, SIZE), method=method) ** 2).mean().backward()
    assert network.patch_embed.proj.weight.grad.abs().sum() > 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


@every
@pytest.mark.parametrize("training", [True, False])
def test_model_and_images_are_left_as_they_were_also_after_an_error(method, training):
    network = tiny_network(patch_drop_rate=0.3).train(training)
    network.set_grad_checkpointing(True)
    network.pos_embed.requires_grad_(False)
    before, images = state_of(network), torch.rand(2, 3, SIZE, SIZE)
    relevance(network, images, method=method)
    assert state_of(network) == before
    for error in (RuntimeError("inside"), KeyboardInterrupt()):
        handle = network.blocks[1].register_forward_hook(lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            relevance(network, images, method=method)
        handle.remove()
        assert state_of(network) == before
    assert not images.requires_grad
    check_method(method, Classifier(network))
    assert state_of(network) == before


@every
def test_works_without_gradients_and_on_frozen_models(method):
    network = tiny_network()
    images = torch.rand(2, 3, SIZE, SIZE)
    expected = relevance(network, images, method=method).detach()
    with torch.no_grad():
        assert torch.allclose(relevance(network, images, method=method), expected, atol=1e-5)
    with torch.inference_mode():
        maps = relevance(network, images.clone(), method=method)
    assert torch.allclose(maps, expected, atol=1e-5)
    assert not maps.requires_grad
    network.requires_grad_(False)
    assert torch.allclose(relevance(network, images, method=method), expected, atol=1e-5)
    network.head.requires_grad_(True)
    assert torch.allclose(relevance(network, images, method=method).detach(), expected, atol=1e-5)


@pytest.mark.parametrize("method", sorted(set(RELEVANCE_METHODS) - {"gae", "rollout", "raw_attention"}))
def test_maps_are_of_the_class_asked_for(method):
    network, images = tiny_network(), torch.rand(1, 3, SIZE, SIZE)
    one, other = (relevance(network, images, torch.tensor([c]), method=method) for c in (0, 1))
    assert not torch.allclose(one, other, atol=1e-3)


@every
def test_autocast_gives_nearly_the_same_map(method):
    network, images = tiny_network(), torch.rand(2, 3, SIZE, SIZE)
    target = torch.tensor([0, 1])
    with torch.no_grad():
        for block in network.blocks:
            block.attn.qkv.weight.mul_(10)  # an attention that differs by more than bfloat16 rounds away
    exact = relevance(network, images, target, method=method).detach()
    with torch.autocast("cpu", torch.bfloat16):
        maps = relevance(network, images, target, method=method)
    assert torch.isfinite(maps).all()
    both = torch.stack([exact.flatten(), maps.detach().float().flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.8


def test_transformers_are_measured_with_gae_and_others_with_what_guides_them():
    assert measuring_method("attnlrp", tiny_network()) == "gae"
    cnn = timm.create_model("test_resnet", num_classes=3)
    assert measuring_method("grad_cam", cnn) == "grad_cam"
    with pytest.raises(UserError, match="no attention"):
        measuring_method("rollout", cnn)
    with pytest.raises(UserError, match="magic"):
        check_method("magic", cnn)


def test_commands_take_a_method(tmp_path, model_folder, photos):
    images, masks = photos
    measured = [
        evaluate(model=str(model_folder), images=str(images), masks=str(masks), swaps=0, relevance=method)
        for method in ("gae", "rollout")
    ]
    assert measured[0].measures["energy"] != measured[1].measures["energy"]
    photo = str(images / CLASSES[0] / "000.png")
    found = explain([photo], model=str(model_folder), relevance="attnlrp", out=str(tmp_path / "pictures"))
    assert found[0].picture.is_file()
    with pytest.raises(UserError, match="magic"):
        explain([photo], model=str(model_folder), out=str(tmp_path / "more"), relevance="magic")
    with pytest.raises(UserError, match="magic"):
        evaluate(model=str(model_folder), images=str(images), relevance="magic")
    assert not (tmp_path / "more").exists()
