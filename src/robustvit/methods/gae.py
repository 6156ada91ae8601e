"""Generic attention explainability, the paper's relevance (equations 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustvit.attention import lean_forward
from robustvit.families import Layout
from robustvit.lean_attention import explaining
from robustvit.methods.trace import Trace

__all__ = ["gae", "propagate"]


def gae(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """Generic attention explainability (Chefer, Gur and Wolf, ICCV 2021; equations 6 and 7 of RobustViT).

    Each block's map is ``mean over heads of max(0, dA * A)`` with ``dA`` the gradient of the target's logit; the
    relevance is the readout's row of the product of ``I + map`` over all blocks. Non-negative. First order, as
    published, holds ``dA`` constant; no attention map is then kept. Second order differentiates it too.
    """
    forward = lean_forward(model, images, twice=second_order)
    layout = forward.layout

    def explain(target: Tensor, differentiable: bool) -> Tensor:
        explained = forward.logits.gather(1, target[:, None]).sum()
        twice = second_order and differentiable
        with explaining(forward.calls, differentiable):
            anchors = [call.anchor for call in forward.calls]
            torch.autograd.grad(explained, anchors, retain_graph=differentiable, create_graph=twice)
        maps = [call.take_relevance(differentiable) for call in forward.calls]
        return propagate(maps, layout)[:, layout.prefix_tokens :].unflatten(1, forward.grid)

    return Trace(forward.logits, explain)


def propagate(maps: Sequence[Tensor], layout: Layout) -> Tensor:
    """The readout's row of the product of ``I + map`` over all blocks, ``(B, N)``.

    Only that row is needed, so a vector is carried from the last block to the first, in O(N^2) a block, instead of
    N x N matrices from the first to the last.

    Args:
        maps: ``(B, N, N)`` per block, first block first; ``(B, 1, N)`` stands for the class token's row alone, and
            for the row of an attention pool, which comes last.
        layout: how the model arranges its tokens.
    """
    blocks = [block.to(torch.promote_types(block.dtype, torch.float32)) for block in maps]
    tokens = blocks[0].shape[-1]
    if layout.readout == "pool":
        pool = blocks.pop()
        row = torch.nn.functional.pad(pool, (tokens - pool.shape[-1], 0))
    else:
        row = layout.start(tokens, blocks[0])[None, None].expand(len(blocks[0]), 1, tokens)
    for block in reversed(blocks):
        row = row + (block if block.shape[1] == 1 else row @ block)
    return row[:, 0]
