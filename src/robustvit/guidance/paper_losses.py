"""The terms of the paper's losses (equations 1 to 4 and 8 to 10): functions of maps, gradients, masks and logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from robustvit.common.errors import UserError


def masks_like(images: Tensor, masks: Tensor) -> Tensor:
    """Return masks as ``(B, 1, H, W)``, in the type of images, gradients or maps ``(B, C, H, W)``."""
    if masks.ndim == images.ndim - 1:
        masks = masks.unsqueeze(1)
    expected = (images.shape[0], 1, *images.shape[2:])
    if masks.shape != expected:
        raise UserError(f"expected masks of shape {tuple(expected)}, got {tuple(masks.shape)}")
    return masks.to(images.dtype)


def expect_shares(masks: Tensor) -> None:
    """Refuse masks with values outside [0, 1], such as those of a PNG that was not divided by 255."""
    low, high = (float(value) for value in masks.detach().float().aminmax()) if masks.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        fix = "divide them by 255" if low >= 0 and 1 < high <= 255 else "scale them"
        raise UserError(f"expected masks from 0 to 1, 1 on the object, got values from {low:g} to {high:g}: {fix}")


def background_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Relevance outside the object, ``mean((R * (1 - S))^2)`` (equation 1).

    With the true class's input gradients ``(B, 3, H, W)`` in the place of the map it is equation 9 (GradMask).

    Args:
        maps: ``(B, 1, H, W)`` in [0, 1].
        masks: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], 1 on the object; soft values count in part.
    """
    return (maps * (1 - masks_like(maps, masks))).square().mean()


def foreground_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Relevance missing on the object, ``mean((R * S - S)^2)`` (equation 2); arguments as in ``background_loss``."""
    masks = masks_like(maps, masks)
    return (maps * masks - masks).square().mean()


def relevance_loss(maps: Tensor, masks: Tensor, *, background: float = 2.0, foreground: float = 0.3) -> Tensor:
    """How far relevance maps are from lying on the object (equation 3).

    Args:
        maps: ``(B, 1, H, W)`` in [0, 1], as ``relevance`` returns them.
        masks: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], binary or soft, 1 on the object.
        background: weight of equation 1.
        foreground: weight of equation 2.

    Returns:
        A scalar, differentiable in ``maps``.

    Raises:
        UserError: shapes that differ, or masks with values outside [0, 1].
    """
    expect_shares(masks)
    return background * background_loss(maps, masks) + foreground * foreground_loss(maps, masks)


def confidence_loss(logits: Tensor, temperature: float = 1.0, *, several: bool = False) -> Tensor:
    """Confidence boosting: cross-entropy with the model's own prediction (equation 4).

    ``temperature`` divides the logits ``(B, C)``; it is below 1 for models trained with label smoothing (DeiT). The
    prediction of a multi-label model (``several``) is all classes with a logit above 0.
    """
    predicted = (logits > 0).to(logits.dtype) if several else logits.argmax(dim=1)
    return label_loss(logits, predicted, temperature)


def label_loss(logits: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with the true label, the ground-truth variant of equation 4.

    Args:
        logits: ``(B, C)``.
        target: labels ``(B,)``; or, of photos with several, ``(B, C)`` in [0, 1], 1 for the classes in the photo. Then
            it is the binary cross-entropy, summed over classes: the negative log-likelihood of all answers to a photo,
            as the cross-entropy is of its only answer.
        temperature: divides the logits.
    """
    if target.ndim == 2:
        return label_losses(logits, target, temperature).mean()
    return F.cross_entropy(logits / temperature, target)


def label_losses(logits: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with the true label of each image, ``(B,)``; ``label_loss`` is its mean."""
    if target.ndim == 2:
        each = F.binary_cross_entropy_with_logits(logits / temperature, target.to(logits.dtype), reduction="none")
        return each.sum(dim=1)
    return F.cross_entropy(logits / temperature, target, reduction="none")


def right_reasons_loss(gradients: Tensor, masks: Tensor) -> Tensor:
    """Input gradients outside the object, ``sum(((1 - S) * G)^2)`` over channels and pixels, mean over images
    (equation 10); of the sum of all classes' log-probabilities, ``(B, 3, H, W)``.
    """
    return (gradients * (1 - masks_like(gradients, masks))).square().sum(dim=(1, 2, 3)).mean()
