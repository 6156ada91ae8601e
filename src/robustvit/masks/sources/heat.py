"""Heat maps: where the words of a prompt are in a photo, and the soft masks of concepts that they make together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Heat:
    """Where the words of a prompt are in a photo.

    Attributes:
        values: float32 ``(h, w)`` in [0, 1], of the whole photo at any resolution.
        score: how certain the best find is, in [0, 1].
        objects: number of objects found.
    """

    values: np.ndarray
    score: float
    objects: int = 1


def enlarge_heat(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize heat ``(h, w)`` to ``(H, W)``, bilinear."""
    if values.shape == size:
        return values.astype(np.float32)
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def concept_mask(heats: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return a soft mask of weighted phrases.

    With heat ``h_i`` of phrase i at pixel p and its weight ``w_i``::

        c(p) = sum_i w_i h_i(p) / sum_i w_i
        mask(p) = (c(p) - min c) / (max c - min c)

    where minimum and maximum are over the pixels of the photo; where c is the same everywhere, the mask is c.

    Args:
        heats: ``(H, W)`` in [0, 1] each.
        weights: one for each, above 0.

    Returns:
        float32 ``(H, W)`` in [0, 1].
    """
    mean = np.average(np.stack(heats).astype(np.float64), axis=0, weights=weights)
    low, high = mean.min(), mean.max()
    return ((mean - low) / (high - low) if high > low else mean).astype(np.float32)
