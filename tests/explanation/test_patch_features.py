"""Features of patches against what the layers themselves give, in every library."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from robustvit import UserError
from robustvit.explanation.features import patch_features

GRID = SIZE // 8


def images(count=2, size=(SIZE, SIZE)):
    torch.manual_seed(1)
    return torch.rand(count, 3, *size)


def caught(module, model, batch):
    found = []
    hook = module.register_forward_hook(lambda _, __, output: found.append(output))
    with torch.no_grad():
        model(batch)
    hook.remove()
    return found[0]


@pytest.mark.parametrize("block", [1, 3, None])
def test_timm_keys_queries_values_tokens(block):
    model, batch = tiny_network(), images()
    layer = model.blocks[(block or 3) - 1]
    parts = caught(layer.attn.qkv, model, batch).chunk(3, dim=-1)
    for feature, expected in zip(("queries", "keys", "values"), parts, strict=True):
        found = patch_features(model, batch, feature=feature, block=block)
        assert found.shape == (2, GRID, GRID, 24)
        assert torch.allclose(found.flatten(1, 2), expected[:, 1:], atol=1e-6)
    tokens = patch_features(model, batch, feature="tokens", block=block)
    assert torch.allclose(tokens.flatten(1, 2), caught(layer, model, batch)[:, 1:], atol=1e-6)


def test_centred_and_one_by_one():
    model, batch = tiny_network(), images(3)
    plain, centred = patch_features(model, batch), patch_features(model, batch, centre=True)
    assert torch.allclose(centred, plain - plain.mean(dim=(1, 2), keepdim=True), atol=1e-6)
    single = torch.cat([patch_features(model, one[None]) for one in batch])
    assert torch.allclose(single, plain, atol=1e-5)


def test_a_backbone_without_head_and_any_size():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True, depth=2).eval()
    found = patch_features(model, images(1, (96, 240)))
    assert found.shape == (1, 6, 15, 192)
    registers = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, img_size=56, depth=2).eval()
    assert patch_features(registers, images(1, (56, 56))).shape == (1, 4, 4, 384)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_transformers(attention):
    model, batch = tiny_transformers(attn_implementation=attention), images()
    layer = next(
        m for name, m in model.named_modules() if name.endswith(("1.attention.attention.key", "1.attention.k_proj"))
    )
    expected = caught(layer, model, batch)[:, 1:]
    assert torch.allclose(patch_features(model, batch).flatten(1, 2), expected, atol=1e-5)


def test_torchvision():
    model, batch = tiny_torchvision(), images()
    tokens = patch_features(model, batch, feature="tokens")
    expected = caught(model.encoder.layers[-1], model, batch)[:, 1:]
    assert torch.allclose(tokens.flatten(1, 2), expected, atol=1e-6)
    assert patch_features(model, batch).shape == (2, GRID, GRID, 24)


def test_open_clip():
    pytest.importorskip("open_clip")
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(SIZE, 8, 24, 2, 3, 2.0, output_dim=12).eval()
    tokens = patch_features(model, images(), feature="tokens")
    assert torch.allclose(
        tokens.flatten(1, 2), caught(model.transformer.resblocks[-1], model, images())[:, 1:], atol=1e-5
    )
    assert patch_features(model, images()).shape == (2, GRID, GRID, 24)


def test_nothing_stays_behind():
    model = tiny_network().train()
    fused = [block.attn.fused_attn for block in model.blocks]
    patch_features(model, images())
    with pytest.raises(RuntimeError):
        patch_features(model, torch.rand(1, 4, SIZE, SIZE))
    assert model.training
    assert [block.attn.fused_attn for block in model.blocks] == fused
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (tiny_network, {"block": 4}, "from 1 to 3"),
        (tiny_network, {"feature": "keyz"}, "keys, queries, values, tokens"),
        (lambda: nn.Conv2d(3, 4, 3), {}, "not supported"),
    ],
)
def test_errors(model, options, words):
    with pytest.raises(UserError, match=words):
        patch_features(model(), images(), **options)
