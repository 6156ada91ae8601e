"""LeGrad against a plain loop over images, blocks, heads and queries."""

from __future__ import annotations

import pytest
import timm
import torch

from helpers.small_models import SIZE, tiny_network
from robustvit import relevance


def plain_block(block, tokens):
    """A block with its attention written out; returns the new tokens and the map ``(B, H, N, N)``."""
    attention = block.attn
    batch, count, width = tokens.shape
    heads = attention.num_heads
    qkv = attention.qkv(block.norm1(tokens)).reshape(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    weights = (qkv[0] @ qkv[1].transpose(-1, -2) / (width // heads) ** 0.5).softmax(dim=-1)
    mixed = (weights @ qkv[2]).permute(0, 2, 1, 3).reshape(batch, count, width)
    tokens = tokens + attention.proj(mixed)
    return tokens + block.mlp(block.norm2(tokens)), weights


def plain_pool(pool, tokens):
    """An attention pool with its attention written out; returns its output and its map ``(B, H, 1, N)``."""
    batch, count, width = tokens.shape
    heads = pool.num_heads
    query = pool.q(pool.latent.expand(batch, -1, -1)).reshape(batch, 1, heads, width // heads).transpose(1, 2)
    key, value = pool.kv(tokens).reshape(batch, count, 2, heads, width // heads).permute(2, 0, 3, 1, 4)
    weights = (query @ key.transpose(-1, -2) / (width // heads) ** 0.5).softmax(dim=-1)
    mixed = pool.proj((weights @ value).transpose(1, 2).reshape(batch, 1, width))
    return (mixed + pool.mlp(pool.norm(mixed)))[:, 0], weights


def plain_legrad(network, images, targets):
    found = []
    for image, target in zip(images, targets, strict=True):
        tokens = network.norm_pre(network._pos_embed(network.patch_embed(image[None])))
        total = torch.zeros(tokens.shape[1], dtype=images.dtype)
        for block in network.blocks:
            tokens, attention = plain_block(block, tokens)
            last = network.norm(tokens)
            if network.attn_pool is not None:
                pooled, attention = plain_pool(network.attn_pool, last)
                logits = network.head(network.fc_norm(pooled))
            else:
                logits = network.forward_head(last)
            gradient = torch.autograd.grad(logits[0, target], attention, retain_graph=True)[0][0]
            heads, queries = gradient.shape[:2]
            for head in range(heads):
                for query in range(queries):
                    total += gradient[head, query].clamp(min=0) / (heads * queries * len(network.blocks))
        found.append(total[network.num_prefix_tokens :])
    return torch.stack(found)


@pytest.mark.parametrize(
    "options",
    [{}, {"reg_tokens": 3}, {"class_token": False, "global_pool": "avg"}],
    ids=["class", "registers", "patches"],
)
@pytest.mark.parametrize("target", [torch.tensor([2, 0]), None], ids=["given", "predicted"])
def test_equals_the_plain_loop(options, target):
    network = tiny_network(**options).double()
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
    ours = relevance(network, images, target, method="legrad", upsample=False)
    wanted = network(images).argmax(dim=1) if target is None else target
    assert torch.allclose(ours.flatten(1), plain_legrad(network, images, wanted), atol=1e-14, rtol=1e-10)
    assert ours.amin() >= 0 < ours.amax()


def test_an_attention_pool_gives_its_own_attention():
    network = timm.create_model(
        "vit_base_patch16_siglip_224", img_size=32, embed_dim=24, depth=3, num_heads=2, num_classes=3
    )
    network = network.eval().double()
    images, target = torch.rand(2, 3, 32, 32, dtype=torch.float64), torch.tensor([1, 2])
    ours = relevance(network, images, target, method="legrad", upsample=False)
    assert torch.allclose(ours.flatten(1), plain_legrad(network, images, target), atol=1e-14, rtol=1e-10)


def test_a_gradient_of_the_map_is_that_of_finite_differences():
    network = tiny_network().double()
    images, target = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64), torch.tensor([1, 2])
    weight = network.blocks[0].attn.qkv.weight
    direction = torch.randn_like(weight)
    (ours,) = torch.autograd.grad(relevance(network, images, target, method="legrad", upsample=False).sum(), weight)
    step, ends = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
            ends.append(plain_legrad_sum(network, images, target))
            weight -= sign * step * direction
    assert float((ours * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def plain_legrad_sum(network, images, target):
    with torch.enable_grad():
        return float(plain_legrad(network, images, target).sum())
