"""Which tokens of a vision transformer a custom head reads, measured by its gradient."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.models.families import Layout, Readout, find_layout
from robustvit.models.forward_pass import ForwardPass

_OF_ALL: tuple[Readout, ...] = ("tokens", "class+patches", "pool")


def measure_readout(network: nn.Module, seen: ForwardPass) -> Readout | Literal["unclear"] | None:
    """Return the tokens of the last block that the logits of a forward pass depend on.

    Returns:
        None if the network holds no vision transformer of a known family, or its logits depend on nothing yet;
        ``unclear`` if they depend on tokens in a way that does not tell how much each counts.
    """
    try:
        layout = find_layout(network, headless=True)
    except UserError:
        return None
    tokens = next((call.returned for call in reversed(seen.calls) if call.module is layout.blocks[-1]), None)
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    if not isinstance(tokens, Tensor) or tokens.ndim != 3:
        return None
    read = _rows(tokens, seen)
    return _name(read, layout) if read.any() else None  # a head of zeros reads nothing yet


def _rows(tokens: Tensor, seen: ForwardPass) -> Tensor:
    """Return which tokens the logits depend on, ``(N,)``."""
    weights = torch.linspace(1, 2, seen.logits.shape[1], dtype=seen.logits.dtype, device=seen.logits.device)
    gradient = torch.autograd.grad((seen.logits * weights).sum(), tokens, retain_graph=True, allow_unused=True)[0]
    if gradient is None:
        return torch.zeros(tokens.shape[1], dtype=torch.bool)
    if len(gradient) != len(seen.images):  # some run tokens first
        gradient = gradient.transpose(0, 1)
    return gradient.abs().amax(dim=(0, 2)) > 0


def _name(read: Tensor, layout: Layout) -> Readout | Literal["unclear"]:
    where = set(read.nonzero().flatten().tolist())
    prefix, patches = layout.prefix_tokens, set(range(layout.prefix_tokens, len(read)))
    if prefix and where == {0}:
        return "class"
    if prefix > 1 and where == {0, 1}:
        return "distilled"
    if where == patches:
        return "pool" if layout.readout == "pool" else "patches"
    if prefix > 1 and where == {0} | patches:
        return "class+patches"
    return layout.readout if len(where) == len(read) and layout.readout in _OF_ALL else "unclear"
