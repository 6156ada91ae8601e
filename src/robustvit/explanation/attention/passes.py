"""The backward passes of one attention call: with relevance, and through that backward pass itself.

Notation: scores S, attention A = softmax(S), output O = A V; dX is the gradient of the explained logit, or of the
loss, in X. Shape legend as in ``tiles``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustvit.explanation.attention.tiles import Call, Tile, product, softmax_backward_


@dataclass
class Explained:
    """Results of an explanation's backward pass that the backward pass of the loss needs.

    Attributes:
        relevance: ``(B, N, M)``, ``mean over heads of max(0, dA * A)``.
        output_gradient: dO, ``(B, H, N, D)``.
        attention: A, ``(B * H, N, M)``, if it is kept and small enough; else recomputed.
        positive: ``max(0, dA * A)``, likewise.
    """

    relevance: Tensor
    output_gradient: Tensor
    attention: Tensor | None = None
    positive: Tensor | None = None

    def forget_maps(self) -> None:
        """Free the maps after use; they are recomputed if needed again."""
        self.attention = self.positive = None


class _Backward:
    def __init__(self, call: Call, output_gradient: Tensor, known: Tensor | None) -> None:
        self.call, self.known, self.output_gradient = call, known, output_gradient
        self.output_gradients = call.by_tile(output_gradient)

    def explained(self, keep: bool) -> Explained:
        call = self.call
        relevance = call.query.new_empty(call.batch, call.rows, call.keys, dtype=call.exact)
        kept = (call.maps(), call.maps()) if keep and call.small else (None, None)
        return Explained(relevance, self.output_gradient, *kept)

    def weighted(
        self,
        tile: Tile,
        buffers: Sequence[Tensor],
        pending: Sequence[tuple[Tensor, Explained]],
        kept: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return a tile's A, and A * dA with the share of earlier explanations' relevance in dA."""
        call = self.call
        out, gradient, spare = (call.view(buffer, tile) for buffer in buffers)
        out = out if kept is None else call.cut(call.part(kept, tile), tile)
        attention = call.attention(tile, self.known, out, spare)
        value = call.values[tile.index].mT
        product(call.cut(self.output_gradients[tile.index], tile), value, gradient).mul_(attention)
        for received, explained in pending:
            if explained.positive is not None:
                positive = call.cut(call.part(explained.positive, tile), tile)
            else:
                earlier = explained.output_gradient[tile.images, :, tile.rows].flatten(0, 1)
                positive = product(earlier, value, spare).clamp_(min=0).mul_(attention)
            share = received[tile.images, None, tile.rows]
            call.by_head(gradient).addcmul_(call.by_head(positive), share, value=1 / call.heads)
        return attention, gradient

    def explain(self, tile: Tile, weighted: Tensor, spare: Tensor, explained: Explained) -> None:
        call = self.call
        kept = explained.positive
        out = call.view(spare, tile) if kept is None else call.cut(call.part(kept, tile), tile)
        positive = call.by_head(torch.clamp(weighted, min=0, out=out))
        torch.mean(positive, dim=1, out=explained.relevance[tile.images, tile.rows])

    def to_inputs(self, tile: Tile, attention: Tensor, scores: Tensor, found: Sequence[Tensor]) -> None:
        call = self.call
        beta = 0 if tile.rows.start == 0 else 1
        dq, dk, dv = (call.part(x, tile) for x in found)
        query, key = call.cut(call.queries[tile.index], tile), call.keyed[tile.index]
        product(scores, key, call.cut(dq, tile), call.scale)
        product(scores.mT, query, dk, call.scale, beta)
        product(attention.mT, call.cut(self.output_gradients[tile.index], tile), dv, 1, beta)


def backward(
    call: Call,
    output_gradient: Tensor,
    known: Tensor | None = None,
    pending: Sequence[tuple[Tensor, Explained]] = (),
    *,
    explain: bool = False,
    keep: bool = False,
    inputs: bool = True,
    bias_too: bool = False,
) -> tuple[tuple[Tensor | None, ...], Explained | None]:
    """Run the backward pass of an attention call, with its relevance.

    Args:
        call: its inputs.
        output_gradient: dO, ``(B, H, N, D)``.
        known: A, ``(B * H, N, M)``, if it was kept.
        pending: gradients ``(B, N, M)`` that relevances received, with the explanations that made them.
        explain: compute the relevance.
        keep: whether the relevance will receive a gradient.
        inputs: compute dQ, dK and dV.
        bias_too: compute the gradient of the bias.

    Returns:
        Gradients of query, key, value and bias, and the explanation; None if not requested.
    """
    work = _Backward(call, output_gradient, known)
    explained = work.explained(keep) if explain else None
    buffers = call.buffers(3)
    found = call.gradients(call.query, call.key, call.value)
    bias_gradient = call.bias_gradient(bias_too)
    for tile in call.tiles():
        attention, gradient = work.weighted(tile, buffers, pending, None if explained is None else explained.attention)
        if explained is not None:
            work.explain(tile, gradient, buffers[2], explained)
        if not inputs:
            continue
        softmax_backward_(gradient, attention)
        work.to_inputs(tile, attention, gradient, found)
        call.add_to_bias(bias_gradient, tile, gradient)
    if not inputs:
        return (None, None, None, None), explained
    tensors = (call.query, call.key, call.value, call.bias)
    return tuple(map(call.restore, [*found, bias_gradient], tensors)), explained


