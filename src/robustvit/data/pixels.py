"""How pixels that are not plain 8-bit colours become colours: bit depth, negative numbers and transparency.

Where two readings are plausible, the user is asked. The table is in ``docs/reference/photo-files.md``; ``photo_scales``
decides for the photos of a set together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from robustvit.common.options import Alpha
from robustvit.common.photo_options import PixelOptions
from robustvit.common.range_option import SIXTEEN, Scale
from robustvit.data.deep_pixels import SURELY_16_BITS, Numbers, PixelError, numbers_of, scale_of

_ROWS = 256


@dataclass(frozen=True)
class Pixels:
    """How to read the pixels of a photo.

    Attributes:
        scale: the numbers that are black and white, for pixels of more than 8 bits and floats; None decides by the
            photo alone.
        by_percentile: decide by percentiles of the numbers.
        alpha: what transparency means: a white background, or nothing; None for white unless that is doubtful.
        ask: refuse doubtful pixels. False takes the most likely reading, for pictures shown and files compared.
        doubt: why the set that the photo belongs to has no obvious scale.
    """

    scale: Scale | None = None
    by_percentile: bool = False
    alpha: Alpha | None = None
    ask: bool = True
    doubt: str = ""

    @classmethod
    def of(cls, options: PixelOptions) -> Pixels:
        """Read the options of a command."""
        if options.range in (None, "auto", "percentile"):
            return cls(None, options.range == "percentile", options.alpha)
        return cls(Scale.read(str(options.range)), False, options.alpha)


PLAIN = Pixels()
ANY = Pixels(ask=False)


def to_rgb(image: Image.Image | Numbers, pixels: Pixels = PLAIN) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB; refuse one that has no single plausible reading."""
    numbers = image if isinstance(image, Numbers) else numbers_of(image)
    if numbers is not None:
        image = _to_8_bits(numbers, pixels)
    assert isinstance(image, Image.Image)
    if numbers is None and pixels.ask:
        _check_narrowed(image, pixels)
        _check_dropped(image, pixels)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        if _drop_alpha(image, pixels):
            return image.convert("RGB")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _to_8_bits(numbers: Numbers, pixels: Pixels) -> Image.Image:
    if numbers.shown is not None and pixels.scale is None and not pixels.by_percentile:
        values, scale = numbers.shown, Scale(0, 1)
    else:
        values, scale = numbers.colours, _choose_scale(numbers, pixels) if pixels.ask else _guess_scale(numbers)
    grey = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _ROWS):  # float64 of the whole would take gigabytes
        part = values[top : top + _ROWS].astype(np.float64).clip(scale.low, scale.high)
        share = (part - scale.low) / (scale.high - scale.low)
        grey[top : top + _ROWS] = (255 * (1 - share if numbers.inverted else share)).round()
    if grey.shape != numbers.values.shape:
        grey = np.dstack([grey, (numbers.values[..., -1] // 257).astype(np.uint8)])
    return Image.fromarray(grey)


def _guess_scale(numbers: Numbers) -> Scale:
    """Return a scale for pictures that are only shown or compared."""
    summary = numbers.summarize()
    if numbers.stated is not None:
        return numbers.stated
    if summary.low < 0 or summary.high > SIXTEEN.high:
        return Scale(summary.low, summary.high, clips=True)
    if summary.floats and summary.high <= 1:
        return Scale(0, 1)
    return SIXTEEN if summary.high > 255 else Scale.of_bits(8)


def _choose_scale(numbers: Numbers, pixels: Pixels) -> Scale:
    summary = numbers.summarize(pixels.by_percentile)
    if pixels.scale is None and pixels.doubt:
        raise PixelError(pixels.doubt)
    stated = None if pixels.by_percentile else numbers.stated
    scale = pixels.scale or stated or scale_of([summary], pixels.by_percentile)
    if not scale.clips and not scale.low <= summary.low <= summary.high <= scale.high:
        raise PixelError(
            f"expected pixels from {scale.low:g} to {scale.high:g}, found {summary.low:g} to {summary.high:g}: give "
            "another --range, such as LOW:HIGH, or percentile"
        )
    return scale


def _check_narrowed(image: Image.Image, pixels: Pixels) -> None:
    """Refuse colours of 16 bits, of which Pillow keeps the upper 8, if hardly anything is left of them."""
    if "narrowed" not in image.info:
        return
    high = int(np.asarray(image.convert("RGB")).max(initial=0))
    if pixels.scale == SIXTEEN or (pixels.scale is None and 256 * (high + 1) > SURELY_16_BITS):
        return
    raise PixelError(
        f"of its 16-bit colours only the upper 8 bits can be read here, and they reach {256 * high} of 65535: save it "
        "as a PNG of 16 bits, or with 8 bits as for the training, or say --range 16 if it really is that dark"
    )


def _check_dropped(image: Image.Image, pixels: Pixels) -> None:
    if (dropped := image.info.get("dropped", 0)) and pixels.alpha != "ignore":
        raise PixelError(
            f"it has {3 + dropped} bands, and a model takes 3: say --alpha ignore to read the first 3 as red, green "
            "and blue, or save a photo of those that the model was trained on"
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
        "it is nowhere opaque, or only in part: is its fourth band transparency? Say --alpha white to put it on "
        "white, or --alpha ignore to drop the band, as most training programs do"
    )
