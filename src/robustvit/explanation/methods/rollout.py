"""Attention rollout and the last block's raw attention: relevance from attention maps alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from robustvit.explanation.attention.recorded import RecordedForward, record_forward
from robustvit.explanation.methods.gae import propagate, readout_row
from robustvit.explanation.methods.trace import Trace
from robustvit.models.families import Layout


def rollout(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """Attention rollout (Abnar and Zuidema, ACL 2020).

    The readout's row of the product over all blocks of ``(I + mean over heads of A) / 2``, whose rows sum to 1: each
    block's tokens are half themselves (the residual connection), half what they attend to. A constant that the readout
    starts with is left out, as in ``gae``. The same for every class, differentiable in the weights of queries and keys,
    and of all that comes before them. No gradient of a logit is in it, so ``second_order`` has no effect.
    """
    return _class_independent(record_forward(model, images), images, _rolled_row)


def raw_attention(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """The last block's attention from the readout to the patches, averaged over heads.

    The usual reference of the attention literature (named by Chefer et al., CVPR 2021). For an attention pool it is the
    pool's own map. The same for every class; ``second_order`` has no effect.
    """
    return _class_independent(record_forward(model, images), images, _last_row)


def _class_independent(forward: RecordedForward, images: Tensor, row_of: Callable[..., Tensor]) -> Trace:
    def explain(target: Tensor, differentiable: bool) -> Tensor:
        with torch.set_grad_enabled(differentiable):
            means = [one.to(torch.promote_types(one.dtype, torch.float32)).mean(dim=1) for one in forward.attentions]
            patches = forward.layout.patch_map(row_of(means, forward.layout), images)
        return patches if differentiable else patches.detach()

    return Trace(forward.logits, explain)


def _rolled_row(means: Sequence[Tensor], layout: Layout) -> Tensor:
    """Return the readout's row ``(B, N)``; the halves of all blocks are multiplied together at the end."""
    return propagate(means, layout) / 2 ** len(layout.blocks)


def _last_row(means: Sequence[Tensor], layout: Layout) -> Tensor:
    row = readout_row(means, layout)
    return (row if layout.readout == "pool" else row @ means[-1])[:, 0]
