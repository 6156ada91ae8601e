"""Which weights a finetuning run may change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction

from torch import Tensor, nn

from robustvit.errors import UserError
from robustvit.families import find_layout
from robustvit.options import Train

__all__ = ["trainable"]


# Names of what makes attention maps, across libraries, each with the share of leading rows that belong to it.
_NAMES = (
    (re.compile(r"(^|[._])(qkv|in_proj)[._](weight|bias)$"), Fraction(2, 3)),  # queries, keys and values in one matrix
    (re.compile(r"(^|\.)kv\.(weight|bias)$"), Fraction(1, 2)),  # keys and values: attention pools
    (re.compile(r"(^|\.)(q|k|query|key|q_proj|k_proj|q_norm|k_norm)[._](weight|bias)$"), Fraction(1)),
    (re.compile(r"(^|\.)(q_bias|k_bias|latent|probe)$"), Fraction(1)),
    (re.compile(r"relative_position_bias_table$|(^|[._])rel_pos\."), Fraction(1)),
)
_POSITIONS = _NAMES[-1:]


def _matching(
    module: nn.Module, names: Iterable[tuple[re.Pattern[str], Fraction]]
) -> Iterator[tuple[nn.Parameter, int]]:
    for name, parameter in module.named_parameters():
        for pattern, share in names:
            if pattern.search(name):
                yield parameter, int(parameter.shape[0] * share)
                break


def _queries_and_keys(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Parameters that make attention maps, each with the number of leading rows that belong to queries and keys."""
    try:
        layout = find_layout(model)
    except UserError as error:
        raise UserError(f"{error}; to finetune it as a whole, use --train all") from error
    found: dict[nn.Parameter, int] = {}
    for number, block in enumerate(layout.blocks):
        inside = dict(_matching(block, _NAMES))
        if not inside:
            raise UserError(
                f"expected queries and keys in block {number} of {type(getattr(model, 'network', model)).__name__}, "
                f"found none by name in {type(block).__name__}: use --train all"
            )
        found |= inside
    if layout.readout == "pool":
        for name, module in model.named_modules():
            if name.endswith("attn_pool"):
                found |= dict(_matching(module, _NAMES))
    found |= dict(_matching(model, _POSITIONS))  # tables that blocks share lie outside of them
    return list(found.items())


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
    higher. Values share a matrix with queries and keys in many libraries; their rows get no gradient, and since weight
    decay would still shrink them, such parameters should be trained without it.

    Args:
        model: a ``Classifier`` or a bare vision transformer of a known family.
        train: ``all`` or ``attention``.

    Yields:
        The parameters to give to an optimiser.

    Raises:
        UserError: ``train`` is unknown, or a model whose queries and keys are not known.
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
