"""Recording of attention: the one seam between a model's own code and everything that needs its attention maps.

Shape legend: B images, H heads, N tokens (prefix tokens, then patches row by row), D channels of a head, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustvit.errors import UserError

__all__ = ["RecordedForward", "find_transformer", "record_attention", "recorded_forward"]


@dataclass(frozen=True)
class RecordedForward:
    """One forward pass of a vision transformer with the attention of every block.

    Attributes:
        logits: ``(B, C)``.
        attentions: one ``(B, H, N, N)`` tensor per block, first block first, after the softmax; each lies upstream
            of ``logits`` in the autograd graph.
        prefix_tokens: tokens before the patches (class token, registers); row 0 is the class token.
        grid: rows and columns of the patch grid.
    """

    logits: Tensor
    attentions: tuple[Tensor, ...]
    prefix_tokens: int
    grid: tuple[int, int]


class _ExplicitAttention(TorchFunctionMode):
    """Computes every ``scaled_dot_product_attention`` call in the open and keeps its attention map."""

    def __init__(self, attentions: list[Tensor]) -> None:
        super().__init__()
        self.attentions = attentions

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,  # ignored: a map with holes is not the map of the model that will be used
        is_causal: bool = False,
        scale: float | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if is_causal or kwargs.get("enable_gqa"):
            raise UserError("expected plain bidirectional self-attention, got causal or grouped-query attention")
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        scores = (query * scale) @ key.transpose(-2, -1)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if hidden else scores + attn_mask
        attention = scores.softmax(dim=-1)
        if torch.is_grad_enabled() and not attention.requires_grad:
            attention.requires_grad_()  # a frozen model: gradients must still reach the maps
        self.attentions.append(attention)
        return attention @ value


def find_transformer(model: nn.Module) -> VisionTransformer:
    """Return the timm vision transformer inside ``model``.

    Raises:
        UserError: the model holds none, or one whose class-token row does not tell the relevance of the patches.
    """
    found = next((module for module in model.modules() if isinstance(module, VisionTransformer)), None)
    name = type(getattr(model, "network", model) if found is None else found).__name__
    works = "use a timm ViT, AugReg or DeiT model with a class token"
    if found is None:
        raise UserError(f"expected a timm vision transformer, got {name}: {works}")
    if type(found) is not VisionTransformer:
        raise UserError(f"{name} is not supported yet: {works}")
    if found.cls_token is None or found.global_pool != "token" or found.attn_pool is not None:
        raise UserError(f"{name} pools its patches (global_pool={found.global_pool!r}), no class token: {works}")
    if not all(hasattr(getattr(block, "attn", None), "fused_attn") for block in found.blocks):
        raise UserError(f"{name} has blocks without plain self-attention (parallel or differential): {works}")
    if found.num_classes <= 0:
        raise UserError(f"{name} has no classification head, so no logit to explain: set num_classes")
    return found


@contextmanager
def _overridden(overrides: list[tuple[object, str, Any]]) -> Iterator[None]:
    """Set attributes for the length of a block; put the old values back in reverse order, also after an error."""
    old = [(owner, name, getattr(owner, name)) for owner, name, _ in overrides]
    try:
        for owner, name, value in overrides:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(old):
            setattr(owner, name, value)


@contextmanager
def record_attention(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the attention maps of every forward pass inside the ``with`` block.

    Inside it attention dropout and patch dropout are off, gradient checkpointing is off (a block that runs twice would
    be recorded twice) and timm's attention takes its fused path, which is the call that is intercepted. Everything is
    put back at the end, also after an error.

    Yields:
        A list that fills with one ``(B, H, N, N)`` tensor per attention call.
    """
    transformer = find_transformer(model)
    overrides: list[tuple[object, str, Any]] = [(transformer, "grad_checkpointing", False)]
    overrides += [(block.attn, "fused_attn", True) for block in transformer.blocks]
    if isinstance(transformer.patch_drop, nn.Module):
        overrides.append((transformer.patch_drop, "training", False))
    attentions: list[Tensor] = []
    with _overridden(overrides), _ExplicitAttention(attentions):
        yield attentions


def recorded_forward(model: nn.Module, images: Tensor) -> RecordedForward:
    """Run ``model`` once and keep the attention of every block.

    Args:
        model: a ``Classifier``, a bare timm vision transformer, or a module that holds one.
        images: ``(B, 3, H, W)``, what ``model`` takes.

    Raises:
        UserError: the model is of a family whose class-token row does not tell the relevance of the patches.
    """
    transformer = find_transformer(model)
    with record_attention(model) as attentions:
        logits = model(images)
    height, width = images.shape[-2:]
    patch_height, patch_width = transformer.patch_embed.patch_size
    grid = (math.ceil(height / patch_height), math.ceil(width / patch_width))
    prefix = transformer.num_prefix_tokens
    tokens = prefix + grid[0] * grid[1]
    if len(attentions) != len(transformer.blocks) or any(a.shape[-2:] != (tokens, tokens) for a in attentions):
        shapes = sorted({tuple(a.shape[-2:]) for a in attentions})
        raise UserError(
            f"expected {len(transformer.blocks)} attention maps of {tokens} x {tokens} tokens, got {len(attentions)} "
            f"of {shapes}: this model's tokens are not one class token and a patch grid"
        )
    return RecordedForward(logits, tuple(attentions), prefix, grid)
