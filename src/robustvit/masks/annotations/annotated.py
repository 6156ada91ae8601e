"""What every annotation format comes down to: photos with the objects that were marked in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class AnnotatedObject:
    """One object marked in a photo.

    Attributes:
        category: its class as the annotation names it, or None where the format knows no classes.
        mask: float32 ``(H, W)`` in [0, 1], in the photo's size.
        crowd: it stands for a group that nobody separated.
    """

    category: str | None
    mask: np.ndarray
    crowd: bool = False


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo and a way to read its objects, which may be large, when they are wanted.

    Attributes:
        image: the photo, a file that exists.
        read: reads the objects, one at least; raises UserError where an annotation is broken.
    """

    image: Path
    read: Callable[[], list[AnnotatedObject]]


@dataclass(frozen=True)
class Annotations:
    """An annotation file or folder that was read.

    Attributes:
        photos: those that are there and have annotations, sorted by path.
        problems: one line for each annotation without its image, clash of names, broken entry, and the like.
        categories: all categories that are named.
        advice: what to do where the categories have no names but numbers.
    """

    photos: list[AnnotatedPhoto]
    problems: list[str]
    categories: tuple[str, ...] = ()
    advice: str = ""

    def __iter__(self) -> Iterator[AnnotatedPhoto]:
        return iter(self.photos)
