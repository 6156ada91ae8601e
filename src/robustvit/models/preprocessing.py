"""How photos become a model's input: read from the model, or as the user says."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from timm.data import resolve_model_data_config
from timm.layers import to_2tuple
from torch import nn

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Normalization
from robustvit.models.kinds import channels_of, find_inside, is_timm, is_torchvision, is_transformers

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# transformers' families whose published weights were not trained with mean and std 0.5, by the start of their type.
_STATISTICS = {"clip": _CLIP} | dict.fromkeys(("deit", "dinov", "vit_msn", "swin", "convnext", "resnet"), _IMAGENET)
LARGEST_SIDE = 4096
logging.getLogger("timm.data.model_config").setLevel(logging.ERROR)  # models of other channels are refused in our words


@dataclass(frozen=True)
class Preprocessing:
    """How a photo is turned into the model's input.

    Attributes:
        input_size: height and width in pixels.
        mean: subtracted from each channel in [0, 1]; one number for a network that takes grey images.
        std: divides each channel.
        crop_share: side of the centre crop over the side of the resized photo.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.
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
        usable = len(self.mean) == len(self.std) in (1, 3) and all(map(math.isfinite, numbers)) and min(self.std) > 0
        if not usable or self.crop_share <= 0 or min(self.input_size) < 1:
            raise UserError(
                "expected preprocessing with sides of 1 pixel or more, three means (one for grey images), as many "
                f"deviations above 0 and a crop above 0, got {self.input_size}, {self.mean}, {self.std} and "
                f"{self.crop_share}: fix the model's settings"
            )
        if max(*self.input_size, *self.resized) > LARGEST_SIDE:
            raise UserError(
                f"expected preprocessing with sides of at most {LARGEST_SIDE} pixels, got inputs of "
                f"{self.input_size} cut from photos of {self.resized}: fix the model's settings"
            )

    @classmethod
    def of(cls, network: nn.Module) -> Preprocessing:
        """Return the preprocessing that a network, or the network inside it, records."""
        own = cls.recorded(network)
        if own is None:
            raise UserError(
                f"nothing says how photos are prepared for {type(network).__name__}: give --mean, --std and "
                "--input-size (in Python: preprocessing={'mean': ..., 'std': ..., 'input_size': ...})"
            )
        return own

    @classmethod
    def recorded(cls, network: nn.Module) -> Preprocessing | None:
        """Return the preprocessing that a network, or the network inside it, records, or None."""
        if getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None):
            return cls._as_timm_says(network).with_channels(channels_of(network))
        found = {cls._of_library(inside).with_channels(channels_of(inside)) for inside in find_inside(network)}
        return found.pop() if len(found) == 1 else None

    @classmethod
    def _of_library(cls, network: Any) -> Preprocessing:
        inner = getattr(network, "timm_model", None)  # transformers' wrapper of timm
        if is_transformers(network) and not isinstance(inner, nn.Module):
            return cls._of_family(network.config)
        if is_torchvision(network):
            return cls(to_2tuple(getattr(network, "image_size", 224)), *_IMAGENET, interpolation="bilinear")
        if is_timm(network) or isinstance(inner, nn.Module):
            return cls._as_timm_says(inner if isinstance(inner, nn.Module) else network)
        return cls.from_open_clip(network.preprocess_cfg)

    @classmethod
    def _of_family(cls, config: Any) -> Preprocessing:
        """Return the preprocessing that the published weights of a family of transformers were trained with."""
        config = getattr(config, "vision_config", config)
        kind = str(config.model_type)
        statistics = next((known for start, known in _STATISTICS.items() if kind.startswith(start)), _HALF)
        squash = not kind.startswith("clip")
        return cls(to_2tuple(getattr(config, "image_size", 224)), *statistics, crop_share=1.0, squash=squash)

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

    @classmethod
    def from_open_clip(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Convert the settings that open_clip keeps with an image tower."""
        return cls(
            to_2tuple(config["size"]),
            tuple(config["mean"]),
            tuple(config["std"]),
            1.0,
            config.get("interpolation", "bicubic"),
            config.get("resize_mode") == "squash",
        )

    def normalized(self, normalization: Normalization) -> Preprocessing:
        """Return these settings for ``model``; for ``paper`` mean and std 0.5, bilinear resizing, and a crop to 7/8."""
        if normalization == "paper":
            paper = Preprocessing(input_size=self.input_size, interpolation="bilinear")
            return paper.with_channels(self.channels)
        expect_one_of("normalization", normalization, get_args(Normalization))
        return self

    @property
    def channels(self) -> int:
        """Channels that the network takes: 3, or 1 for grey images."""
        return len(self.mean)

    def with_channels(self, channels: int) -> Preprocessing:
        """Return these settings for a network of one or three channels; for one, means over channels as in timm."""
        if channels == self.channels or channels not in (1, 3):
            return self
        if channels == 3:
            return replace(self, mean=self.mean * 3, std=self.std * 3)
        return replace(self, mean=(sum(self.mean) / 3,), std=(sum(self.std) / 3,))

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width before the crop; if the aspect ratio is kept, the shorter side has this size."""
        height, width = (round(side / self.crop_share) for side in self.input_size)
        return height, width

    @property
    def resizes_both_sides(self) -> bool:
        """Whether height and width are resized independently."""
        return self.squash or self.input_size[0] != self.input_size[1]

    def __str__(self) -> str:
        height, width = self.input_size
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        how = "both sides resized" if self.resizes_both_sides else f"crop {self.crop_share:.3g}"
        return f"{height} x {width} px, {how}, {self.interpolation}, mean {mean}, std {std}"

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Preprocessing:
        """Convert settings from ``dataclasses.asdict`` or JSON."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return cls(**plain)

    def as_timm(self) -> dict[str, Any]:
        """Return the settings under timm's names."""
        settings = asdict(self)
        settings["input_size"] = (self.channels, *self.input_size)
        settings["crop_pct"] = settings.pop("crop_share")
        settings["crop_mode"] = "squash" if settings.pop("squash") else "center"
        return settings
