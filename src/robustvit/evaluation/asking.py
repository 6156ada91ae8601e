"""Ask a model about images: for logits, relevance or features. A subclass can remember the answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustvit.common.options import Feature
from robustvit.explanation.attention.interception import gradients_for_maps
from robustvit.explanation.features import patch_features
from robustvit.explanation.methods import get_method


class Asking:
    """Ask a model; each question is one forward pass, and one backward pass for a map."""

    @torch.no_grad()
    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return the logits ``(B, C)`` of images ``(B, 3, H, W)``."""
        logits: Tensor = model(images)
        return logits

    def explain(self, model: nn.Module, images: Tensor, method: str) -> tuple[Tensor, Tensor]:
        """Return the logits, and the relevance of the predicted classes on the method's grid, ``(B, rows, columns)``.

        The relevance is not negative; ``image_map`` turns it into a map of the image's size.
        """
        with gradients_for_maps(False):
            trace = get_method(method)(model, images)
            return trace.logits.detach(), trace.explain(trace.logits.argmax(dim=1), False).detach()

    def features(self, model: nn.Module, images: Tensor, feature: Feature = "keys", block: int | None = None) -> Tensor:
        """Return the features of every patch, ``(B, rows, columns, C)``; see ``patch_features``."""
        return patch_features(model, images, feature=feature, block=block)
