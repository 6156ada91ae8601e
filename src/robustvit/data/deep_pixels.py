"""Pixels that are numbers of more than 8 bits, or floats: how a file stores them, and the scale that they are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.range_option import SIXTEEN, Scale

SURELY_16_BITS = 2**14  # cameras and scanners store up to 14 bits in 16
_SURELY_8_BITS = 128  # of floats above 1
_DIM = 1 / 32  # floats that are all below this are hardly on a scale of 1
_SAMPLE = 1024
_BITS_TAG, _KIND_TAG, _SIGNED = 258, 339, 2  # of TIFF


class PixelError(UserError):
    """Pixels without one plausible reading; the file is named where it is read."""


@dataclass(frozen=True)
class Numbers:
    """Pixels of more than 8 bits, and floats.

    Attributes:
        values: ``(H, W)``, or ``(H, W, C)``: grey and transparency, colours, or colours and transparency.
        stated: the scale that the file itself states, if it does.
        inverted: whether low numbers are bright.
        shown: the values in [0, 1] that a table in the file maps to, if it has a table instead of a scale.
    """

    values: np.ndarray
    stated: Scale | None = None
    inverted: bool = False
    shown: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.values.shape[:2]
        return width, height

    @property
    def colours(self) -> np.ndarray:
        """The numbers without those of transparency."""
        bands = self.values.shape[2] if self.values.ndim == 3 else 1
        return self.values[..., : bands - 1] if bands in (2, 4) else self.values

    def summarize(self, sampled: bool = False) -> NumberSummary:
        """Return the facts that decide on the scale; with a sample of the numbers if percentiles are wanted."""
        values = self.colours
        if not np.isfinite(values).all():
            raise PixelError("expected pixels that are numbers, some are NaN or infinite; replace it or move it")
        low, high = (float(edge) for edge in (values.min(initial=0), values.max(initial=0)))
        flat = values.reshape(-1)
        sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64) if sampled else flat[:0]
        says = "a table" if self.shown is not None else "" if self.stated is None else str(self.stated)
        return NumberSummary(low, high, values.dtype.kind == "f", says, sample)


@dataclass(frozen=True)
class NumberSummary:
    """The numbers of a photo in short.

    Attributes:
        low: the lowest, at most 0.
        high: the highest, at least 0.
        floats: whether they are floats.
        stated: the scale that the file itself states, in words; empty if it states none.
        sample: evenly spaced numbers; none unless they were asked for.
    """

    low: float
    high: float
    floats: bool
    stated: str
    sample: np.ndarray


def describe_storage(image: Image.Image) -> dict[str, Any]:
    """Return the facts that are lost when an image is decoded, for its ``info``.

    ``narrowed``: Pillow will keep only the upper 8 of 16 bits of colours. ``dropped``: bands it will leave out.
    ``tags``: bits and kind of the numbers of a TIFF.
    """
    modes = list(map(_raw_mode, getattr(image, "tile", ())))
    found: dict[str, Any] = {}
    if any(mode.startswith(("RGB", "LA")) and ";16" in mode for mode in modes):
        found["narrowed"] = True
    if image.format == "TIFF" and (dropped := max((mode.partition(";")[0].count("X") for mode in modes), default=0)):
        found["dropped"] = dropped
    tags = getattr(image, "tag_v2", {})
    if stored := {tag: tags[tag] for tag in (_BITS_TAG, _KIND_TAG) if tag in tags}:
        found["tags"] = stored
    return found


def _raw_mode(tile: object) -> str:
    args = getattr(tile, "args", "")
    return str(args[0] if isinstance(args, tuple) and args else args)


def is_deep(image: Image.Image) -> bool:
    """Whether the pixels of an image that is not decoded yet are numbers of more than 8 bits, floats or signed."""
    storage = describe_storage(image)
    signed = storage.get("tags", {}).get(_KIND_TAG, (0,))[0] == _SIGNED
    return image.mode[0] in "IF" or signed or "narrowed" in storage


def numbers_of(image: Image.Image) -> Numbers | None:
    """Return the numbers of a decoded image of one band, or None if they are plain ones of 8 bits."""
    tags = image.info.get("tags", {})
    bits, kind = (tags.get(tag, (0,))[0] for tag in (_BITS_TAG, _KIND_TAG))
    if image.mode == "L" and bits == 8 and kind == _SIGNED:
        return Numbers(np.asarray(image).view(np.int8))
    if not image.mode.startswith("I") and image.mode != "F":
        return None
    values = np.asarray(image)
    if image.mode == "I" and bits == 32 and kind != _SIGNED:
        values = values.view(np.uint32)  # Pillow has no unsigned mode
    stated = SIXTEEN if image.format == "PPM" else Scale.of_bits(bits) if 8 < bits < 16 else None
    return Numbers(values, stated)


def scale_of(photos: Sequence[NumberSummary], by_percentile: bool = False) -> Scale:
    """Return the scale on which photos of a set are read together, by the numbers in all of them, or raise PixelError.

    Either all photos hold floats or none does. ``by_percentile`` chooses the 1st and the 99th percentile of up to 2,047
    evenly spaced pixels of each photo.
    """
    if by_percentile:
        return _percentile_scale(photos)
    low, high = min(one.low for one in photos), max(one.high for one in photos)
    if low < 0:
        raise PixelError(
            f"expected pixels from 0 upwards, found {low:g} to {high:g}: say which numbers are black and white with "
            "--range=LOW:HIGH or --range percentile, or scale it to 8 bits yourself, as for the training"
        )
    floats = photos[0].floats
    bits = next((bits for bits in range(8, 15) if high == 2**bits - 1), 0)
    if high == 0:
        return Scale(0, 1)
    if floats and _DIM < high <= 1:
        return Scale(0, 1)
    if floats and _SURELY_8_BITS <= high <= 255:
        return Scale.of_bits(8)
    if SURELY_16_BITS <= high <= SIXTEEN.high:
        return SIXTEEN
    if bits and not floats and sum(one.high == high for one in photos) > 1:  # saturated, in several photos
        return Scale.of_bits(bits)
    fewest = next((f"{bits} or --range 16 (or LOW:HIGH, or percentile)" for bits in (8, 10, 12, 14) if high < 2**bits),
                  "LOW:HIGH or --range percentile")  # fmt: skip
    kind = "floats" if floats else "numbers of more than 8 bits"
    raise PixelError(
        f"its pixels are {kind} up to {high:g}, and the number that is white is not plain: say --range {fewest}, "
        "or save it with 8 bits as for the training"
    )


def _percentile_scale(photos: Sequence[NumberSummary]) -> Scale:
    edges = np.percentile(np.concatenate([one.sample for one in photos]), [1, 99])
    black, white = (float(f"{edge:.6g}") for edge in edges)
    if black >= white:
        raise PixelError(f"expected numbers that differ for --range percentile, all are {black:g}: give LOW:HIGH")
    return Scale(black, white, clips=True)
