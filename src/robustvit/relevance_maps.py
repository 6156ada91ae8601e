"""Relevance maps: which part of the image a vision transformer's logit comes from, differentiable and batched."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustvit.attention import RecordedForward, recorded_forward
from robustvit.errors import UserError

__all__ = ["METHODS", "gae", "image_map", "relevance", "relevance_of"]

Method = Callable[[RecordedForward, Tensor, bool], Tensor]


def gae(forward: RecordedForward, target: Tensor, second_order: bool = False) -> Tensor:
    """Class-token row of generic attention explainability (Chefer et al. 2021; equations 6 and 7 of RobustViT).

    Each block's map is ``mean over heads of max(0, dA * A)`` with ``dA`` the gradient of the target's logit. Only the
    class token's row of the product of ``I + map`` over all blocks is needed, so a row vector is carried from the last
    block to the first, in O(N^2) a block, instead of N x N matrices from the first to the last.

    Args:
        forward: a recorded forward pass.
        target: ``(B,)`` class indices.
        second_order: let gradients flow through ``dA`` too; the published method holds it constant.

    Returns:
        ``(B, rows, columns)`` on the patch grid, non-negative.
    """
    explained = forward.logits.gather(1, target[:, None]).sum()
    gradients = torch.autograd.grad(explained, forward.attentions, create_graph=second_order, retain_graph=True)
    first = forward.attentions[0]
    row = torch.zeros(first.shape[0], 1, first.shape[-1], dtype=torch.float32, device=first.device).to(
        torch.promote_types(first.dtype, torch.float32)
    )
    row[:, :, 0] = 1
    for attention, gradient in zip(reversed(forward.attentions), reversed(gradients), strict=True):
        block = (gradient * attention).clamp(min=0).mean(dim=1)
        row = row + row @ block.to(row.dtype)
    return row[:, 0, forward.prefix_tokens :].unflatten(1, forward.grid)


METHODS: dict[str, Method] = {"gae": gae}


def image_map(grid_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample a patch map bilinearly and stretch each image's values to [0, 1]; a constant map becomes zeros.

    Args:
        grid_map: ``(B, rows, columns)``.
        size: height and width of the images in pixels.

    Returns:
        ``(B, 1, height, width)`` in [0, 1].
    """
    full = F.interpolate(grid_map[:, None], size=size, mode="bilinear", align_corners=False)
    low, high = full.amin(dim=(2, 3), keepdim=True), full.amax(dim=(2, 3), keepdim=True)
    spread = high - low
    # Dividing by a spread that is only rounding error, or next to nothing, would blow up the map and its gradient.
    precision = torch.finfo(full.dtype)
    constant = spread <= (8 * precision.eps * high.abs()).clamp(min=precision.tiny / precision.eps)
    return torch.where(constant, torch.zeros_like(full), (full - low) / torch.where(constant, 1.0, spread))


def relevance_of(
    forward: RecordedForward, target: Tensor, *, method: str = "gae", second_order: bool = False
) -> Tensor:
    """Patch-grid relevance ``(B, rows, columns)`` of a forward pass that was recorded already.

    Raises:
        UserError: ``method`` is unknown.
    """
    if method not in METHODS:
        raise UserError(f"expected a relevance method out of {', '.join(METHODS)}, got {method!r}")
    return METHODS[method](forward, target, second_order)


def relevance(
    model: nn.Module,
    images: Tensor,
    target: Tensor | None = None,
    *,
    method: str = "gae",
    second_order: bool = False,
    upsample: bool = True,
) -> Tensor:
    """Explain a model's logits: a relevance map for each image, differentiable with respect to the weights.

    Args:
        model: a ``Classifier`` or a bare timm vision transformer.
        images: ``(B, 3, H, W)``, what ``model`` takes: values in [0, 1] for a ``Classifier``.
        target: ``(B,)`` classes to explain; the predicted ones when left out.
        method: ``gae``, the paper's rule (equations 6 and 7).
        second_order: let gradients flow through the attention's gradient too.
        upsample: give maps in image size; otherwise the raw class-token row on the patch grid.

    Returns:
        ``(B, 1, H, W)`` in [0, 1], or ``(B, 1, rows, columns)``, non-negative, when ``upsample`` is off. Detached when
        gradients are switched off outside.

    Raises:
        UserError: unknown method, or a model that the rule does not hold for.
    """
    differentiable = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        images = images.clone() if images.is_inference() else images
        forward = recorded_forward(model, images)
        target = forward.logits.argmax(dim=1) if target is None else target.to(forward.logits.device)
        grid_map = relevance_of(forward, target, method=method, second_order=second_order and differentiable)
        maps = image_map(grid_map, (images.shape[-2], images.shape[-1])) if upsample else grid_map[:, None]
    return maps if differentiable else maps.detach()
