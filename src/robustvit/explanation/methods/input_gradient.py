"""The gradient of a logit with respect to the image, for any classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from robustvit.explanation.attention.recorded import explicit_attention
from robustvit.explanation.methods.trace import Trace, sum_target_logits
from robustvit.models.classifier import logits_of


def forward_from_pixels(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run a classifier so that its logits can be differentiated twice in the pixels.

    Returns the logits ``(B, C)`` and the images that they come from, which require a gradient, unlike the caller's.
    """
    entered = images if images.requires_grad else images.detach().requires_grad_()
    # Fused attention cannot be differentiated twice, neither in blocks nor in a pooling head of its own.
    with explicit_attention(model, twice=True), sdpa_kernel(SDPBackend.MATH):
        return logits_of(model(entered)), entered


def input_gradient(model: nn.Module, images: Tensor, second_order: bool = False) -> Trace:
    """Image-specific saliency (Simonyan, Vedaldi and Zisserman, 2013, arXiv 1312.6034).

    The sum over the colour channels of ``|d logit / d pixel|``, at pixel resolution ``(B, H, W)``; for any image
    classifier. The weights are reached only through the gradient of that gradient, so a differentiable map is always of
    second order and ``second_order`` has no effect. The caller's images are not changed.
    """
    logits, entered = forward_from_pixels(model, images)

    def explain(target: Tensor, differentiable: bool) -> Tensor:
        (gradient,) = torch.autograd.grad(
            sum_target_logits(model, logits, target), entered, create_graph=differentiable
        )
        return gradient.abs().sum(dim=1)

    return Trace(logits, explain)
