"""LeGrad: relevance from the gradient of each block's prediction with respect to its attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from robustvit.explanation.attention.recorded import explicit_attention, record_forward
from robustvit.explanation.methods.trace import Trace, sum_target_logits
from robustvit.models.classifier import logits_of
from robustvit.models.families import Layout, find_layout

BlockOutput = Tensor | tuple[Tensor, ...]  # of a block: some libraries return a tuple


def legrad(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """LeGrad (Bousselham et al., arXiv 2404.03214), written from the paper.

    The tokens that leave block l go through the model's readout and head as if it were the last block, which gives a
    logit ``s_l`` of the target. The relevance is the mean over blocks, heads and queries of ``max(0, ds_l / dA_l)``,
    with ``A_l`` the block's attention, or, where an attention pool reads the tokens, that pool's attention to them. A
    differentiable map is always of second order, so ``second_order`` has no effect.
    """
    layout = find_layout(model)
    outputs: list[BlockOutput] = []
    with ExitStack() as hooks:
        for block in layout.blocks:
            hooks.enter_context(block.register_forward_hook(lambda _, __, output: outputs.append(output)))
        forward = record_forward(model, images)
    exits = [_exit_after(model, images, layout, output) for output in outputs]
    pools = [attention for _, attention in exits if attention is not None]
    maps = pools if layout.readout == "pool" else list(forward.attentions)

    def explain(target: Tensor, differentiable: bool) -> Tensor:
        rows = [
            _positive_gradient(sum_target_logits(model, logits, target), attention, differentiable)
            for (logits, _), attention in zip(exits, maps, strict=True)
        ]
        tokens = layout.prefix_tokens + math.prod(layout.grid(images))
        if (missing := tokens - rows[0].shape[1]) > 0:  # a pool of patches
            rows = [nn.functional.pad(row, (missing, 0)) for row in rows]
        return layout.patch_map(torch.stack(rows).mean(dim=0), images)

    return Trace(forward.logits, explain)


def _positive_gradient(logit: Tensor, attention: Tensor, differentiable: bool) -> Tensor:
    """Mean over heads and queries of the positive part of ``d logit / d attention``, ``(B, N)``."""
    (gradient,) = torch.autograd.grad(logit, attention, retain_graph=differentiable, create_graph=differentiable)
    exact = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    return exact.clamp(min=0).mean(dim=(1, 2))


def _exit_after(model: nn.Module, images: Tensor, layout: Layout, output: BlockOutput) -> tuple[Tensor, Tensor | None]:
    """Logits of a model whose blocks give ``output`` without computing anything, and its pool's attention."""
    with _given(layout.blocks, output), explicit_attention(model) as maps:
        logits = logits_of(model(images))
    return logits, maps[-1] if maps else None


@contextmanager
def _given(blocks: Sequence[nn.Module], output: BlockOutput) -> Iterator[None]:
    """Let every block return ``output`` in a ``with`` block."""
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = lambda *_, **__: output
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            del block.forward
            if forward is not None:
                block.forward = forward
