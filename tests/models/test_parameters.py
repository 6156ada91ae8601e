"""What a run may change: everything, or only where the model looks."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from helpers.open_clip import from_open_clip
from helpers.small_models import SIZE, tiny_network, tiny_torchvision, tiny_transformers
from robustvit import UserError, guided_loss
from robustvit.models.families import Layout, register_family
from robustvit.models.parameters import trainable


def step(network, train):
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    masks = (images[:, :1] > 0.5).float()
    with trainable(network, train) as parameters:
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
        guided_loss(network, images, masks, torch.tensor([0, 1])).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}], ids=str)
def test_attention_leaves_values_features_and_head_alone(options):
    network, before = tiny_network(**options), tiny_network(**options).state_dict()
    step(network, "attention")
    for name, new in network.state_dict().items():
        changed = (new != before[name]).reshape(new.shape[0], -1).any(dim=1)
        if ".attn.qkv." in name:
            assert changed[: 2 * len(new) // 3].any(), name
            assert not changed[2 * len(new) // 3 :].any(), name
        else:
            assert changed.any() == ("q_norm" in name or "k_norm" in name), name


def from_timm(name, **options):
    settings = {"img_size": SIZE, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 3}
    return lambda: timm.create_model(name, **(settings | options))


def from_transformers(kind, **options):
    return lambda: tiny_transformers(kind, **options)


# For each family: what must change, with the share of its rows that may; and what may, of any family.
FAMILIES = {
    "BEiT": (
        from_timm("beit_base_patch16_224"),
        {"qkv.weight": 2 / 3, "q_bias": 1, "relative_position_bias_table": 1},
    ),
    "EVA-02": (from_timm("eva02_tiny_patch14_224"), {"qkv.weight": 2 / 3, "q_bias": 1}),
    "EVA-02, not fused": (
        from_timm("eva02_tiny_patch14_224", qkv_fused=False),
        {"q_proj.weight": 1, "q_proj.bias": 1, "k_proj.weight": 1},
    ),
    "relative positions": (
        from_timm("vit_relpos_small_patch16_224"),
        {"qkv.weight": 2 / 3, "rel_pos.mlp.fc2.weight": 1},
    ),
    "shared relative positions": (
        from_timm("vit_srelpos_small_patch16_224"),
        {"qkv.weight": 2 / 3, "shared_rel_pos.mlp.fc2.weight": 1},
    ),
    "SigLIP": (
        from_timm("vit_base_patch16_siglip_224"),
        {"attn.qkv.weight": 2 / 3, "attn_pool.kv.weight": 1 / 2, "attn_pool.q.weight": 1, "attn_pool.latent": 1},
    ),
    "ViT of transformers": (from_transformers("ViT"), {"q_proj.weight": 1, "k_proj.weight": 1, "q_proj.bias": 1}),
    "BEiT of transformers": (
        from_transformers("Beit", use_relative_position_bias=True),
        {"q_proj.weight": 1, "k_proj.weight": 1, "relative_position_bias_table": 1},
    ),
    "BEiT of transformers, shared bias": (
        from_transformers("Beit", use_shared_relative_position_bias=True),
        {"q_proj.weight": 1, "k_proj.weight": 1, "relative_position_bias_table": 1},
    ),
    "DINOv2 of transformers": (from_transformers("Dinov2"), {"q_proj.weight": 1, "k_proj.weight": 1}),
    "torchvision": (tiny_torchvision, {"in_proj_weight": 2 / 3, "in_proj_bias": 2 / 3}),
    "open_clip": (from_open_clip, {"in_proj_weight": 2 / 3, "in_proj_bias": 2 / 3}),
}
MAY = ("q_norm", "k_norm", "rel_pos.mlp", "qkv.bias", "attn_pool.q.", "attn_pool.kv", "q_proj.bias", "k_proj.bias")


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_changes_queries_and_keys_of_every_family(family):
    build, expected = FAMILIES[family]
    torch.manual_seed(0)
    network = build().eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    step(network, "attention")
    met = set()
    for key, new in network.state_dict().items():
        if new.ndim == 0:
            continue
        name = key.replace(".query.", ".q_proj.").replace(".key.", ".k_proj.")  # as transformers below 5.20 has them
        changed = (new != before[key]).reshape(new.shape[0], -1).any(dim=1)
        rule = next((part for part in expected if name.endswith(part)), None)
        if rule is not None:
            met.add(rule)
            rows = round(expected[rule] * len(new))
            assert changed[:rows].any(), name
            assert not changed[rows:].any(), name
        elif any(part in name for part in MAY):
            rows = round(len(new) * {"qkv.bias": 2 / 3, "attn_pool.kv.bias": 1 / 2}.get(name.split("attn.")[-1], 1))
            assert not changed[rows:].any(), name
        else:
            assert not changed.any(), name
    assert met == set(expected)


def test_a_model_whose_queries_are_not_known_is_told_the_way_out():
    for network in (timm.create_model("resnet10t", num_classes=3), OddTransformer()):
        with pytest.raises(UserError, match="use --train all"), trainable(network, "attention"):
            pass
        with trainable(network, "all") as parameters:
            assert len(parameters) == len(list(network.parameters()))


class OddTransformer(nn.Module):
    """A transformer of somebody's own, with names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 12)])


@register_family(OddTransformer)
def odd_layout(model):
    return Layout(blocks=model.blocks, patch_size=(8, 8))


def test_all_reaches_the_patch_embedding():
    network, before = tiny_network(), tiny_network().state_dict()
    step(network, "all")
    assert not torch.equal(network.patch_embed.proj.weight, before["patch_embed.proj.weight"])


def test_flags_and_hooks_are_put_back_also_after_an_error(network):
    network.patch_embed.proj.weight.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in network.parameters()]
    for error in (RuntimeError("inside"), KeyboardInterrupt()):
        with pytest.raises(type(error)), trainable(network, "attention"):
            raise error
        assert [parameter.requires_grad for parameter in network.parameters()] == flags
        assert not any(parameter._backward_hooks for parameter in network.parameters())
    with pytest.raises(UserError, match="--train"), trainable(network, "half"):
        pass
