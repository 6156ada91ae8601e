"""Objects as annotations mark them: by a mask, or by a box alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustvit.common.options import BoxUnits

Corners = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class AnnotatedObject:
    """One object marked in a photo.

    Attributes:
        category: its class as in the annotation; None if the format has no classes.
        mask: float32 ``(H, W)`` in [0, 1], in the photo's size.
        rectangle: corners of an outline that is an upright rectangle, in the frame of the annotation.
        confidence: of the detector, in [0, 1]; None if a person marked the object.
        boxed: whether the mask was made from a box.
        agreement: how sure the model is that made the mask from a box, in [0, 1].
    """

    category: str | None
    mask: np.ndarray
    rectangle: Corners | None = None
    confidence: float | None = None
    boxed: bool = False
    agreement: float | None = None


@dataclass(frozen=True)
class BoxedObject:
    """An object of which only the box is known.

    Attributes:
        category: its class as in the annotation; None if the format has no classes.
        corners: left, top, right and bottom in the frame of the annotation, as it has them.
        where: words for the object, to begin a complaint with.
        units: whether the format counts pixels, or shares of width and height.
        confidence: of the detector, in [0, 1]; None if a person drew it.
        crowd: whether it holds a group of objects.
    """

    category: str | None
    corners: Corners
    where: str
    units: BoxUnits = "pixels"
    confidence: float | None = None
    crowd: bool = False


MarkedObject = AnnotatedObject | BoxedObject
