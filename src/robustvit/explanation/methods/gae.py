"""Generic attention explainability, the paper's relevance (equations 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.explanation.attention.lean import explaining
from robustvit.explanation.attention.recorded import lean_forward
from robustvit.explanation.methods.trace import Trace, sum_target_logits
from robustvit.models.families import Layout


def gae(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """Generic attention explainability (Chefer, Gur and Wolf, ICCV 2021; equations 6 and 7 of RobustViT).

    Each block's map is ``mean over heads of max(0, dA * A)`` with ``dA`` the gradient of the target's logit; the
    relevance is the readout's row of the product of ``I + map`` over all blocks, less the constant that a readout which
    averages patches starts with (see ``propagate``). Non-negative. First order, as published, holds ``dA`` constant; no
    attention map is in the graph then. Second order differentiates it too.
    """
    forward = lean_forward(model, images, twice=second_order)
    layout = forward.layout

    def explain(target: Tensor, differentiable: bool) -> Tensor:
        explained = sum_target_logits(model, forward.logits, target)
        twice = second_order and differentiable
        with explaining(forward.calls, differentiable):
            anchors = [call.anchor for call in forward.calls]
            torch.autograd.grad(explained, anchors, retain_graph=differentiable, create_graph=twice)
        maps = [call.take_relevance(differentiable) for call in forward.calls]
        return layout.patch_map(propagate(maps, layout), images)

    return Trace(forward.logits, explain)


def propagate(maps: Sequence[Tensor], layout: Layout) -> Tensor:
    """Return what the blocks add to the readout's row in the product of ``I + map`` over all blocks, ``(B, N)``.

    Only that row is needed, so a vector is carried from the last block to the first, in O(N^2) a block, instead of
    N x N matrices from the first to the last. The row that the readout starts with is the same for all patches (0, or
    1 / N where they are averaged), so without it the map keeps its shape, and contributions far below 1 / N are not
    rounded away. An attention pool's row differs between patches: it is part of the map.

    Maps are ``(B, N, N)``, first block first; ``(B, 1, N)`` stands for the class token's row alone, and for the row of
    an attention pool, which comes last.
    """
    exact = [block.to(torch.promote_types(block.dtype, torch.float32)) for block in maps]
    row = readout_row(exact, layout)
    added = row if layout.readout == "pool" else torch.zeros_like(row)
    for block in reversed(exact[: len(layout.blocks)]):
        more = block if block.shape[1] == 1 else row @ block
        row, added = row + more, added + more
    return added[:, 0]


def readout_row(maps: Sequence[Tensor], layout: Layout) -> Tensor:
    """Return the weight in the readout of each token that leaves the last block, ``(B, 1, N)``; see ``propagate``."""
    tokens = maps[0].shape[-1]
    if layout.readout == "pool":  # its map may leave the tokens before the patches out
        return F.pad(maps[-1], (tokens - maps[-1].shape[-1], 0))
    return layout.start(tokens, maps[0])[None, None].expand(len(maps[0]), 1, tokens)
