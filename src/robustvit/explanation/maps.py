"""Relevance maps, batched and differentiable: which part of an image a classifier's logit comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.Image import Image
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.explanation.attention.interception import gradients_for_maps, leave_inference
from robustvit.explanation.methods import get_method
from robustvit.explanation.methods.trace import classes_to_explain

Images = str | Path | Image | np.ndarray | Sequence[Any]  # what people have; see ``given_images``


def image_map(grid_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample a patch map ``(B, rows, columns)`` bilinearly to ``size``, and stretch each image's values to [0, 1].

    A constant map becomes zeros. Returns ``(B, 1, height, width)``.
    """
    full = F.interpolate(grid_map[:, None], size=size, mode="bilinear", align_corners=False)
    low, high = full.amin(dim=(2, 3), keepdim=True), full.amax(dim=(2, 3), keepdim=True)
    spread = high - low
    # Dividing by a spread that is only rounding error, or tiny, would blow up the map and its gradient.
    precision = torch.finfo(full.dtype)
    constant = spread <= (8 * precision.eps * high.abs()).clamp(min=precision.tiny / precision.eps)
    return torch.where(constant, torch.zeros_like(full), (full - low) / torch.where(constant, 1.0, spread))


def relevance(
    model: nn.Module,
    images: Tensor | Images,
    target: Tensor | int | None = None,
    *,
    method: str = "gae",
    second_order: bool = False,
    upsample: bool = True,
) -> Tensor:
    """Explain a model's logits: a relevance map for each image, differentiable with respect to the weights.

    Args:
        model: a ``Classifier`` or a bare network; see each method for the networks it supports.
        images: ``(B, 3, H, W)``, or one image ``(3, H, W)``; what ``model`` takes: values in [0, 1] for a
            ``Classifier``. For a ``Classifier`` also a path, a folder, a PIL image, an array ``(H, W, 3)``, or a list
            of these, which its own transform prepares.
        target: ``(B,)`` classes to explain, or one class for all images; predicted classes by default.
        method: ``gae``, the paper's rule (equations 6 and 7), or another of
            ``robustvit.explanation.methods.RELEVANCE_METHODS``.
        second_order: let gradients flow through the attention's gradient too.
        upsample: return maps in image size, else the raw relevance on the method's grid.

    Returns:
        ``(B, 1, H, W)`` in [0, 1], or ``(B, 1, rows, columns)``, non-negative, when ``upsample`` is off; without the
        batch axis for one image. Detached when gradients are switched off outside.

    Raises:
        UserError: unknown method, a model that it does not support, or images or classes of another shape.
    """
    if not isinstance(images, Tensor):
        from robustvit.explanation.given_images import as_batch  # not where tensors are explained

        images = as_batch(model, images)
    if images.ndim == 3:
        return relevance(
            model, images[None], target, method=method, second_order=second_order, upsample=upsample
        ).squeeze(0)
    if images.ndim != 4:
        raise UserError(f"expected images (B, 3, H, W) or one image (3, H, W), got {tuple(images.shape)}")
    method_function = get_method(method)
    differentiable = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    with gradients_for_maps(differentiable):
        (entered,) = leave_inference(images)
        trace = method_function(model, entered, second_order and differentiable)
        grid_map = trace.explain(classes_to_explain(target, trace.logits), differentiable)
        maps = image_map(grid_map, (images.shape[-2], images.shape[-1])) if upsample else grid_map[:, None]
    return maps if differentiable else maps.detach()


def overlay_relevance(model: nn.Module, image: Tensor, shown: Tensor, target: int | None, method: str) -> np.ndarray:
    """Lay the relevance of an image ``(3, H, W)``, as the model takes it, over the same picture of another size."""
    from robustvit.common.pictures import overlay  # a second to import

    with torch.no_grad():
        maps = relevance(model, image[None], target, method=method)
    return overlay(shown, F.interpolate(maps, size=shown.shape[1:], mode="bilinear")[0])


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the relevance inside the mask, ``(B,)``; 0 for a map of zeros. Both are ``(B, 1, H, W)``."""
    total = maps.sum(dim=(1, 2, 3))
    return (maps * masks).sum(dim=(1, 2, 3)) / total.where(total > 0, 1.0)
