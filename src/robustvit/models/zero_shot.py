"""Zero-shot classification: an image tower and fixed embeddings of the class names."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ZeroShot(nn.Module):
    """A classifier that returns how close an image is to the text of each class; only the image tower is trainable.

    Args:
        tower: maps normalised images ``(B, 3, H, W)`` to features ``(B, D)``.
        embeddings: of the texts of the classes, ``(C, D)``, each of length 1.
        scale: multiplies the cosines, as in the contrastive loss the tower was trained with.
        bias: added to the logits (SigLIP).
        architecture: name of the model that the tower belongs to.
        model_args: arguments to rebuild the tower.
    """

    embeddings: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(
        self,
        tower: nn.Module,
        embeddings: Tensor,
        scale: float | Tensor,
        bias: float | Tensor = 0.0,
        *,
        architecture: str = "",
        model_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.tower = tower
        trunk: Any = getattr(tower, "trunk", None)
        if getattr(trunk, "num_classes", None) == 0:
            trunk.num_classes = len(embeddings)  # a timm tower without a head: the texts are its head
        self.architecture, self.model_args = architecture, dict(model_args or {})
        for name, value in (("embeddings", embeddings), ("scale", scale), ("bias", bias)):
            fixed = torch.as_tensor(value, dtype=torch.float32).detach()
            self.register_buffer(name, fixed.clone(memory_format=torch.contiguous_format))

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.embeddings)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)`` of normalised images ``(B, 3, H, W)``."""
        features = self.tower(images)
        features = features[0] if isinstance(features, tuple) else features
        return self.scale * F.normalize(features, dim=-1) @ self.embeddings.T + self.bias
