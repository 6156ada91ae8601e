"""How pixels that are not plain 8-bit colours become colours: bit depth, negative numbers and transparency.

Where two readings are plausible, the user says which. The table is in ``docs/howto/photos.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.option_groups import PixelOptions
from robustvit.common.options import Alpha

DEEP_SUFFIXES = frozenset({".png", ".apng", ".tif", ".tiff"})
_SURELY_16_BITS = 2**14  # cameras and scanners store up to 14 bits in 16
_SURELY_8_BITS = 128  # of floats above 1
_DIM = 1 / 32  # floats that are all below this are hardly on a scale of 1


class PixelError(UserError):
    """Pixels without one plausible reading; the file is named where it is read."""


@dataclass(frozen=True)
class Pixels:
    """How to read the pixels of a photo.

    Attributes:
        top: the number that is white, for pixels of more than 8 bits and floats; None decides by the photo alone.
        alpha: what transparency means: a white background, or nothing; None for white unless that is doubtful.
        ask: refuse what is doubtful. False takes the most likely reading, for pictures shown and files compared.
    """

    top: float | None = None
    alpha: Alpha | None = None
    ask: bool = True

    @classmethod
    def of(cls, options: PixelOptions) -> Pixels:
        """Return what the options of a command say."""
        top = None if options.bit_depth is None else float(2**options.bit_depth - 1)
        return cls(top, options.alpha)


PLAIN = Pixels()
ANY = Pixels(ask=False)


def to_rgb(image: Image.Image, pixels: Pixels = PLAIN) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB; refuse one that has no single plausible reading."""
    if is_deep(image):
        values = np.asarray(image, dtype=np.float64)
        top = _find_top(values, image, pixels)
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    elif image.info.get("narrowed") and pixels.ask:
        _check_narrowed(image, pixels)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        if _drop_alpha(image, pixels):
            return image.convert("RGB")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def is_deep(image: Image.Image) -> bool:
    """Whether the pixels of an opened image are numbers of more than 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def top_of(largest: float, floats: bool) -> float | None:
    """Return the number that is white for pixels up to ``largest``, or None where several are plausible."""
    if largest <= 0:
        return 1.0
    if floats and largest <= 1:
        return 1.0 if largest > _DIM else None
    if floats and _SURELY_8_BITS <= largest <= 255:
        return 255.0
    return 65535.0 if _SURELY_16_BITS <= largest <= 65535 else None


def decide_tops(largest: Mapping[Path, tuple[float, bool]]) -> dict[Path, float | None]:
    """Return one scale for the photos of a set, by the largest number in any of them.

    Args:
        largest: for each photo its largest number, and whether it holds floats.
    """
    tops = {
        floats: top_of(max((most for most, kind in largest.values() if kind == floats), default=0), floats)
        for floats in (False, True)
    }
    return {path: tops[floats] for path, (_, floats) in largest.items()}


def _find_top(values: np.ndarray, image: Image.Image, pixels: Pixels) -> float:
    if not np.isfinite(values).all():
        raise PixelError("expected pixels that are numbers, some are NaN or infinite; replace or remove it")
    low, high, floats = values.min(initial=0), values.max(initial=0), image.mode == "F"
    if not pixels.ask:
        return 1.0 if floats and high <= 1 else 65535.0 if high > 255 else 255.0
    if low < 0:
        raise PixelError(
            f"expected pixels from 0 upwards, found {low:g} to {high:g}: scale it to 8 bits yourself, as for the "
            "training"
        )
    if image.format == "PPM":  # the file states its largest number, and Pillow scales by it
        return 65535.0
    top = top_of(high, floats) if pixels.top is None else pixels.top
    if top is None:
        fewest = next((bits for bits in (8, 10, 12, 14) if high < 2**bits), 15)
        kind = "floats" if floats else "numbers of more than 8 bits"
        raise PixelError(
            f"its pixels are {kind} up to {high:g}, and the number that is white is not plain: say --bit-depth "
            f"{fewest} or --bit-depth 16, or save it with 8 bits as for the training"
        )
    if high > top:
        raise PixelError(f"expected pixels of at most {top:g}, found {high:g}: give another --bit-depth")
    return top


def _check_narrowed(image: Image.Image, pixels: Pixels) -> None:
    """Refuse colours of 16 bits, of which Pillow keeps the upper 8, if hardly anything is left of them."""
    high = int(np.asarray(image.convert("RGB")).max(initial=0))
    if pixels.top == 65535 or 256 * (high + 1) > _SURELY_16_BITS:
        return
    raise PixelError(
        f"its 16-bit colours reach only {256 * high} of 65535, as those of 12 bits do: save it with 8 bits as for the "
        "training, or say --bit-depth 16 if it is so dark"
    )


def _drop_alpha(image: Image.Image, pixels: Pixels) -> bool:
    """Whether to ignore the fourth band of an RGBA image; refuse to guess where it is hardly transparency."""
    if pixels.alpha is not None or not pixels.ask:
        return pixels.alpha == "ignore"
    alpha = np.asarray(image.getchannel("A"))
    partly = ((alpha > 0) & (alpha < 255)).mean()
    if alpha.max(initial=0) == 255 and partly <= 0.5:
        return False
    raise PixelError(
        "it is opaque nowhere, or only partly: is its fourth band transparency? Say --alpha white to put it on "
        "white, or --alpha ignore to drop the band, as most training programs do"
    )


def narrowed(image: Image.Image) -> bool:
    """Whether Pillow will keep only the upper 8 of 16 bits of colours of an image that is not decoded yet."""
    modes = map(_raw_mode, getattr(image, "tile", ()))
    return any(mode.startswith(("RGB", "LA")) and ";16" in mode for mode in modes)


def _raw_mode(tile: object) -> str:
    args = getattr(tile, "args", "")
    return str(args[0] if isinstance(args, tuple) and args else args)
