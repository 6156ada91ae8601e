"""Image processors of transformers: their settings converted to preprocessing, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from robustvit.common.errors import UserError
from robustvit.models.preprocessing import Preprocessing

_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def convert_processor(found: dict[str, Any], default: Preprocessing) -> Preprocessing:
    """Convert the settings of an image processor; ``default`` replaces those that are missing."""
    if "data_config" in found:  # of a timm model, under timm's names
        return Preprocessing.from_timm(found["data_config"])
    size, crop = found.get("size") or {}, found.get("crop_size") or {}
    size = {"height": size, "width": size} if isinstance(size, int) else size
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    edge = size.get("shortest_edge")
    resized = (edge, edge) if edge else (size.get("height", 0), size.get("width", 0))
    squash = edge is None
    if found.get("do_resize", True) and size.keys() - {"shortest_edge", "height", "width"} and not all(resized):
        raise UserError(f"its image processor resizes to {size}, which is not supported")
    if not found.get("do_resize", True) or not all(resized):
        resized, squash = default.input_size, False
    target, share = resized, 1.0
    if found.get("do_center_crop") and crop:
        target = (crop["height"], crop["width"])
        share = target[0] / resized[0]
    elif edge and found.get("crop_pct") is not None:  # ConvNeXt: small inputs are cropped, large inputs squashed
        share, squash = (found["crop_pct"], False) if edge < 384 else (1.0, True)
    return Preprocessing(
        target, *_statistics(found, default), share, _RESAMPLING.get(found.get("resample", 3), "bicubic"), squash
    )


def _statistics(found: dict[str, Any], default: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std for images in [0, 1] of a processor, which may not scale pixels by 1 / 255."""
    for unusual in ("do_flip_channel_order", "do_grayscale"):
        if found.get(unusual) and not (unusual == "do_grayscale" and len(default.mean) == 1):
            raise UserError(f"its image processor sets {unusual}, which is not supported: photos are read as RGB")
    normalize = found.get("do_normalize", True)
    mean = _channels(found.get("image_mean"), default.mean) if normalize else (0.0,) * default.channels
    std = _channels(found.get("image_std"), default.std) if normalize else (1.0,) * default.channels
    factor = 255.0
    if found.get("do_rescale", True):
        given = found.get("rescale_factor", 1 / 255)
        factor = 255 * float(1 / 255 if given is None else given)
    if math.isclose(factor, 1.0, rel_tol=1e-4):
        factor = 1.0
    if not math.isfinite(factor) or factor <= 0:
        raise UserError(f"expected a rescale_factor above 0 in its image processor, got {factor / 255}")
    if found.get("do_rescale", True) and found.get("rescale_offset"):  # EfficientNet: pixels from -1
        mean = tuple(value + 1 for value in mean)
    mean, std = tuple(value / factor for value in mean), tuple(value / factor for value in std)
    if normalize and found.get("include_top"):  # EfficientNet: divided by std twice
        std = tuple(
            value * given for value, given in zip(std, _channels(found.get("image_std"), default.std), strict=True)
        )
    return mean, std


def _channels(given: float | Sequence[float] | None, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return one value per channel."""
    if given is None:
        return default
    return (float(given),) * len(default) if isinstance(given, (int, float)) else tuple(given)


def describe_processor(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the settings of an image processor that prepares photos the same way."""
    (height, width), resized = preprocessing.input_size, preprocessing.resized
    whole = preprocessing.resizes_both_sides
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"height": resized[0], "width": resized[1]} if whole else {"shortest_edge": resized[0]},
        "resample": {name: number for number, name in _RESAMPLING.items()}.get(preprocessing.interpolation, 3),
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_convert_rgb": True,
    }
