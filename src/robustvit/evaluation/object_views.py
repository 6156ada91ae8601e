"""Views of a photo that show its object more than its background: cropped to it, the rest black, the rest blurred."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustvit.data.swaps import ObjectBox, bounding_box, only_foreground
from robustvit.explanation.deletion import blur_images

MARGIN = 0.1  # of the box's longer side, on each side of the box
_BLUR = 1 / 16  # standard deviation of the blur, as a share of the frame's shorter side


def crop_to_object(images: Tensor, objects: Tensor) -> Tensor:
    """Crop images ``(B, 3, H, W)`` to their objects, with a margin, and enlarge the crops to the frame.

    Masks of the objects are ``(B, 1, H, W)`` in [0, 1], above 0.5 on the object. Crops have the frame's shape. An image
    without an object stays as it is.
    """
    height, width = images.shape[-2:]
    crops = []
    for image, mask in zip(images, objects, strict=True):
        box = bounding_box(mask)
        if box is None:
            crops.append(image)
            continue
        top, left, bottom, right = crop_window(box, height, width)
        cut = image[None, :, top:bottom, left:right]
        crops.append(F.interpolate(cut, size=(height, width), mode="bilinear", antialias=True)[0])
    return torch.stack(crops)


def crop_window(box: ObjectBox, height: int, width: int, margin: float = MARGIN) -> ObjectBox:
    """Return the smallest window of a frame's shape that holds a box with its margin, moved into the frame."""
    longer = max(box.bottom - box.top, box.right - box.left)
    rows, columns = box.bottom - box.top + 2 * margin * longer, box.right - box.left + 2 * margin * longer
    scale = min(1.0, max(rows / height, columns / width))
    rows, columns = max(1, round(scale * height)), max(1, round(scale * width))
    top = min(max(0, round((box.top + box.bottom - rows) / 2)), height - rows)
    left = min(max(0, round((box.left + box.right - columns) / 2)), width - columns)
    return ObjectBox(top, left, top + rows, left + columns)


def black_background(images: Tensor, objects: Tensor) -> Tensor:
    """Return the objects on black; shapes and images without an object as in ``crop_to_object``."""
    return torch.where(_have_objects(objects), only_foreground(images, objects), images)


def blurred_background(images: Tensor, objects: Tensor) -> Tensor:
    """Return the objects in front of a blurred photo; shapes and images without an object as in ``crop_to_object``."""
    deviation = _BLUR * min(images.shape[-2:])
    behind = blur_images(images, deviation, deviation)
    return torch.where(_have_objects(objects), objects * images + (1 - objects) * behind, images)


def _have_objects(objects: Tensor) -> Tensor:
    """Return which images have an object, ``(B, 1, 1, 1)``."""
    return (objects > 0.5).flatten(1).any(dim=1)[:, None, None, None]


VIEWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "crop": crop_to_object,
    "mask": black_background,
    "blur": blurred_background,
}