class _DoubleBackward:
    """Computes gradients in Q, K, V, bias and dO of a function of dQ, dK, dV and the relevance, tile by tile."""

    def __init__(self, call: Call, output_gradient: Tensor, known: Tensor | None, received: Sequence[Tensor]) -> None:
        self.call, self.known = call, known
        self.output_gradients, self.dq, self.dk, self.dv = (call.by_tile(x) for x in (output_gradient, *received[:3]))
        self.relevance = received[3]

    def run(self, tile: Tile, buffers: Sequence[Tensor], found: Sequence[Tensor]) -> Tensor:
        """Write a tile's share of the gradients of Q, K, V and dO; return its share of the scores' gradient."""
        call, index = self.call, tile.index
        out, gradient, first, second, third = (call.view(buffer, tile) for buffer in buffers)
        attention = call.attention(tile, self.known, out, first)
        beta = 0 if tile.rows.start == 0 else 1
        query, key, value = call.cut(call.queries[index], tile), call.keyed[index], call.values[index]
        dout, to_dq = (call.cut(x[index], tile) for x in (self.output_gradients, self.dq))
        to_dk, to_dv = self.dk[index], self.dv[index]
        new_q, new_k, new_v, new_dout = (call.part(x, tile) for x in found)
        new_q, new_dout = call.cut(new_q, tile), call.cut(new_dout, tile)

        product(dout, value.mT, gradient)  # dA
        scores = torch.mul(gradient, attention, out=first)
        total = scores.sum(dim=-1, keepdim=True)
        scores.addcmul_(attention, total, value=-1)  # dS
        product(scores, to_dk, new_q, call.scale)
        product(scores.mT, to_dq, new_k, call.scale, beta)

        in_scores = product(to_dq, key.mT, second, call.scale)  # what dS receives, from dQ and dK
        product(query, to_dk.mT, in_scores, call.scale, 1)
        in_attention = product(dout, to_dv.mT, third)
        in_attention.addcmul_(in_scores, total, value=-1)
        in_scores.sub_((torch.mul(in_scores, attention, out=first)).sum(dim=-1, keepdim=True))
        positive = torch.gt(gradient, 0, out=first)
        call.by_head(positive).mul_(self.relevance[tile.images, None, tile.rows])
        in_gradient = in_scores.add_(positive, alpha=1 / call.heads)
        in_attention.addcmul_(gradient, in_gradient)
        in_gradient.mul_(attention)  # what dA receives
        product(in_gradient, value, new_dout)
        product(attention, to_dv, new_dout, 1, 1)
        product(in_gradient.mT, dout, new_v, 1, beta)

        in_attention.mul_(attention)
        softmax_backward_(in_attention, attention)
        product(in_attention, key, new_q, call.scale, 1)
        product(in_attention.mT, query, new_k, call.scale, 1)
        return in_attention


def double_backward(
    call: Call, output_gradient: Tensor, known: Tensor | None, received: Sequence[Tensor], *, bias_too: bool = False
) -> tuple[Tensor | None, ...]:
    """Differentiate ``backward`` with ``explain``: return gradients of query, key, value, bias and dO.

    ``received`` are the gradients that dQ, dK and dV ``(B, H, ..., D)`` and the relevance ``(B, N, M)`` received.
    """
    work = _DoubleBackward(call, output_gradient, known, received)
    buffers = call.buffers(5)
    tensors = (call.query, call.key, call.value, output_gradient)
    found = call.gradients(*tensors)
    bias_gradient = call.bias_gradient(bias_too)
    for tile in call.tiles():
        call.add_to_bias(bias_gradient, tile, work.run(tile, buffers, found))
    q, k, v, dout = map(call.restore, found, tensors)
    return q, k, v, call.restore(bias_gradient, call.bias), dout
