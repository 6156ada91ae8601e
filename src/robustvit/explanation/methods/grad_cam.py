"""Grad-CAM, for any image classifier: on the last block's tokens, or on the last feature map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.explanation.attention.interception import ready_for_interception
from robustvit.explanation.attention.recorded import explicit_attention
from robustvit.explanation.methods.trace import Trace, catch_tokens, check_tokens, require_gradient, sum_target_logits
from robustvit.models.classifier import logits_of
from robustvit.models.families import Layout, find_layout


def grad_cam(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """Grad-CAM (Selvaraju et al., ICCV 2017).

    ``relu(sum over channels of weight * feature)``, a channel's weight being the mean over positions of the logit's
    gradient. The features are the patch tokens that enter a vision transformer's last block, on the patch grid, or
    else the last feature map with more than one position that the model computes, on its own grid. First order holds
    the weights constant; second order differentiates them too.
    """
    entered = require_gradient(model, images)
    # Fused attention is faster, but cannot be differentiated twice.
    running = explicit_attention(model) if second_order else ready_for_interception(model)
    layout = _layout(model)
    with running:
        logits, features = (
            _last_feature_map(model, entered) if layout is None else _patch_tokens(model, entered, layout)
        )
    positions = partial(_positions, images=images, layout=layout, channels_last=_channels_last(model))

    def explain(target: Tensor, differentiable: bool) -> Tensor:
        gradient = torch.autograd.grad(
            sum_target_logits(model, logits, target),
            features,
            create_graph=second_order and differentiable,
            retain_graph=differentiable,
            allow_unused=True,
        )[0]
        if gradient is None:
            raise _unsupported(model, "its logits do not come from its last feature map")
        weights = positions(gradient).mean(dim=(1, 2), keepdim=True)
        return (weights * positions(features if differentiable else features.detach())).sum(dim=-1).clamp(min=0)

    return Trace(logits, explain)


def _positions(features: Tensor, images: Tensor, layout: Layout | None, channels_last: bool) -> Tensor:
    """``(B, rows, columns, C)``, in float32 at least, of a feature map or, given a layout, of tokens."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    if layout is not None:
        return layout.patch_map(features, images)
    return features if channels_last else features.permute(0, 2, 3, 1)


def _layout(model: nn.Module) -> Layout | None:
    try:
        return find_layout(model)
    except UserError:
        return None


def _unsupported(model: nn.Module, reason: str) -> UserError:
    name = type(getattr(model, "network", model)).__name__
    return UserError(f"{name} is not supported by grad_cam: {reason}; use relevance input_gradient")


def _channels_last(model: nn.Module) -> bool:
    """Whether feature maps are ``(B, H, W, C)``, as timm says of some networks."""
    networks = (m for m in model.modules() if hasattr(m, "output_fmt") and hasattr(m, "num_classes"))
    found = getattr(next(networks, None), "output_fmt", None)
    return str(getattr(found, "value", found)) == "NHWC"


def _patch_tokens(model: nn.Module, images: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    with catch_tokens(layout.blocks[-1]) as caught:
        logits = logits_of(model(images))
    return logits, check_tokens(caught, layout, images)


@dataclass
class _Seen:
    """The last feature map of a forward pass, and the shape of tokens that came after it."""

    images: torch.Size
    channels_last: bool
    feature_map: Tensor | None = None
    tokens_after: tuple[int, ...] = ()

    def see(self, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != self.images[0]:
            return
        if output.ndim == 4:
            rows, columns = output.shape[1:3] if self.channels_last else output.shape[2:]
            if rows * columns > 1 and self._in_proportion(rows, columns):
                self.feature_map, self.tokens_after = output, ()
        elif output.shape[1] > 1:
            self.tokens_after = tuple(output.shape)

    def _in_proportion(self, rows: int, columns: int) -> bool:
        """Whether a map has the images' proportions, up to what padding and rounding take: inside some blocks channels
        are where rows or columns are expected."""
        height, width = self.images[-2:]
        return abs(rows * width - columns * height) <= 2 * (height + width)


@contextmanager
def _watched(model: nn.Module, images: torch.Size) -> Iterator[_Seen]:
    """Record the outputs of all modules except inside attention, whose maps and heads have four axes too."""
    seen = _Seen(images, _channels_last(model))
    attention = [m for m in model.modules() if any(word in type(m).__name__ for word in ("Attention", "Attn"))]
    inside = {inner for outer in attention for inner in outer.modules()}
    with ExitStack() as hooks:
        for module in set(model.modules()) - inside:
            hooks.enter_context(module.register_forward_hook(lambda _, inputs, output: seen.see(output)))
        yield seen


def _last_feature_map(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    with _watched(model, images.shape) as seen:
        logits = logits_of(model(images))
    if seen.feature_map is None:
        raise _unsupported(model, "it computes no feature map (B, C, H, W)")
    if seen.tokens_after:
        raise _unsupported(model, f"its last features are tokens {seen.tokens_after}, whose positions are unknown")
    return logits, seen.feature_map
