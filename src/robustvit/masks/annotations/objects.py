"""Objects as annotations mark them, by a mask or by a box alone, and the error for a part that must be left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robustvit.common.options import BoxUnits


class BrokenEntry(ValueError):
    """A part of an annotation that must be left out; the message ends a problem line."""


@contextmanager
def leaving_out(where: object, problems: list[str]) -> Iterator[None]:
    """Add a problem line, which begins with ``where``, if the block raises BrokenEntry, and continue after it."""
    try:
        yield
    except BrokenEntry as error:
        problems.append(f"{where}: {error}; left out")


class Box(NamedTuple):
    """The sides of an upright box."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class AnnotatedObject:
    """One object marked in a photo.

    Attributes:
        category: its class as in the annotation; None if the format has no classes.
        mask: float32 ``(H, W)`` in [0, 1], in the photo's size.
        rectangle: the outline, if that is an upright rectangle, in the frame of the annotation.
        confidence: of the detector, in [0, 1]; None if a person marked the object.
        boxed: whether the mask was made from a box.
        agreement: how sure the model is that made the mask from a box, in [0, 1].
    """

    category: str | None
    mask: np.ndarray
    rectangle: Box | None = None
    confidence: float | None = None
    boxed: bool = False
    agreement: float | None = None


@dataclass(frozen=True)
class BoxedObject:
    """An object of which only the box is known.

    Attributes:
        category: its class as in the annotation; None if the format has no classes.
        corners: the box in the frame of the annotation, as the annotation has it.
        where: words for the object, to begin a complaint with.
        units: whether the format counts pixels, or shares of width and height.
        confidence: of the detector, in [0, 1]; None if a person drew it.
        crowd: whether it holds a group of objects.
    """

    category: str | None
    corners: Box
    where: str
    units: BoxUnits = "pixels"
    confidence: float | None = None
    crowd: bool = False


MarkedObject = AnnotatedObject | BoxedObject


def expect_pixels(mask: np.ndarray, what: str) -> np.ndarray:
    """Return a mask that has a pixel on the object; refuse any other."""
    if not mask.any():
        raise BrokenEntry(f"{what} that covers no pixel of the photo")
    return mask
