"""What every photo and mask is suitable for, before shifted copies are planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from robustvit.common.options import MaskFormat
from robustvit.data.datasets import evaluation_transform, kept_share, read_pair
from robustvit.data.photo import Photo
from robustvit.data.read_photos import read_photo
from robustvit.data.swaps import bounding_box, usable_background
from robustvit.models.classifier import Preprocessing


@dataclass(frozen=True)
class PhotoSurvey:
    """What a photo is suitable for.

    Attributes:
        side: its shorter side in pixels.
        box: width and height of the object's box in pixels, (0, 0) where no pixel of the mask is above one half.
        lends: whether the whole photo has enough background to lend.
        kept: share of the object's box that the centre crop keeps.
        in_crop: whether the crop shows a pixel of the object.
        lends_crop: whether the crop has enough background to lend.
        empty: whether the mask has no pixel at all: the photo shows no object.
    """

    side: int
    box: tuple[int, int]
    lends: bool
    kept: float
    in_crop: bool
    lends_crop: bool
    empty: bool = False


def _frame(size: int) -> Preprocessing:
    return Preprocessing(input_size=(size, size), crop_share=1.0, interpolation="bilinear")


def crop_square(image: Image.Image, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Resize the shorter side of a photo and its mask to ``size`` (bilinear) and crop the centre, to [0, 1]."""
    pixels, inside = evaluation_transform(_frame(size))(image, tv_tensors.Mask(mask))
    return pixels.as_subclass(Tensor), inside.as_subclass(Tensor)


def survey(photo: Photo, size: int, mask_format: MaskFormat) -> PhotoSurvey:
    """Read a photo and its mask, and find out what they are suitable for at a size."""
    _, mask = read_pair(photo, mask_format)
    box, empty = bounding_box(mask), not bool(mask.any())
    width_height = (0, 0) if box is None else (box.right - box.left, box.bottom - box.top)
    cropped = evaluation_transform(_frame(size))(mask).as_subclass(Tensor)
    return PhotoSurvey(
        min(mask.shape[-2:]),
        width_height,
        empty or (box is not None and usable_background(mask)),
        kept_share(mask, _frame(size)),
        bounding_box(cropped) is not None,
        usable_background(cropped),
        empty,
    )


def shorter_side(background: Path) -> int:
    """Read a plain background as a whole, and return its shorter side in pixels."""
    return min(read_photo(background).size)
