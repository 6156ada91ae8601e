"""Sufficient input subsets: few pixels that alone make a classifier confident in a class, predicted or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import SubsetFill
from robustvit.explanation.attention.interception import gradients_for_maps, leave_inference, ready_for_interception
from robustvit.explanation.methods.trace import classes_to_explain
from robustvit.models.classifier import Classifier, logits_of
from robustvit.models.forward_pass import evaluating


@dataclass(frozen=True)
class SufficientSubsets:
    """A subset of pixels for each image of a batch.

    Attributes:
        mask: ``(B, 1, H, W)`` bool, the pixels that suffice; all False where no subset suffices.
        found: ``(B,)`` bool, whether a subset suffices. It may be empty: the filling alone is then enough.
        confidence: ``(B,)`` in [0, 1], the class's probability when all other pixels are filled; without a subset,
            the highest probability seen during the search.
        whole: ``(B,)`` in [0, 1], the class's probability in the whole image.
        empty: ``(B,)`` in [0, 1], the class's probability when every pixel is filled.
        order: ``(B, 1, H, W)``, when each pixel was removed: 0 the first, ``H W - 1`` the last. A subset of ``n``
            pixels holds the ``n`` last ones.
    """

    mask: Tensor
    found: Tensor
    confidence: Tensor
    whole: Tensor
    empty: Tensor
    order: Tensor

    @property
    def size(self) -> Tensor:
        """Number of pixels, ``(B,)``; 0 also where no subset suffices."""
        return self.mask.flatten(1).sum(dim=1)

    @property
    def share(self) -> Tensor:
        """Share of the image's pixels, ``(B,)`` in [0, 1]."""
        return self.size / self.mask[0].numel()


def sufficient_subset(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    confidence: float = 0.9,
    remove: float = 0.005,
    fill: SubsetFill | float = "grey",
    max_steps: int | None = None,
    after_step: Callable[[], None] | None = None,
) -> SufficientSubsets:
    """Find few pixels of each image that alone make the model confident in a class (batched gradient SIS).

    Carter, Mueller, Jain and Gifford (AISTATS 2019) and Carter, Jain, Mueller and Gifford (NeurIPS 2021). Pixels are
    removed step by step, those first whose removal lowers the class's probability least by its gradient in the mask;
    then they are brought back, the last removed first, until the probability reaches ``confidence``. Inside the step
    where it does, bisection finds a number of pixels that suffices while one pixel fewer does not. The probability need
    not rise with every pixel, so a smaller subset may exist, in this order or another; and where none is found, that
    proves nothing. The target may be any class: such subsets resemble adversarial examples, and are not evidence of
    what the model used (RobustViT's Appendix A).

    The gradient is that of the log-odds ``log p / (1 - p)``: it has the order of the probability's gradient, but does
    not vanish when the probability is close to 0 or 1. The model runs in evaluation mode; its modes are restored.

    Args:
        model: any classifier of two or more classes.
        images: ``(B, 3, H, W)``, what ``model`` takes: values in [0, 1] for a ``Classifier``.
        target: classes ``(B,)``, or one for all images; predicted classes by default.
        confidence: probability to reach, between 0 and 1.
        remove: pixels removed at each step: below 1 a share of the image's, from 1 on a number. The authors remove 100
            of 224 x 224, which is 0.002.
        fill: value of removed pixels: ``grey``, the model's own mean colour (0 after normalisation, as the
            authors do; 0 for a bare network), the image's ``mean`` colour, ``black``, or a value.
        max_steps: steps at most; the last one removes all that is left. Each costs a forward and a backward pass.
        after_step: called after every step, to show progress.

    Raises:
        UserError: options out of range, a class that the model does not have, a model without finite gradients.
    """
    if not 0 < confidence < 1:
        raise UserError(f"expected a confidence between 0 and 1, got {confidence}")
    sizes = list_sizes(images.shape[-2] * images.shape[-1], remove, max_steps)
    with gradients_for_maps(differentiable=False), ready_for_interception(model), evaluating(model):
        images = leave_inference(images)[0].detach()
        filled = _fill(model, images, fill)
        target = _choose_targets(model, images, target)
        search = _Search(model, images, filled, target)
        order, curve = search.select_backwards(sizes, after_step or (lambda: None))
        with torch.no_grad():
            size, found, reached = search.find(order, curve, sizes, confidence)
        mask = _last(order, size) & found[:, None, None, None]
    return SufficientSubsets(mask, found, reached, curve[:, 0], curve[:, -1], order)


def list_sizes(pixels: int, remove: float = 0.005, max_steps: int | None = None) -> list[int]:
    """Return the number of pixels left before each step and after the last: from ``pixels`` down to 0."""
    if not 0 < remove <= pixels or (remove > 1 and remove != int(remove)):
        raise UserError(f"expected --remove as a share below 1 or a whole number up to {pixels} pixels, got {remove}")
    if max_steps is not None and max_steps < 1:
        raise UserError(f"expected --max-steps of at least 1, got {max_steps}")
    step = int(remove) if remove >= 1 else max(1, int(remove * pixels))
    sizes = [*range(pixels, 0, -step), 0]
    return sizes if max_steps is None else [*sizes[:-1][:max_steps], 0]


