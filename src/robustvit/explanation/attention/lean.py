"""Attention that stores hardly any maps: they are recomputed, image by image, when a gradient is needed.

The forward pass is PyTorch's fused attention. A first backward pass, from the logit that is explained, leaves behind
each block's relevance ``mean over heads of max(0, dA * A)``; the second, from the loss, adds the gradient that the
relevance receives to the gradient of the attention's output. So no gradient of maps of all heads outlives its block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.explanation.attention.gelu import Context
from robustvit.explanation.attention.passes import Explained, backward, double_backward
from robustvit.explanation.attention.tiles import Call


@dataclass
class _State:
    """State shared by a call's backward passes. It must not hold the graph in which it is held."""

    first: bool
    explaining: bool = False
    keep: bool = False
    explained: Explained | None = None
    pending: list[tuple[Tensor, Explained]] = field(default_factory=list)


class LeanCall:
    """One attention call of a forward pass, from which its relevance can be asked for later.

    Calling it computes the attention; arguments as in ``Interception``.

    Args:
        first: whether it is the first call, where an explanation may stop.

    Attributes:
        anchor: a scalar whose gradient passes through this call, whether or not the weights are frozen.
    """

    anchor: Tensor
    _token: Tensor

    def __init__(self, first: bool) -> None:
        self._state = _State(first)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        self.anchor = query.new_zeros((), requires_grad=True)
        output, self._token = _LeanAttention.apply(self._state, scale, query, key, value, bias, self.anchor)
        return output

    def take_relevance(self, differentiable: bool = False) -> Tensor:
        """Return the relevance ``(B, N, M)`` of the explanation just made, ``mean over heads of max(0, dA * A)``, once.

        It can be ``differentiable`` in the attention ``A``; and in its gradient ``dA`` too, if the explanation's
        backward pass was made with ``create_graph``.
        """
        explained, self._state.explained = self._state.explained, None  # or its graph would keep itself alive
        if explained is None:
            raise UserError("expected logits that depend on every attention block, got a block that they do not use")
        if not differentiable or explained.relevance.requires_grad:
            return explained.relevance
        return _Attach.apply(self._token, explained, self._state)


@contextmanager
def explaining(calls: Sequence[LeanCall], differentiable: bool = True) -> Iterator[None]:
    """Make backward passes inside the block store each call's relevance, which may be differentiated later."""
    states = [call._state for call in calls]
    for state in states:
        state.explaining, state.keep, state.explained = True, differentiable, None
    try:
        yield
    finally:
        for state in states:
            state.explaining = False


class _Attach(torch.autograd.Function):
    """Pass the gradient of a call's relevance to its attention, which comes later in the backward pass."""

    @staticmethod
    def forward(ctx: Context, token: Tensor, explained: Explained, state: _State) -> Tensor:
        ctx.explained, ctx.state = explained, state
        return explained.relevance.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ctx.state.pending.append((gradient, ctx.explained))
        return gradient.new_zeros(()), None, None


class _LeanAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, state: _State, scale: float, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value, bias, _ = tensors
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(query, key, value, bias)
        ctx.scale, ctx.state = scale, state
        return F.scaled_dot_product_attention(query, key, value, bias, scale=scale), query.new_zeros(())

    @staticmethod
    def backward(ctx: Context, output_gradient: Tensor | None, token: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, value, bias = ctx.saved_tensors
        state = ctx.state
        if output_gradient is None:
            output_gradient = query.new_zeros(()).expand(*query.shape[:-1], value.shape[-1])
        # An explanation needs no gradient before the first call.
        inputs = not (state.explaining and state.first)
        bias_too = inputs and ctx.needs_input_grad[5]
        if torch.is_grad_enabled():
            if not state.explaining:
                raise UserError("expected one backward pass of the loss, got create_graph=True: it cannot be repeated")
            *gradients, relevance = _Backward.apply(ctx.scale, inputs, query, key, value, bias, output_gradient)
            state.explained = Explained(relevance, output_gradient)
            return None, None, *gradients, None, query.new_zeros(())
        pending, state.pending = state.pending, []
        call, known = Call(query, key, value, bias, ctx.scale), pending[0][1].attention if pending else None
        gradients, state.explained = backward(
            call, output_gradient, known, pending,
            explain=state.explaining, keep=state.keep, inputs=inputs, bias_too=bias_too,
        )  # fmt: skip
        for _, explained in pending:
            explained.forget_maps()
        return None, None, *gradients, query.new_zeros(())


class _Backward(torch.autograd.Function):
    """The backward pass of an explanation that is to be differentiated itself: the second order."""

    @staticmethod
    def forward(ctx: Context, scale: float, inputs: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        query, key, value, bias, output_gradient = tensors
        call = Call(query, key, value, bias, scale)
        found, explained = backward(call, output_gradient, explain=True, keep=True, inputs=inputs)
        assert explained is not None
        ctx.save_for_backward(*tensors, explained.attention)
        ctx.scale = scale
        gradients = [torch.zeros_like(x) if g is None else g for g, x in zip(found, (query, key, value), strict=False)]
        return *gradients, explained.relevance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Context, *received: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bias, output_gradient, known = ctx.saved_tensors
        call = Call(query, key, value, bias, ctx.scale)
        found = double_backward(call, output_gradient, known, received, bias_too=ctx.needs_input_grad[5])
        return None, None, *found
