"""Patch features: keys, queries, values or tokens of a chosen block of a vision transformer."""

from __future__ import annotations

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Feature
from robustvit.explanation.attention.interception import Interception, ready_for_interception
from robustvit.models.families import Layout, find_layout


def check_features(model: nn.Module, feature: Feature, block: int | None = None) -> Layout:
    """Return the layout of a model after checking that it has such features."""
    layout = find_layout(model, headless=True)
    expect_one_of("feature", feature, get_args(Feature))
    if block is not None and not 1 <= block <= len(layout.blocks):
        raise UserError(f"expected --block from 1 to {len(layout.blocks)}, the last, got {block}")
    return layout


@torch.no_grad()
def patch_features(
    model: nn.Module, images: Tensor, *, feature: Feature = "keys", block: int | None = None, centre: bool = False
) -> Tensor:
    """Return the features of every patch, ``(B, rows, columns, C)`` in float32; a head is not needed.

    Features are ``keys``, ``queries`` or ``values`` of a block's attention, heads side by side, or the ``tokens`` that
    leave it. Blocks are counted from 1 (default: the last). ``centre`` subtracts each image's mean over patches, which
    backbones like DINOv2 need.
    """
    layout = check_features(model, feature, block)
    wanted = (len(layout.blocks) if block is None else block) - 1
    caught: list[Tensor] = []

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        calls.append(None)
        if len(calls) == wanted + 1 and feature != "tokens":
            caught.append({"queries": query, "keys": key, "values": value}[feature].transpose(1, 2).flatten(2))
        return F.scaled_dot_product_attention(query, key, value, bias, scale=scale)

    def catch(_: nn.Module, __: object, output: object) -> None:
        tokens = output[0] if isinstance(output, tuple) else output
        if feature == "tokens" and isinstance(tokens, Tensor):
            caught.append(tokens)

    calls: list[None] = []
    with layout.blocks[wanted].register_forward_hook(catch), ready_for_interception(model), Interception(attend):
        model(images)
    tokens = caught[0]
    if tokens.shape[0] != len(images):  # torchvision and open_clip may run tokens first
        tokens = tokens.transpose(0, 1)
    found = layout.patch_map(tokens.float(), images)
    return found - found.mean(dim=(1, 2), keepdim=True) if centre else found
