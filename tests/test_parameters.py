"""What a run may change: everything, or only where the model looks."""

from __future__ import annotations

import pytest
import torch

from conftest import SIZE, tiny_network
from robustvit import UserError, guided_loss
from robustvit.parameters import trainable


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


def test_all_reaches_the_patch_embedding():
    network, before = tiny_network(), tiny_network().state_dict()
    step(network, "all")
    assert not torch.equal(network.patch_embed.proj.weight, before["patch_embed.proj.weight"])


def test_flags_and_hooks_are_put_back_also_after_an_error(network):
    network.patch_embed.proj.weight.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in network.parameters()]
    with pytest.raises(RuntimeError, match="inside"), trainable(network, "attention"):
        raise RuntimeError("inside")
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    assert not any(parameter._backward_hooks for parameter in network.parameters())
    with pytest.raises(UserError, match="--train"), trainable(network, "half"):
        pass
