"""The result of a relevance method, and what methods share: gradients that reach every activation, captured tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.models.classifier import head_kind_of
from robustvit.models.families import Layout

# Returns the relevance of classes (B,) on the method's grid, (B, rows, columns), differentiable if the bool says so.
Explain = Callable[[Tensor, bool], Tensor]


@dataclass(frozen=True)
class Trace:
    """A forward pass that can be explained.

    Attributes:
        logits: ``(B, C)`` of the pass.
        explain: returns the relevance of the target classes; differentiable in the weights, or constant, which is
            cheaper, and may free the graph.
    """

    logits: Tensor
    explain: Explain


# A relevance method, (model, images, second_order=False): runs a model on images (B, 3, H, W) once, with gradients on.
Method = Callable[..., Trace]


def require_gradient(model: nn.Module, images: Tensor) -> Tensor:
    """Return images from which a gradient flows through the whole model, even if the weights are constant.

    Weights are constant if they are frozen, or if the caller wants no gradient for them (``ConstantWeights``).
    The caller's images stay as they are.
    """
    if images.requires_grad or all(weights.view_as(weights).requires_grad for weights in model.parameters()):
        return images
    return images.detach().requires_grad_()


def sum_target_logits(model: nn.Module, logits: Tensor, target: Tensor) -> Tensor:
    """Sum each image's target logit over the batch; images do not mix, so the gradient is that of each image.

    A head of one logit z answers (0, z), see ``Classifier``: the target is z for the class, -z for its absence.
    """
    chosen = logits.gather(1, target[:, None])
    if head_kind_of(model) == "binary":
        chosen = chosen - logits.gather(1, 1 - target[:, None])
    return chosen.sum()


def classes_to_explain(target: Tensor | int | None, logits: Tensor) -> Tensor:
    """Return the class to explain of each image, ``(B,)``: as given, for each or for all, or the predicted class."""
    count, classes = logits.shape
    if target is None:
        return logits.argmax(dim=1)
    chosen = torch.as_tensor(target, device=logits.device)
    chosen = chosen.expand(count) if chosen.ndim == 0 else chosen
    if chosen.shape != (count,) or chosen.is_floating_point():
        raise UserError(f"expected {count} classes to explain, one for each image, got {tuple(chosen.shape)}")
    if ((chosen < 0) | (chosen >= classes)).any():
        raise UserError(f"expected classes from 0 to {classes - 1}, got {sorted(set(chosen.tolist()))}")
    return chosen


def slots_of(present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the classes present in each photo, ``(B, P)``, and which of these slots are filled, ``(B, P)`` bool.

    ``present`` is ``(B, C)`` bool, P the largest number of classes in a photo.
    """
    counts = present.sum(dim=1)
    most = int(counts.max()) if len(counts) else 0
    order = present.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    return order, torch.arange(most, device=present.device) < counts[:, None]


@contextmanager
def catch_tokens(block: nn.Module) -> Iterator[list[Tensor]]:
    """Catch what enters a block in a ``with`` block; the list fills with one ``(B, N, C)`` tensor per call."""
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        caught.append(inputs[0] if inputs else next(iter(named.values())))

    with block.register_forward_pre_hook(catch, with_kwargs=True):
        yield caught


def check_tokens(caught: list[Tensor], layout: Layout, images: Tensor) -> Tensor:
    """Return the single captured tensor of tokens; refuse any other number of them."""
    rows, columns = layout.grid(images)
    expected = (len(images), layout.prefix_tokens + rows * columns)
    found = [tuple(one.shape[:2]) for one in caught]
    if found != [expected] or caught[0].ndim != 3:
        raise UserError(
            f"expected tokens {expected} to enter each block once ({layout.prefix_tokens} before a grid of {rows} x "
            f"{columns} patches), got {found or 'none'}: its tokens do not match its family"
        )
    return caught[0]
