"""Images as people have them: paths, folders, PIL images, arrays and tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.data.datasets import evaluation_transform
from robustvit.data.find_photos import find_photos
from robustvit.data.read_photos import expect_image, read_photo
from robustvit.models.classifier import Classifier

_KINDS = "a path, a folder, a PIL image, an array (H, W, 3), a tensor (3, H, W), or a list of these"


def as_batch(model: nn.Module, given: object) -> Tensor:
    """Return images as a model takes them, ``(B, 3, H, W)``, or ``(3, H, W)`` for a single one.

    Args:
        model: a ``Classifier``, whose transform is applied.
        given: see ``as_pictures``.
    """
    if not isinstance(model, Classifier):
        raise UserError("expected a tensor of images for a bare network, or a model of load_model, which prepares them")
    transform = evaluation_transform(model.preprocessing)
    images = [transform(picture).as_subclass(Tensor).to(model.mean.device) for picture in as_pictures(given)]
    alone = not isinstance(given, (list, tuple)) and not (isinstance(given, (str, Path)) and Path(str(given)).is_dir())
    return images[0] if alone and len(images) == 1 else torch.stack(images)


def as_pictures(given: object) -> list[Image.Image]:
    """Return pictures in RGB: of a path, a folder, a PIL image, an array, a tensor, or a list of these."""
    if isinstance(given, (list, tuple)):
        return [picture for one in given for picture in as_pictures(one)]
    if isinstance(given, (str, Path)):
        place = Path(str(given))
        if place.is_dir():
            return [read_photo(photo.image, pixels=photo.pixels) for photo in find_photos(place, labelled=False)]
        expect_image(place)
        return [read_photo(place)]
    if isinstance(given, Image.Image):
        return [given.convert("RGB")]
    if isinstance(given, Tensor) and given.ndim == 4:
        return [picture for one in given for picture in as_pictures(one)]
    if isinstance(given, Tensor):
        given = given.detach().cpu().movedim(0, -1).numpy() if given.ndim == 3 else given.detach().cpu().numpy()
    if isinstance(given, np.ndarray):
        return [_from_array(given)]
    raise UserError(f"expected {_KINDS}, got {type(given).__name__}")


def _from_array(values: np.ndarray) -> Image.Image:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise UserError(f"expected an array (H, W, 3) or (H, W), or a tensor (3, H, W), got shape {values.shape}")
    if values.dtype.kind == "f":
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        if not (low >= 0 and high <= 1):
            raise UserError(f"expected floats from 0 to 1, got {low:g} to {high:g}: scale them, or give 8-bit numbers")
        values = (255 * values).round().astype(np.uint8)
    if values.dtype != np.uint8:
        raise UserError(f"expected 8-bit numbers, or floats from 0 to 1, got {values.dtype}")
    return Image.fromarray(values).convert("RGB")
