"""Rules of layer-wise relevance propagation, as gradients that differ from the true ones only while explaining.

Each rule of AttnLRP equals ``input x gradient`` of its function with some paths' gradients cut or halved. So every
function is written with its true value, and ``Valve`` stands on those paths: while a relevance is computed it passes
a share of the gradient, at all other times all of it. The relevance is made of differentiable operations on values of
the forward pass, whose gradients are then the true gradients: its derivative is exact, and so is that of any loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustvit.explanation.attention.gelu import Context


class LrpState:
    """Whether a relevance is being computed. It holds no tensor, so graphs are freed without a collector."""

    explaining = False

    @contextmanager
    def explain(self) -> Iterator[None]:
        """Let backward passes inside a ``with`` block follow the rules."""
        self.explaining = True
        try:
            yield
        finally:
            self.explaining = False


class _Valve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, values: Tensor, share: float, state: LrpState) -> Tensor:
        ctx.share, ctx.state = share, state
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        if not ctx.state.explaining:
            return gradient, None, None
        return (gradient * ctx.share if ctx.share else None), None, None


class Rules:
    """Functions with the values of PyTorch's functions and the relevance rules of AttnLRP.

    Args:
        state: shared with the code that computes the relevance.
        gamma: of the gamma rule in linear layers; 0 is the epsilon rule with epsilon 0.
    """

    def __init__(self, state: LrpState, gamma: float = 0.0) -> None:
        self._state, self._gamma = state, gamma

    def _constant(self, values: Tensor) -> Tensor:
        return _Valve.apply(values, 0.0, self._state)

    def _half(self, values: Tensor) -> Tensor:
        return _Valve.apply(values, 0.5, self._state)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The gamma rule: what has the sign of an output takes part in its relevance ``1 + gamma`` times.

        With shares ``z_ij = x_i w_ji`` of output ``z_j``, and ``z_ij'`` those of its sign (0 for others), input i gets
        ``sum_j (z_ij + gamma z_ij') / (z_j + gamma sum_k z_kj') R_j``. The bias is a share too, and keeps its own.
        This is Montavon et al.'s rule (2019) for inputs of either sign, as in zennit's ``Gamma``, by which the authors'
        library explains vision transformers; compared with its source.
        """
        output = F.linear(input, weight, bias)
        if not self._gamma:
            return output
        above, below = input.clamp(min=0), input.clamp(max=0)
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        rises, falls = F.linear(above, up) + F.linear(below, down), F.linear(above, down) + F.linear(below, up)
        if bias is not None:
            rises, falls = rises + bias.clamp(min=0), falls + bias.clamp(max=0)
        whole = output + self._gamma * torch.where(output > 0, rises, falls)
        safe = torch.where(whole == 0, torch.ones_like(whole), whole)  # as far from 0 as the output, or farther
        ratio = torch.where(whole == 0, torch.ones_like(whole), output / safe)
        return (whole * self._constant(ratio)).to(output.dtype)

    def layer_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        """The identity rule for the division by the standard deviation; centring, weight and bias are linear."""
        axes = tuple(range(-len(normalized_shape), 0))
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        centred = wide - wide.mean(dim=axes, keepdim=True)
        scaled = centred * self._constant((centred.square().mean(dim=axes, keepdim=True) + eps).rsqrt())
        scaled = scaled if weight is None else scaled * weight
        scaled = scaled if bias is None else scaled + bias
        # Autocast leaves its layer norms in float32.
        return scaled if torch.is_autocast_enabled(input.device.type) else scaled.to(input.dtype)

    def gelu(self, input: Tensor, approximate: str = "none") -> Tensor:
        """The identity rule, as for the next two: ``f(x) / x`` passes the gradient on, ``f'(0)`` where ``x`` is 0."""
        return self._gated(input, _tanh_gate if approximate == "tanh" else _normal_gate)

    def silu(self, input: Tensor, inplace: bool = False) -> Tensor:
        """As ``gelu``."""
        return self._gated(input, torch.sigmoid)

    def relu(self, input: Tensor, inplace: bool = False) -> Tensor:
        """As ``gelu``; its own gradient is the rule."""
        return torch.relu(input)

    def _gated(self, input: Tensor, gate: Callable[[Tensor], Tensor]) -> Tensor:
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        return (wide * self._constant(gate(wide))).to(input.dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """Attention, arguments as in ``Interception``: each product's relevance goes to its factors in halves; the
        softmax passes it on by its own derivative."""
        scores = (self._half(query) * scale) @ self._half(key).mT
        attention = (scores if bias is None else scores + bias).softmax(dim=-1)
        return self._half(attention).to(value.dtype) @ self._half(value)


def _normal_gate(values: Tensor) -> Tensor:
    return torch.erfc(values / -math.sqrt(2)) / 2


def _tanh_gate(values: Tensor) -> Tensor:
    return (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3))) / 2


RULED: dict[Callable[..., Any], str] = {
    F.linear: "linear",
    F.layer_norm: "layer_norm",
    F.gelu: "gelu",
    F.silu: "silu",
    F.relu: "relu",
    torch.relu: "relu",
}
