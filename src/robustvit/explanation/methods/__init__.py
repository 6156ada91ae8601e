"""Relevance methods by name; each is a function in a file of this package, with its source in the docstring."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.explanation.attention.interception import gradients_for_maps
from robustvit.explanation.methods.attnlrp import attnlrp
from robustvit.explanation.methods.gae import gae
from robustvit.explanation.methods.grad_cam import grad_cam
from robustvit.explanation.methods.input_gradient import input_gradient
from robustvit.explanation.methods.legrad import legrad
from robustvit.explanation.methods.rollout import raw_attention, rollout
from robustvit.explanation.methods.trace import Method
from robustvit.models.families import find_layout
from robustvit.models.forward_pass import evaluating

RELEVANCE_METHODS: dict[str, Method] = {
    "gae": gae,
    "attnlrp": attnlrp,
    "legrad": legrad,
    "rollout": rollout,
    "raw_attention": raw_attention,
    "grad_cam": grad_cam,
    "input_gradient": input_gradient,
}
_OF_ATTENTION = frozenset({"gae", "attnlrp", "legrad", "rollout", "raw_attention"})


def get_method(name: str) -> Method:
    """Return the relevance method of that name; a number after attnlrp, as in ``attnlrp:0.1``, is its gamma."""
    base, mark, number = str(name).partition(":")
    expect_one_of("the relevance method", base, RELEVANCE_METHODS)
    if not mark:
        return RELEVANCE_METHODS[base]
    if base != "attnlrp":
        raise UserError(f"expected no number after {base}, got {name}: only attnlrp takes a number, its gamma")
    try:
        gamma = float(number)
    except ValueError:
        gamma = math.nan
    if not 0 <= gamma < math.inf:
        raise UserError(f"expected a gamma of at least 0 after attnlrp, such as attnlrp:0.1, got {name}")
    return partial(attnlrp, gamma=gamma)


def check_method(name: str, model: nn.Module) -> None:
    """Refuse a relevance method that does not support a model, before any work is done or anything is written.

    If the model has an input size, as a ``Classifier`` does, the method is tried on a grey image; the model does not
    change.
    """
    method = get_method(name)
    if name.partition(":")[0] in _OF_ATTENTION:
        find_layout(model)
    if (preprocessing := getattr(model, "preprocessing", None)) is not None:
        _try_on_grey(method, model, preprocessing.input_size)


def _try_on_grey(method: Method, model: nn.Module, size: tuple[int, int]) -> None:
    example = next(model.parameters())
    with evaluating(model), gradients_for_maps(False):  # batch statistics must not learn from a grey image
        trace = method(model, torch.full((1, 3, *size), 0.5, dtype=example.dtype, device=example.device))
        trace.explain(trace.logits.argmax(dim=1), False)


def measuring_method(guiding: str | None, model: nn.Module) -> str:
    """Return the method that measures where relevance lies: ``gae`` if supported, so that models guided in different
    ways can be compared, else the guiding method, else ``grad_cam`` or ``input_gradient``.
    """
    if guiding is not None:
        check_method(guiding, model)
    if guiding == "gae" or _supports("gae", model):
        return "gae"
    return guiding or ("grad_cam" if _supports("grad_cam", model) else "input_gradient")


def _supports(name: str, model: nn.Module) -> bool:
    try:
        check_method(name, model)
    except UserError:
        return False
    return True
