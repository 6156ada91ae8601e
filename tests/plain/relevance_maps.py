"""Relevance maps and what they are made of, slowly and plainly."""

from __future__ import annotations

import torch


def plain_forward(network, images):
    """A vision transformer's forward pass with the attention written out; returns logits and all attention maps."""
    tokens = network.patch_embed(images)
    tokens = network._pos_embed(tokens)
    maps = []
    for block in network.blocks:
        attention = block.attn
        batch, count, width = tokens.shape
        heads = attention.num_heads
        qkv = attention.qkv(block.norm1(tokens)).reshape(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        query, key, value = attention.q_norm(qkv[0]), attention.k_norm(qkv[1]), qkv[2]
        weights = torch.einsum("bhid,bhjd->bhij", query, key) / (width // heads) ** 0.5
        weights = torch.exp(weights) / torch.exp(weights).sum(dim=-1, keepdim=True)
        maps.append(weights)
        mixed = torch.einsum("bhij,bhjd->bihd", weights, value).reshape(batch, count, width)
        tokens = tokens + block.ls1(attention.proj(mixed))
        tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
    return network.forward_head(network.norm(tokens)), maps
