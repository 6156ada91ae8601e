"""Relevance methods by name; each is a function of one file here, with its source in its docstring."""

from __future__ import annotations

import torch
from torch import nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.explanation.attention.interception import evaluating, gradients_for_maps
from robustvit.explanation.methods.attnlrp import attnlrp
from robustvit.explanation.methods.gae import gae
from robustvit.explanation.methods.grad_cam import grad_cam
from robustvit.explanation.methods.input_gradient import input_gradient
from robustvit.explanation.methods.rollout import raw_attention, rollout
from robustvit.explanation.methods.trace import Method, Trace
from robustvit.models.families import find_layout

__all__ = ["METHODS", "Method", "Trace", "check_method", "measuring_method", "method_of"]

METHODS: dict[str, Method] = {
    "gae": gae,
    "attnlrp": attnlrp,
    "rollout": rollout,
    "raw_attention": raw_attention,
    "grad_cam": grad_cam,
    "input_gradient": input_gradient,
}
_OF_ATTENTION = frozenset({"gae", "attnlrp", "rollout", "raw_attention"})


def method_of(name: str) -> Method:
    """The relevance method of that name."""
    expect_one_of("the relevance method", name, METHODS)
    return METHODS[name]


def check_method(name: str, model: nn.Module) -> None:
    """Make sure that a relevance method works for a model, before work is spent on it or anything is written.

    A model that says what size it takes, as a ``Classifier`` does, meets the method on one grey image; its weights,
    statistics and modes stay as they are.
    """
    method = method_of(name)
    if name in _OF_ATTENTION:
        find_layout(model)
    if (preprocessing := getattr(model, "preprocessing", None)) is not None:
        _try_on_grey(method, model, preprocessing.input_size)


def _try_on_grey(method: Method, model: nn.Module, size: tuple[int, int]) -> None:
    example = next(model.parameters())
    with evaluating(model), gradients_for_maps(False):  # batch statistics must not learn from a grey image
        trace = method(model, torch.full((1, 3, *size), 0.5, dtype=example.dtype, device=example.device))
        trace.explain(trace.logits.argmax(dim=1), False)


def measuring_method(guiding: str | None, model: nn.Module) -> str:
    """The method that measures where relevance lies: ``gae`` where it holds, so that models guided in different ways
    can be compared, else the method that guides; where none does, ``grad_cam`` or else ``input_gradient``.
    """
    if guiding is not None:
        check_method(guiding, model)
    if guiding == "gae" or _holds("gae", model):
        return "gae"
    return guiding or ("grad_cam" if _holds("grad_cam", model) else "input_gradient")


def _holds(name: str, model: nn.Module) -> bool:
    try:
        check_method(name, model)
    except UserError:
        return False
    return True
