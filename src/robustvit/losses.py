"""The terms of the paper's loss (equations 1 to 4), each a plain function of maps, masks and logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from robustvit.errors import UserError

__all__ = ["background_loss", "confidence_loss", "foreground_loss", "label_loss", "relevance_loss"]


def _checked(maps: Tensor, masks: Tensor) -> Tensor:
    if masks.ndim == maps.ndim - 1:
        masks = masks.unsqueeze(1)
    if maps.shape != masks.shape:
        raise UserError(f"expected masks of the maps' shape {tuple(maps.shape)}, got {tuple(masks.shape)}")
    return masks.to(maps.dtype)


def background_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Relevance outside the object, ``mean((R * (1 - S))^2)`` (equation 1).

    Args:
        maps: ``(B, 1, H, W)`` in [0, 1].
        masks: ``(B, 1, H, W)`` or ``(B, H, W)`` in [0, 1], 1 on the object; soft values count in part.
    """
    return (maps * (1 - _checked(maps, masks))).square().mean()


def foreground_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Relevance missing on the object, ``mean((R * S - S)^2)`` (equation 2); arguments as in ``background_loss``."""
    masks = _checked(maps, masks)
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
        UserError: shapes that differ.
    """
    return background * background_loss(maps, masks) + foreground * foreground_loss(maps, masks)


def confidence_loss(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Confidence boosting: cross-entropy with the model's own prediction (equation 4).

    Args:
        logits: ``(B, C)``.
        temperature: divides the logits; below 1 for models trained with label smoothing (DeiT).
    """
    return label_loss(logits, logits.argmax(dim=1), temperature)


def label_loss(logits: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with the true label, the ground-truth variant of equation 4; ``target`` is ``(B,)``."""
    return F.cross_entropy(logits / temperature, target)
