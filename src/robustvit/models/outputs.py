"""The output of a network: which part of it holds the logits, and whether they are logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.options import HeadKind

OutputKind = Literal["logits", "probabilities", "log-probabilities", "sigmoids"]
_TOLERANCE = 1e-4
# Backward functions that change no value; the function before them computed the output.
_UNCHANGED = ("Alias", "Clone", "Contiguous", "Select", "Slice", "Squeeze", "ToCopy", "Unsafe", "Unsqueeze", "View")


def logits_of(output: object, *, distilled: bool = False) -> Tensor:
    """Return the logits ``(B, C)`` in a network's output.

    They are the output itself, its attribute or entry ``logits``, or the only tensor of two axes in a tuple, list or
    dictionary. Two such tensors are refused, except for those of a ``distilled`` model, whose two heads are averaged.
    """
    found = output.get("logits", output) if isinstance(output, Mapping) else getattr(output, "logits", output)
    if isinstance(found, Mapping):
        found = tuple(found.values())
    if isinstance(found, (tuple, list)):
        found = _only_logits([one for one in found if isinstance(one, Tensor) and one.ndim == 2], distilled, output)
    if not isinstance(found, Tensor) or found.ndim != 2:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(output).__name__
        raise UserError(f"expected a classifier that returns logits (B, C), got {got}")
    return found


def _only_logits(tensors: list[Tensor], distilled: bool, output: object) -> object:
    if distilled and len(tensors) == 2 and tensors[0].shape == tensors[1].shape:
        return (tensors[0] + tensors[1]) / 2
    if len(tensors) > 1:
        shapes = " and ".join(str(tuple(one.shape)) for one in tensors)
        raise UserError(
            f"expected a classifier that returns logits (B, C), got {len(tensors)} tensors that could be them, "
            f"{shapes}: return the logits alone, or name them in a dictionary, {{'logits': ...}}"
        )
    return tensors[0] if tensors else output


def has_two_heads(network: nn.Module) -> bool:
    """Whether a network is a distilled model, whose second head predicts the same classes."""
    return hasattr(network, "head_dist") or type(network).__name__.endswith("WithTeacher")


def output_kind(logits: Tensor) -> OutputKind:
    """Return whether the outputs ``(B, C)`` of a network are logits, or have passed a last softmax or sigmoid."""
    values = logits.detach().double()
    if bool((values <= 0).all()) and bool(values.exp().sum(dim=1).sub(1).abs().max() < _TOLERANCE):
        return "log-probabilities"
    if bool((values < 0).any()) or bool((values > 1).any()):
        return "logits"
    if bool(values.sum(dim=1).sub(1).abs().max() < _TOLERANCE):
        return "probabilities"
    return "sigmoids" if _name_last_function(logits).startswith("Sigmoid") else "logits"


def _name_last_function(logits: Tensor) -> str:
    """Return the name of the function that computed a tensor; empty without gradients."""
    function = logits.grad_fn
    while function is not None and function.name().startswith(_UNCHANGED) and function.next_functions:
        function = function.next_functions[0][0]
    return "" if function is None else function.name()


def as_logits(outputs: Tensor, kind: OutputKind) -> Tensor:
    """Return logits whose softmax (sigmoid for ``sigmoids``) gives the probabilities that a network returns."""
    if kind == "probabilities":
        return outputs.clamp(min=torch.finfo(outputs.dtype).tiny).log()
    if kind == "sigmoids":
        return outputs.logit(eps=torch.finfo(outputs.dtype).eps)
    return outputs


def warn_of_kind(kind: OutputKind, name: str, head: HeadKind = "softmax") -> str:
    """Say in one line what outputs other than logits mean for the results; empty for logits."""
    if kind == "sigmoids":
        one = "each photo is taken to have one class, the most probable, and " if head == "softmax" else ""
        return f"{name} returns sigmoids: {one}logits are computed back from them"
    if kind == "logits":
        return ""
    what = "log-probabilities" if kind == "log-probabilities" else "probabilities (each row sums to 1)"
    return (
        f"{name} returns {what}, not logits: its confidence is right, but maps and losses are computed from "
        "log-probabilities; remove its last softmax to compute them from logits"
    )
