"""Recorded forward passes: the logits of a vision transformer with the attention of every block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.explanation.attention.interception import Interception, ready_for_interception
from robustvit.explanation.attention.lean import LeanCall
from robustvit.models.classifier import logits_of
from robustvit.models.families import Layout, find_layout


@dataclass(frozen=True)
class _Forward:
    logits: Tensor
    layout: Layout


@dataclass(frozen=True)
class RecordedForward(_Forward):
    """A forward pass with the attention after the softmax: one ``(B, H, N, N)`` tensor per block, first block first.

    Each lies upstream of ``logits`` in the autograd graph. If an attention pool follows the blocks, its map
    ``(B, H, 1, N)`` comes last.
    """

    attentions: tuple[Tensor, ...]


@dataclass(frozen=True)
class LeanForward(_Forward):
    """A forward pass whose attention maps are recomputed when needed, see ``lean``; the first block's call first."""

    calls: tuple[LeanCall, ...]


def attend_openly(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Compute attention in plain operations, which can be differentiated twice.

    Returns the output ``(B, H, N, D)`` and the map ``(B, H, N, M)``.
    """
    scores = (query * scale) @ key.mT
    attention = (scores if bias is None else scores + bias).softmax(dim=-1)
    if torch.is_grad_enabled() and not attention.requires_grad:
        attention.requires_grad_()  # a frozen model: gradients must still reach the maps
    return attention.to(value.dtype) @ value, attention


@contextmanager
def explicit_attention(model: nn.Module, twice: bool = False) -> Iterator[list[Tensor]]:
    """Collect the maps of all attention calls inside the ``with`` block, for any model: ``(B, H, N, M)`` per call.

    ``twice``: the backward pass will be differentiated; see ``Interception``.
    """
    maps: list[Tensor] = []

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        output, attention = attend_openly(query, key, value, bias, scale)
        maps.append(attention)
        return output

    with ready_for_interception(model), Interception(attend, twice):
        yield maps


def _first_row(attend: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute attention for the first token only; the output of the others is zero."""

    def limited(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        if bias is not None and bias.shape[-2] > 1:
            bias = bias[..., :1, :]
        output = attend(query[..., :1, :], key, value, bias, scale)
        return F.pad(output, (0, 0, 0, query.shape[-2] - 1))

    return limited


@contextmanager
def _class_token_only(layout: Layout) -> Iterator[None]:
    """Run parts of the last block for the class token alone.

    Its output is broadcast to the other tokens, whose values are then wrong, but never read.
    """
    with ExitStack() as hooks:
        for module in layout.class_only:
            hook = module.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, :1], *inputs[1:]))
            hooks.enter_context(hook)
        yield


def record_forward(model: nn.Module, images: Tensor) -> RecordedForward:
    """Run a model that holds a vision transformer of a known family once, and keep the attention of every block."""
    layout = find_layout(model)
    with explicit_attention(model) as maps:
        logits = logits_of(model(images))
    _check_calls(layout, images, [(one.shape[-2], one.shape[-1]) for one in maps], False)
    return RecordedForward(logits, layout, tuple(maps))


def lean_forward(model: nn.Module, images: Tensor, *, twice: bool = False) -> LeanForward:
    """Run a model as ``record_forward`` does, but with its fused attention, ready to be explained without keeping maps.

    ``twice``: the explanation's backward pass will be differentiated itself. If the logits are read from the class
    token, the last block is computed for it alone.
    """
    layout = find_layout(model)
    calls: list[LeanCall] = []
    shapes: list[tuple[int, int]] = []

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        last = bool(layout.class_only) and len(calls) == len(layout.blocks) - 1
        calls.append(LeanCall(first=not calls))
        shapes.append((1 if last else query.shape[-2], key.shape[-2]))
        compute = _first_row(calls[-1]) if last else calls[-1]
        return compute(query, key, value, bias, scale)

    with ready_for_interception(model), _class_token_only(layout), Interception(attend, twice):
        logits = logits_of(model(images))
    _check_calls(layout, images, shapes, bool(layout.class_only))
    return LeanForward(logits, layout, tuple(calls))


def _check_calls(layout: Layout, images: Tensor, shapes: Sequence[tuple[int, int]], short: bool) -> None:
    """Refuse a model whose attention calls do not match its layout; ``short`` if the last has a single row."""
    grid = layout.grid(images)
    tokens = layout.prefix_tokens + grid[0] * grid[1]
    blocks = len(layout.blocks)
    expected = [(tokens, tokens)] * blocks
    if short:
        expected[-1] = (1, tokens)
    pool = list(shapes[blocks:])
    if layout.readout == "pool" and len(pool) == 1 and pool[0] in ((1, tokens), (1, grid[0] * grid[1])):
        pool = []
    if list(shapes[:blocks]) != expected or pool:
        found = ", ".join(f"{rows} x {columns}" for rows, columns in dict.fromkeys(shapes)) or "none"
        raise UserError(
            f"expected {layout.calls} attention calls over {tokens} tokens ({layout.prefix_tokens} before a grid of "
            f"{grid[0]} x {grid[1]} patches), got {len(shapes)} of {found}: its tokens do not match its family"
        )
