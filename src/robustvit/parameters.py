"""Which weights a finetuning run may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from robustvit.errors import UserError
from robustvit.families import find_layout
from robustvit.options import Train

__all__ = ["trainable"]


def _queries_and_keys(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Parameters that make attention maps, each with the number of leading rows that belong to queries and keys."""
    found: list[tuple[nn.Parameter, int]] = []
    for block in find_layout(model).blocks:
        attention: Any = block.attn
        found += [(p, 2 * p.shape[0] // 3) for p in attention.qkv.parameters()]
        for norm in (attention.q_norm, attention.k_norm):
            found += [(p, p.shape[0]) for p in norm.parameters()]
    return found


def _keep_rows(rows: int):
    def mask(gradient: Tensor) -> Tensor:
        kept = gradient.clone()
        kept[rows:] = 0
        return kept

    return mask


@contextmanager
def trainable(model: nn.Module, train: Train) -> Iterator[list[nn.Parameter]]:
    """Make only some weights trainable for the length of a ``with`` block.

    ``all`` is the paper's finetuning. ``attention`` changes queries and keys only: where the model looks, not what it
    makes of what it sees. Guidance then cannot spoil the features and the head, so it bears rates a hundred times
    higher. Values share a matrix with queries and keys in timm; their rows get no gradient, and since weight decay
    would still shrink them, such parameters should be trained without it.

    Args:
        model: a ``Classifier`` or a bare timm vision transformer.
        train: ``all`` or ``attention``.

    Yields:
        The parameters to give to an optimiser.

    Raises:
        UserError: ``train`` is unknown, or the model is not supported.
    """
    if train not in ("all", "attention"):
        raise UserError(f"expected --train to be all or attention, got {train!r}")
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    hooks = []
    try:
        if train == "all":
            yield [parameter for parameter, _ in flags]
            return
        chosen = _queries_and_keys(model)
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        for parameter, rows in chosen:
            parameter.requires_grad_(True)
            if rows < parameter.shape[0]:
                hooks.append(parameter.register_hook(_keep_rows(rows)))
        yield [parameter for parameter, _ in chosen]
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
