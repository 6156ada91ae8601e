"""A photo's object on another background: masks from a file, a drawing or TokenCut, and backgrounds to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from robustvit.common.errors import UserError, expect_one_of
from robustvit.data.batches import evaluation_transform
from robustvit.data.embedded.textures import TEXTURES, texture_crop
from robustvit.data.mask_files import check_mask, read_mask
from robustvit.data.swaps import paste
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.models.classifier import Preprocessing
from robustvit.webapp.limits import Limits, check_image
from robustvit.webapp.prediction import Explorer, Inputs, Picture, as_input

GREY = "plain grey"
BACKGROUNDS = (GREY, *TEXTURES)
_TEXTURE_SIDE = 384


def mask_of_file(path: str | Path, photo: Image.Image, limits: Limits) -> np.ndarray:
    """Read a mask file for a photo, ``(H, W)`` float32 in [0, 1] in the photo's size."""
    check_image(path, limits)
    name = Path(path).name
    try:
        mask = read_mask(path)
        check_mask(mask, name)
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from error
    height, width = mask.shape
    if abs(width / height - photo.width / photo.height) > 0.02 * photo.width / photo.height:
        raise UserError(
            f"the mask {name} is {width} x {height} pixels, which is another shape than the photo's: expected a mask "
            "of the same photo; choose its own"
        )
    return _resized(mask, photo)


def drawn_mask(layers: Sequence[Image.Image], photo: Image.Image) -> np.ndarray:
    """What was drawn with a brush on a photo, whatever its colour, as a mask of 0 and 1 in the photo's size.

    Args:
        layers: drawings with an alpha channel.
        photo: that was drawn on.
    """
    mask = np.zeros((photo.height, photo.width), np.float32)
    for layer in layers:
        alpha = np.asarray(layer.convert("RGBA").getchannel("A"), dtype=np.float32) / 255
        mask = np.maximum(mask, _resized(alpha, photo) >= 0.5)
    if not mask.any():
        raise UserError("nothing is drawn yet: paint over the object with the brush, then swap")
    check_mask(mask, "that was drawn")
    return mask


def found_mask(sources: Sequence[TokenCut], picture: Picture, explorer: Explorer) -> np.ndarray:
    """The object that TokenCut finds, as a mask of 0 and 1 in the photo's size.

    Args:
        sources: are tried in turn until one finds a good mask; else the first that found any is taken.
        picture: the photo.
        explorer: whose models are asked.
    """
    photo = picture.photo
    doubtful = None
    for source in sources:
        with explorer.exclusively():
            job = source.prepare([photo], [Path("photo")])[0]
        found = source.finish(job)
        mask = (found.mask > 0.5).astype(np.float32)
        if not 0 < mask.sum() < mask.size:
            continue
        if found.verdict == "good":
            return mask
        doubtful = mask if doubtful is None else doubtful
    if doubtful is None:
        raise UserError("TokenCut finds no object in this photo: draw a mask with the brush or choose a mask file")
    return doubtful


def background_photo(name: str) -> Image.Image:
    """One of ``BACKGROUNDS``, always cut alike."""
    expect_one_of("the background", name, BACKGROUNDS)
    if name == GREY:
        return Image.new("RGB", (_TEXTURE_SIDE, _TEXTURE_SIDE), (127, 127, 127))
    return texture_crop(name, np.random.default_rng(0), _TEXTURE_SIDE, part="test")


def swapped_inputs(
    picture: Picture, mask: np.ndarray, background: Inputs
) -> tuple[Inputs, dict[Preprocessing, Tensor]]:
    """What models see of a photo's object on a background.

    Args:
        picture: the photo.
        mask: ``(H, W)`` in [0, 1] in the size of ``picture.photo``.
        background: what the models see of the background.

    Returns:
        The inputs, and the mask as each model sees it, ``(1, H, W)``.
    """
    masks: dict[Preprocessing, Tensor] = {}
    inputs: Inputs = {}
    whole = tv_tensors.Mask(torch.from_numpy(mask)[None])
    for preprocessing, image in picture.inputs.items():
        seen = evaluation_transform(preprocessing)(picture.photo, whole)[1].as_subclass(Tensor)
        if not seen.any():
            raise UserError(
                "the object lies outside the part of the photo that the model sees: centre it, or mask another"
            )
        if bool((seen >= 1).all()):
            raise UserError("the mask covers all that the model sees: no background is left to swap")
        masks[preprocessing] = seen
        inputs[preprocessing] = paste(image, seen, background[preprocessing]).contiguous()
    return inputs, masks


def background_inputs(photo: Image.Image, preprocessings: Sequence[Preprocessing]) -> Inputs:
    """What models see of a background."""
    return {one: as_input(photo, one) for one in preprocessings}


def _resized(mask: np.ndarray, photo: Image.Image) -> np.ndarray:
    if mask.shape == (photo.height, photo.width):
        return mask.astype(np.float32)
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize(photo.size, Image.Resampling.BILINEAR))
