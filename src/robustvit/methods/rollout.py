"""Attention rollout and the last block's raw attention: relevance from attention maps alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.attention import RecordedForward, recorded_forward
from robustvit.methods.trace import Trace

__all__ = ["raw_attention", "rollout"]


def rollout(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """Attention rollout (Abnar and Zuidema, ACL 2020).

    The readout's row of the product over all blocks of ``(I + mean over heads of A) / 2``, whose rows sum to 1: each
    block's tokens are half themselves (the residual connection), half what they attend to. The same for every class,
    differentiable in the weights of queries and keys, and of all that comes before them. No gradient of a logit is in
    it, so ``second_order`` has no effect.

    Raises:
        UserError: attention over the model's tokens does not tell the relevance of the patches.
    """
    return _class_independent(recorded_forward(model, images), blended=True)


def raw_attention(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """The last block's attention from the readout to the patches, averaged over heads.

    The baseline of the attention literature (named so by Chefer et al., CVPR 2021). For an attention pool it is the
    pool's own map. The same for every class; ``second_order`` has no effect.

    Raises:
        UserError: attention over the model's tokens does not tell the relevance of the patches.
    """
    return _class_independent(recorded_forward(model, images), blended=False)


def _class_independent(forward: RecordedForward, blended: bool) -> Trace:
    def explain(target: Tensor, differentiable: bool) -> Tensor:
        with torch.set_grad_enabled(differentiable):
            row = _rolled_row(forward) if blended else _last_row(forward)
        patches = row[:, forward.layout.prefix_tokens :].unflatten(1, forward.grid)
        return patches if differentiable else patches.detach()

    return Trace(forward.logits, explain)


def _means(forward: RecordedForward) -> list[Tensor]:
    """Mean over heads of every map, in float32 at least."""
    return [one.to(torch.promote_types(one.dtype, torch.float32)).mean(dim=1) for one in forward.attentions]


def _pool_row(pool: Tensor, tokens: int) -> Tensor:
    """A pool's map ``(B, 1, M)`` over all tokens; it may leave those before the patches out."""
    return F.pad(pool, (tokens - pool.shape[-1], 0))


def _start(forward: RecordedForward, like: Tensor) -> Tensor:
    tokens = like.shape[-1]
    return forward.layout.start(tokens, like)[None, None].expand(len(like), 1, tokens)


def _rolled_row(forward: RecordedForward) -> Tensor:
    """``(B, N)``: a row carried from the last block to the first, instead of N x N products."""
    maps = _means(forward)
    tokens = maps[0].shape[-1]
    row = _pool_row(maps.pop(), tokens) if forward.layout.readout == "pool" else _start(forward, maps[0])
    for attention in reversed(maps):
        row = (row + row @ attention) / 2
    return row[:, 0]


def _last_row(forward: RecordedForward) -> Tensor:
    maps = _means(forward)
    last = maps[-1]
    if forward.layout.readout == "pool":
        return _pool_row(last, maps[0].shape[-1])[:, 0]
    return (_start(forward, last) @ last)[:, 0]
