"""Deletion and insertion curves: how a class's probability falls and rises with the most relevant pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Fill
from robustvit.models.classifier import logits_of


@dataclass(frozen=True)
class Curves:
    """Probabilities of the target class, ``(B, steps + 1)``, most relevant pixels first: ``deletion`` from the whole
    image to the empty image, ``insertion`` from the empty image to the whole image.
    """

    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_auc(self) -> Tensor:
        """Area under the deletion curve, ``(B,)`` in [0, 1]; lower is better."""
        return _area(self.deletion)

    @property
    def insertion_auc(self) -> Tensor:
        """Area under the insertion curve, ``(B,)`` in [0, 1]; higher is better."""
        return _area(self.insertion)


def deletion_insertion(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    target: Tensor | None = None,
    *,
    steps: int = 20,
    fill: Fill = "mean",
) -> Curves:
    """Delete and insert pixels in order of relevance (Petsiuk, Das and Saenko: RISE, BMVC 2018).

    Only the order of the maps, ``(B, 1, H, W)`` or ``(B, H, W)``, counts; ties are broken at random. The curves follow
    the probability of the target classes ``(B,)``, the predicted classes by default. Pixels are removed in ``steps``
    equal shares, and get the image's ``mean`` colour, or that of the image in a ``blur``.
    """
    maps = maps.squeeze(1) if maps.ndim == 4 else maps
    size = (len(images), *images.shape[-2:])
    if tuple(maps.shape) != size or not torch.isfinite(maps).all():
        raise UserError(f"expected finite relevance maps {size} like the images, got {tuple(maps.shape)}")
    if not 1 <= steps <= maps[0].numel():
        raise UserError(f"expected steps from 1 to the number of pixels, {maps[0].numel()}, got {steps}")
    with torch.no_grad():
        empty = make_filling(images, fill)
        ranks = _ranks(maps)[:, None]
        if target is None:
            target = logits_of(model(images)).argmax(dim=1)
        deletion, insertion = [], []
        for step in range(steps + 1):
            first = ranks < round(step / steps * maps[0].numel())
            deletion.append(_probability(model, torch.where(first, empty, images), target))
            insertion.append(_probability(model, torch.where(first, images, empty), target))
    return Curves(torch.stack(deletion, dim=1), torch.stack(insertion, dim=1))


def make_filling(images: Tensor, fill: Fill) -> Tensor:
    """Return empty images ``(B, 3, H, W)``: each image's mean colour, or a blur of a tenth of its size."""
    expect_one_of("fill", fill, get_args(Fill))
    if fill == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    deviation = max(images.shape[-2:]) / 10
    return blur_images(images, deviation, deviation)


def blur_images(images: Tensor, down: float, across: float) -> Tensor:
    """Return images ``(B, C, H, W)`` blurred by a Gaussian of ``down`` and ``across`` pixels' standard deviation."""
    # The border is reflected, so the kernel must not reach further than that.
    sides = zip((across, down), reversed(images.shape[-2:]), strict=True)
    kernel = [min(2 * int(2 * deviation) + 1, 2 * side - 1) for deviation, side in sides]
    return gaussian_blur(images, kernel, [across, down])


def _ranks(maps: Tensor) -> Tensor:
    """``(B, H, W)``: 0 for the most relevant pixel. Ties are random, or the top rows would come first."""
    shuffled = torch.randperm(maps[0].numel(), generator=torch.Generator().manual_seed(0)).to(maps.device)
    order = shuffled[maps.flatten(1)[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(order.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(maps)


def _probability(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    return logits_of(model(images)).float().softmax(dim=1).gather(1, target[:, None])[:, 0]


def _area(curve: Tensor) -> Tensor:
    return torch.trapezoid(curve, dim=1) / (curve.shape[1] - 1)
