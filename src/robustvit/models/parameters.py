"""The weights that a finetuning run may change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Train
from robustvit.models.classifier import find_classifier
from robustvit.models.families import find_layout
from robustvit.models.heads import classes_of, last_linear
from robustvit.models.libraries.open_clip import ZeroShot

# Names of the parameters behind attention maps, across libraries, with the share of leading rows that belong to them.
_NAMES = (
    (re.compile(r"(^|[._])(qkv|in_proj)[._](weight|bias)$"), Fraction(2, 3)),  # queries, keys and values in one matrix
    (re.compile(r"(^|\.)kv\.(weight|bias)$"), Fraction(1, 2)),  # keys and values: attention pools
    (re.compile(r"(^|\.)(q|k|query|key|q_proj|k_proj|q_norm|k_norm)[._](weight|bias)$"), Fraction(1)),
    (re.compile(r"(^|\.)(q_bias|k_bias|latent|probe)$"), Fraction(1)),
    (re.compile(r"relative_position_bias_table$|(^|[._])rel_pos\."), Fraction(1)),
)
_POSITIONS = _NAMES[-1:]


def _match(module: nn.Module, names: Iterable[tuple[re.Pattern[str], Fraction]]) -> Iterator[tuple[nn.Parameter, int]]:
    for name, parameter in module.named_parameters():
        for pattern, share in names:
            if pattern.search(name):
                yield parameter, int(parameter.shape[0] * share)
                break


def _find_queries_and_keys(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Return the parameters behind attention maps, each with the number of leading rows of queries and keys."""
    try:
        layout = find_layout(model)
    except UserError as error:
        raise UserError(f"{error}; to finetune it as a whole, use --train all") from error
    found: dict[nn.Parameter, int] = {}
    for number, block in enumerate(layout.blocks):
        inside = dict(_match(block, _NAMES))
        if not inside:
            raise UserError(
                f"expected queries and keys in block {number} of {type(getattr(model, 'network', model)).__name__}, "
                f"found none by name in {type(block).__name__}: use --train all"
            )
        found |= inside
    if layout.readout == "pool":
        for name, module in model.named_modules():
            if name.endswith("attn_pool"):
                found |= dict(_match(module, _NAMES))
    found |= dict(_match(model, _POSITIONS))  # shared tables lie outside the blocks
    return list(found.items())


def head_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers that compute the logits: one, or two in a distilled model.

    timm names them; in other networks it is the last linear layer, with as many outputs as classes.
    """
    whole = find_classifier(model)
    network: Any = model if whole is None else whole.network
    if isinstance(network, ZeroShot):
        raise UserError("expected a linear head to train, but a zero-shot model's classes are texts: use --train all")
    if hasattr(network, "get_classifier"):
        head = network.get_classifier()
        layers = list(head) if isinstance(head, (tuple, list, nn.ModuleList)) else [head]
        layers = [last_linear(layer) if isinstance(layer, nn.Sequential) else layer for layer in layers]
    else:
        layers = _find_last_linear(network, classes_of(network) if whole is None else whole.num_classes)
    if not layers or not all(isinstance(layer, nn.Linear) for layer in layers):
        raise UserError(
            f"expected a linear layer at the end of {type(network).__name__} for --train head, found none: use --train "
            "all"
        )
    return layers


def _find_adapter(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    whole = find_classifier(model)
    if whole is None or whole.adapter is None:
        raise UserError(
            "expected a model with an adapter for --train adapter: give a model of peft, or the adapter's folder with "
            "--checkpoint; for a model without one, use --train all, attention or head"
        )
    parameters = [whole.network.get_parameter(name) for name in sorted(whole.adapter.names)]
    return [(parameter, parameter.shape[0] if parameter.ndim else 1) for parameter in parameters]


def _find_head(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    return [(parameter, parameter.shape[0]) for layer in head_layers(model) for parameter in layer.parameters()]


def _find_last_linear(network: nn.Module, classes: int) -> list[nn.Linear]:
    """Return the last linear layers with as many outputs as there are classes."""
    layers = list[nn.Linear]()
    for module in reversed([m for m in network.modules() if isinstance(m, nn.Linear)]):
        if module.out_features != classes:
            break
        layers.insert(0, module)
    return layers


# Each returns parameters with the number of leading rows that may change.
_FINDERS = {"head": _find_head, "adapter": _find_adapter, "attention": _find_queries_and_keys}


def _keep_rows(rows: int, gradient: Tensor) -> Tensor:
    return torch.cat((gradient[:rows], torch.zeros_like(gradient[rows:])))


@contextmanager
def trainable(model: nn.Module, train: Train) -> Iterator[list[nn.Parameter]]:
    """Make only some weights trainable inside a ``with`` block.

    ``all`` is the paper's finetuning. ``attention`` changes queries and keys only: where the model looks, not how it
    interprets what it sees. Guidance then cannot damage the features and the head, so it tolerates learning rates a
    hundred times higher. In many libraries values share a matrix with queries and keys. Their rows get no gradient, but
    weight decay would still shrink them, so train such parameters without it. ``head`` changes the last layer only:
    which features count for which class. ``adapter`` changes an adapter of peft alone, with the weights that it
    replaces whole, such as the head's.

    Yields the parameters to pass to an optimiser. For ``attention``, the model holds a vision transformer of a known
    family.
    """
    expect_one_of("--train", train, get_args(Train))
    chosen = None if train == "all" else _FINDERS[train](model)
    with ExitStack() as restoring:
        for parameter in model.parameters():
            restoring.callback(parameter.requires_grad_, parameter.requires_grad)
        if chosen is None:
            yield list(model.parameters())
            return
        model.requires_grad_(False)
        for parameter, rows in chosen:
            parameter.requires_grad_(True)
            if parameter.ndim and rows < parameter.shape[0]:
                restoring.enter_context(parameter.register_hook(partial(_keep_rows, rows)))
        yield [parameter for parameter, _ in chosen]
