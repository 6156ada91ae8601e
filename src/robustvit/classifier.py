"""The classifier: a network together with the preprocessing that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from robustvit.errors import UserError
from robustvit.options import Normalization

__all__ = ["Classifier", "Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the model's input.

    Attributes:
        input_size: height and width in pixels.
        mean: subtracted from each channel in [0, 1].
        std: divides each channel.
        crop_share: side of the centre crop over the side of the resized photo.
        interpolation: ``bilinear`` or ``bicubic``.
    """

    input_size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    crop_share: float = 0.875
    interpolation: str = "bicubic"

    @classmethod
    def of(cls, network: nn.Module, normalization: Normalization = "model") -> Preprocessing:
        """The network's own preprocessing as timm records it, or the paper's: mean and std 0.5 for every model,
        photos resized to 256 bilinearly and cropped to 224."""
        config = resolve_model_data_config(network)
        # A model made for another size than its published weights says so only in its patch embedding.
        built_for = getattr(getattr(network, "patch_embed", None), "img_size", None)
        height, width = built_for or config["input_size"][-2:]
        if normalization == "paper":
            return cls(input_size=(height, width), interpolation="bilinear")
        if normalization != "model":
            raise UserError(f"expected normalization to be model or paper, got {normalization!r}")
        return cls(
            (height, width), tuple(config["mean"]), tuple(config["std"]), config["crop_pct"], config["interpolation"]
        )

    def as_timm(self) -> dict[str, Any]:
        """The same settings under timm's names."""
        settings = asdict(self)
        settings["input_size"] = (3, *self.input_size)
        settings["crop_pct"] = settings.pop("crop_share")
        return settings


class Classifier(nn.Module):
    """An image classifier that takes plain images in [0, 1] and normalises them itself.

    Args:
        network: maps normalised ``(B, 3, H, W)`` to logits ``(B, C)``.
        preprocessing: how photos become inputs; read from the network when left out.
        class_names: one name per logit, where known.
        source: where it was loaded from.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] = (),
        source: str = "",
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing or Preprocessing.of(network)
        self.class_names = tuple(class_names)
        self.source = source
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocessing.std)[:, None, None], persistent=False)

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return int(self.network.num_classes)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, C)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        return self.network((images - self.mean) / self.std)

    def name_of(self, label: int) -> str:
        """Readable name of a class."""
        return self.class_names[label] if self.class_names else f"class {label}"
