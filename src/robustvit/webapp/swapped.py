"""Put the object of a photo on another background: masks from a file, a drawing or TokenCut, and backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from robustvit.common.errors import UserError, expect_one_of
from robustvit.data.datasets import evaluation_transform
from robustvit.data.embedded.textures import TEXTURES, crop_texture
from robustvit.data.mask_files import check_mask, read_mask
from robustvit.data.swaps import paste
from robustvit.masks.sources.tokencut import TokenCut
from robustvit.models.classifier import Preprocessing
from robustvit.webapp.limits import Limits, check_image, hide_folder
from robustvit.webapp.prediction import Explorer, Inputs, Picture

GREY = "plain grey"
OFFERED = (GREY, *TEXTURES)
_TEXTURE_SIDE = 384


def read_mask_file(path: str | Path, photo: Image.Image, limits: Limits) -> np.ndarray:
    """Read a mask file for a photo: ``(H, W)`` float32 in [0, 1], resized to the photo."""
    check_image(path, limits)
    name = Path(path).name
    with hide_folder(path):
        mask = read_mask(path)
        check_mask(mask, name)
    height, width = mask.shape
    if abs(width / height - photo.width / photo.height) > 0.02 * photo.width / photo.height:
        raise UserError(
            f"expected a mask with the aspect ratio of the photo, but {name} has {width} x {height} pixels: choose the "
            "mask of this photo"
        )
    return _resize(mask, photo)


def read_drawing(layers: Sequence[Image.Image], photo: Image.Image) -> np.ndarray:
    """Convert a drawing, layers with an alpha channel of any colour, to a mask of 0 and 1 in the size of its photo."""
    mask = np.zeros((photo.height, photo.width), np.float32)
    for layer in layers:
        alpha = np.asarray(layer.convert("RGBA").getchannel("A"), dtype=np.float32) / 255
        mask = np.maximum(mask, _resize(alpha, photo) >= 0.5)
    if not mask.any():
        raise UserError("the drawing is empty: paint over the object with the brush, then swap")
    check_mask(mask, "that was drawn")
    return mask


def find_mask(sources: Sequence[TokenCut], picture: Picture, explorer: Explorer) -> np.ndarray:
    """Find the object with TokenCut, as a mask of 0 and 1 in the size of the photo.

    The sources are tried until a mask is good; otherwise the first mask is used. No model runs at the same time.
    """
    photo = picture.photo
    doubtful = None
    for source in sources:
        with explorer.lock:
            job = source.prepare([photo], [Path("photo")])[0]
        result = source.finish(job)
        mask = (result.mask > 0.5).astype(np.float32)
        if not 0 < mask.sum() < mask.size:
            continue
        if result.verdict == "good":
            return mask
        doubtful = mask if doubtful is None else doubtful
    if doubtful is None:
        raise UserError("TokenCut finds no object in this photo: draw a mask with the brush or choose a mask file")
    return doubtful


def make_background(name: str) -> Image.Image:
    """Return the background of a name in ``OFFERED``, always the same crop."""
    expect_one_of("the background", name, OFFERED)
    if name == GREY:
        return Image.new("RGB", (_TEXTURE_SIDE, _TEXTURE_SIDE), (127, 127, 127))
    return crop_texture(name, np.random.default_rng(0), _TEXTURE_SIDE, part="test")


def swap_background(
    picture: Picture, mask: np.ndarray, background: Inputs
) -> tuple[Inputs, dict[Preprocessing, Tensor]]:
    """Paste the object of a photo on a background, for each preprocessing; return images and masks ``(1, H, W)``.

    ``mask``: ``(H, W)`` in [0, 1], in the size of ``picture.photo``.
    """
    masks: dict[Preprocessing, Tensor] = {}
    inputs: Inputs = {}
    whole = tv_tensors.Mask(torch.from_numpy(mask)[None])
    for preprocessing, image in picture.inputs.items():
        seen = evaluation_transform(preprocessing)(picture.photo, whole)[1].as_subclass(Tensor)
        if not seen.any():
            raise UserError("the object lies outside the crop that the model sees: centre it, or mask another object")
        if bool((seen >= 1).all()):
            raise UserError("the mask covers the whole image that the model sees: there is no background to swap")
        masks[preprocessing] = seen
        inputs[preprocessing] = paste(image, seen, background[preprocessing]).contiguous()
    return inputs, masks


def _resize(mask: np.ndarray, photo: Image.Image) -> np.ndarray:
    if mask.shape == (photo.height, photo.width):
        return mask.astype(np.float32)
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize(photo.size, Image.Resampling.BILINEAR))