def _fill(model: nn.Module, images: Tensor, fill: SubsetFill | float) -> Tensor:
    if isinstance(fill, str):
        expect_one_of("fill", fill, get_args(SubsetFill))
    if fill == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    if fill == "grey" and isinstance(model, Classifier):
        return model.mean.to(images).expand_as(images)
    return torch.full_like(images, 0.0 if isinstance(fill, str) else fill)


def _choose_targets(model: nn.Module, images: Tensor, target: Tensor | int | None) -> Tensor:
    with torch.no_grad():
        logits = logits_of(model(images))
    if logits.shape[1] < 2:
        raise UserError("expected a classifier of at least 2 classes, got 1: its probability is always 1")
    return classes_to_explain(target, logits)


class _Search:
    """Backward selection, and the search in its order, for a batch."""

    def __init__(self, model: nn.Module, images: Tensor, filled: Tensor, target: Tensor) -> None:
        self.model, self.images, self.filled, self.target = model, images, filled, target
        pixels = images.shape[-2] * images.shape[-1]
        # Pixels equal to the filling have gradient 0: a random order, or the top rows would be favoured.
        self.shuffled = torch.randperm(pixels, generator=torch.Generator().manual_seed(0)).to(images.device)

    def select_backwards(self, sizes: list[int], after_step: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Return the order of removal ``(B, 1, H, W)``, and the probability at each size, ``(B, steps + 1)``."""
        order = torch.full_like(self.images[:, :1], sizes[0], dtype=torch.long)
        flat = order.view(len(order), -1)
        curve = []
        for before, after in pairwise(sizes):
            there = flat == sizes[0]
            probability, gradient = self._gradient(there.view_as(order))
            curve.append(probability)
            gradient = gradient.flatten(1).masked_fill(~there, torch.inf)
            first = self.shuffled[gradient[:, self.shuffled].argsort(dim=1, stable=True)][:, : before - after]
            done = sizes[0] - before
            flat.scatter_(1, first, torch.arange(done, sizes[0] - after, device=flat.device).expand_as(first))
            after_step()
        curve.append(self._probability(_last(order, torch.zeros_like(self.target))))
        return order, torch.stack(curve, dim=1)

    def find(self, order: Tensor, curve: Tensor, sizes: list[int], confidence: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the number of pixels that suffice, whether any do, and the probability, ``(B,)`` each."""
        enough = curve >= confidence
        found = enough.any(dim=1)
        steps = torch.arange(len(sizes), device=curve.device)
        last = torch.where(enough, steps, -1).amax(dim=1).clamp(min=0)
        counts = torch.tensor([*sizes, 0], device=curve.device)
        size, too_few = counts[last], counts[last + 1]
        reached = torch.where(found, curve.gather(1, last[:, None])[:, 0], curve.amax(dim=1))
        while (is_open := found & (size - too_few > 1)).any():
            middle = (size + too_few) // 2
            probability = self._probability(_last(order, middle))
            suffices = is_open & (probability >= confidence)
            size, reached = torch.where(suffices, middle, size), torch.where(suffices, probability, reached)
            too_few = torch.where(is_open & ~suffices, middle, too_few)
        return size, found, reached

    def _gradient(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities ``(B,)`` and the log-odds' gradient in the mask ``(B, 1, H, W)``."""
        entered = torch.where(mask, self.images, self.filled).requires_grad_()
        logits = _precise(logits_of(self.model(entered)))
        own = logits.gather(1, self.target[:, None])
        others = logits.scatter(1, self.target[:, None], -torch.inf).logsumexp(dim=1)
        (gradient,) = torch.autograd.grad((own[:, 0] - others).sum(), entered)
        if not torch.isfinite(gradient).all():
            raise UserError(
                "expected finite gradients of the logits, got NaN or infinity: use float32 and sound weights"
            )
        # By the chain rule: a mask m blends to fill + m (image - fill).
        gradient = (gradient * (self.images - self.filled)).sum(dim=1, keepdim=True)
        return logits.detach().softmax(dim=1).gather(1, self.target[:, None])[:, 0], gradient

    def _probability(self, mask: Tensor) -> Tensor:
        with torch.no_grad():
            logits = _precise(logits_of(self.model(torch.where(mask, self.images, self.filled))))
        return logits.softmax(dim=1).gather(1, self.target[:, None])[:, 0]


def _last(order: Tensor, size: Tensor) -> Tensor:
    """Return the mask ``(B, 1, H, W)`` of the ``size`` ``(B,)`` pixels that were removed last."""
    return order >= order[0].numel() - size[:, None, None, None]


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
