"""The classifier: a network with the preprocessing that it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Normalization

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def made_by(network: nn.Module, library: str) -> bool:
    """Whether a network's class or a base of it belongs to a library; the library is not imported."""
    return any(kind.__module__.split(".")[0] == library for kind in type(network).__mro__)


def logits_of(output: object) -> Tensor:
    """Return the logits ``(B, C)`` in a network's output: a tensor, an object with ``logits``, or the logits of the two
    heads of a distilled model, which are averaged.
    """
    logits = getattr(output, "logits", output)
    if isinstance(logits, (tuple, list)) and len(logits) == 2 and all(isinstance(x, Tensor) for x in logits):
        logits = (logits[0] + logits[1]) / 2
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
        raise UserError(f"expected a classifier that returns logits (B, C), got {got}")
    return logits


@dataclass(frozen=True)
class Preprocessing:
    """How a photo is turned into the model's input.

    Attributes:
        input_size: height and width in pixels.
        mean: subtracted from each channel in [0, 1].
        std: divides each channel.
        crop_share: side of the centre crop over the side of the resized photo.
        interpolation: ``bilinear`` or ``bicubic``.
        squash: resize both sides whatever the photo's shape, instead of the shorter side alone.
    """

    input_size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    crop_share: float = 0.875
    interpolation: str = "bicubic"
    squash: bool = False

    def __post_init__(self) -> None:
        numbers = [*self.mean, *self.std, self.crop_share]
        usable = len(self.mean) == len(self.std) == 3 and all(map(math.isfinite, numbers)) and min(self.std) > 0
        if not usable or self.crop_share <= 0 or min(self.input_size) < 1:
            raise UserError(
                "expected preprocessing with sides of 1 pixel or more, three means, three deviations above 0 and a "
                f"crop above 0, got {self.input_size}, {self.mean}, {self.std} and {self.crop_share}: fix the "
                "model's settings"
            )

    @classmethod
    def of(cls, network: nn.Module, normalization: Normalization = "model") -> Preprocessing:
        """Return the preprocessing that a network records, or the paper's; see ``normalized``."""
        inner = getattr(network, "timm_model", None)  # transformers' wrapper of timm
        if made_by(network, "transformers") and isinstance(inner, nn.Module):
            own = cls._as_timm_says(inner)
        elif made_by(network, "transformers"):
            config: Any = getattr(network.config, "vision_config", network.config)
            imagenet = str(config.model_type).startswith(("deit", "dinov2", "swin", "convnext", "resnet"))
            statistics = _IMAGENET if imagenet else _HALF
            own = cls(_pair(getattr(config, "image_size", 224)), *statistics, crop_share=1.0, squash=True)
        elif made_by(network, "torchvision"):
            own = cls(_pair(getattr(network, "image_size", 224)), *_IMAGENET, interpolation="bilinear")
        else:
            own = cls._as_timm_says(network)
        return own.normalized(normalization)

    @classmethod
    def _as_timm_says(cls, network: nn.Module) -> Preprocessing:
        config = resolve_model_data_config(network)
        # A model built for another size than its published weights records that only in its patch embedding.
        built_for = getattr(getattr(network, "patch_embed", None), "img_size", None)
        return cls.from_timm(config | {"input_size": built_for or config["input_size"]})

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Convert the settings that timm's ``resolve_model_data_config`` returns."""
        height, width = config["input_size"][-2:]
        return cls(
            (height, width),
            tuple(config["mean"]),
            tuple(config["std"]),
            config["crop_pct"],
            config["interpolation"],
            config.get("crop_mode") == "squash",
        )

    def normalized(self, normalization: Normalization) -> Preprocessing:
        """Return these settings for ``model``; for ``paper`` mean and std 0.5, and photos resized to 256 bilinearly and
        cropped to 224.
        """
        if normalization == "paper":
            return Preprocessing(input_size=self.input_size, interpolation="bilinear")
        expect_one_of("normalization", normalization, get_args(Normalization))
        return self

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width before the crop; if the aspect ratio is kept, the shorter side has this size."""
        height, width = (round(side / self.crop_share) for side in self.input_size)
        return height, width

    @property
    def resizes_both_sides(self) -> bool:
        """Whether height and width are resized independently."""
        return self.squash or self.input_size[0] != self.input_size[1]

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Preprocessing:
        """Convert settings from ``dataclasses.asdict`` or JSON."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**plain)

    def as_timm(self) -> dict[str, Any]:
        """Return the settings under timm's names."""
        settings = asdict(self)
        settings["input_size"] = (3, *self.input_size)
        settings["crop_pct"] = settings.pop("crop_share")
        settings["crop_mode"] = "squash" if settings.pop("squash") else "center"
        return settings


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def classes_of(network: nn.Module) -> int:
    """Return the number of logits: the network's attribute, or the size of its last linear layer."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if made_by(network, "torchvision") and linear:
        return linear[-1].out_features  # its ``num_classes`` is outdated if the head was replaced
    said = getattr(network, "num_classes", None)
    if said is None:
        said = getattr(getattr(network, "config", None), "num_labels", None)
    if said is None and not linear:
        raise UserError(f"cannot tell how many classes {type(network).__name__} has: set its attribute num_classes")
    return int(linear[-1].out_features if said is None else said)  # type: ignore[arg-type]


class Classifier(nn.Module):
    """An image classifier that takes images in [0, 1] and normalises them itself.

    Args:
        network: maps normalised ``(B, 3, H, W)`` to logits ``(B, C)``, or to an object that holds them.
        preprocessing: how photos become inputs; read from the network when left out.
        class_names: one name per logit, if known.
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
        self.class_names = tuple(map(str, class_names))
        self.source = source
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocessing.std)[:, None, None], persistent=False)

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return classes_of(self.network)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, C)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        return logits_of(self.network((images - self.mean) / self.std))

    def name_of(self, label: int) -> str:
        """Return the readable name of a class."""
        return self.class_names[label] if self.class_names else f"class {label}"
