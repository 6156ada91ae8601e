"""The classifier: a network with the preprocessing that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from robustvit.common.option_groups import PixelOptions
from robustvit.models.adapters import KeptAdapter
from robustvit.models.families import Readout
from robustvit.models.heads import classes_of
from robustvit.models.kinds import channels_of, find_inside
from robustvit.models.outputs import OutputKind, as_logits, has_two_heads, logits_of
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.unwrap import unwrap

__all__ = ["Classifier", "Preprocessing", "logits_of"]


_GREY = (0.299, 0.587, 0.114)


class Classifier(nn.Module):
    """An image classifier that takes images in [0, 1] and normalises them itself.

    For a network of one channel the images become grey first: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in Pillow.

    Args:
        network: maps normalised ``(B, 3, H, W)`` to logits ``(B, C)``, or to an object that holds them; see ``unwrap``.
        preprocessing: how photos become inputs; read from the network when left out.
        class_names: one name per logit, if known.
        source: where it was loaded from.
        kind: what the network returns.

    Attributes:
        pixels: how the photos that it was finetuned on were read, where there were several ways.
    """

    mean: Tensor
    std: Tensor
    # Measured when a module is loaded: its number of logits, and the tokens that a head of its own reads.
    classes: int | None = None
    pixels = PixelOptions()
    readout: Readout | Literal["unclear"] | None = None
    adapter: KeptAdapter | None = None  # one that is trained as it is, if any

    def __init__(
        self,
        network: nn.Module,
        *,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] = (),
        source: str = "",
        kind: OutputKind = "logits",
    ) -> None:
        super().__init__()
        self.network = network = unwrap(network)
        self.preprocessing = preprocessing or Preprocessing.of(network)
        if list(find_inside(network)) == [network]:
            self.preprocessing = self.preprocessing.with_channels(channels_of(network))
        self.class_names = tuple(map(str, class_names))
        self.source, self.kind = source, kind
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocessing.std)[:, None, None], persistent=False)

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return classes_of(self.network) if self.classes is None else self.classes

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        if self.preprocessing.channels == 1 and images.shape[1] == 3:
            images = (images * images.new_tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)
        outputs = self.network((images - self.mean) / self.std)
        return as_logits(logits_of(outputs, distilled=has_two_heads(self.network)), self.kind)

    def __str__(self) -> str:
        return self.source or type(self.network).__name__

    def name_of(self, label: int) -> str:
        """Return the readable name of a class."""
        return self.class_names[label] if self.class_names else f"class {label}"
