"""How an annotation sees its photo: upright, as its EXIF tag turns it, or as the file stores it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.read_photos import open_header
from robustvit.masks.annotations.objects import Box, BrokenEntry

_LYING = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_MIRRORED_ACROSS, _MIRRORED_DOWN = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})  # before width and height swap
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WAYS = (
    "--orientation upright if it was drawn on the photo as viewers show it, --orientation stored if on the photo as "
    "the file holds it"
)


@dataclass(frozen=True)
class View:
    """The frame in which an annotation was drawn.

    Attributes:
        height: in pixels, of that frame.
        width: the same.
        tag: the EXIF orientation that turns masks upright; 1 if they are.
        doubtful: whether the annotation may as well be drawn on the photo as stored.
        proves: whether the size shows that the annotation was drawn on the upright photo.
    """

    height: int
    width: int
    tag: int = 1
    doubtful: bool = False
    proves: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def upright(self, mask: np.ndarray) -> np.ndarray:
        """Turn a mask ``(height, width)`` as the photo is turned."""
        return mask if self.tag == 1 else np.array(Image.fromarray(mask).transpose(_TURNS[self.tag]))

    def upright_corners(self, box: Box) -> Box:
        """Turn a box in pixels as the photo is turned."""
        left, top, right, bottom = box
        if self.tag in _MIRRORED_ACROSS:
            left, right = self.width - right, self.width - left
        if self.tag in _MIRRORED_DOWN:
            top, bottom = self.height - bottom, self.height - top
        return Box(top, left, bottom, right) if self.tag in _LYING else Box(left, top, right, bottom)


def _stored_size(path: Path) -> tuple[tuple[int, int], int]:
    """Height and width as the file holds them, and the EXIF orientation, from the header alone."""
    with open_header(path) as image:
        tag = 1
        # Pillow decodes a PNG whole to look for EXIF behind the pixels, where hardly any tool writes it
        if image.format != "PNG" or {"exif", "Raw profile type exif", "XML:com.adobe.xmp"} & set(image.info):
            tag = image.getexif().get(ExifTags.Base.Orientation, 1)
        return (image.height, image.width), tag if tag in _TURNS else 1


def upright_size(path: Path) -> tuple[int, int]:
    """Return height and width after the EXIF rotation, from the header alone."""
    size, tag = _stored_size(path)
    return size[::-1] if tag in _LYING else size


def view_photo(path: Path, said: object, orientation: Orientation | None, words: str = "the annotation says") -> View:
    """Return the frame in which a photo was annotated; refuse another size than the photo's.

    Args:
        path: the photo.
        said: (height, width) in the annotation; None if it says nothing.
        orientation: as the user says; None decides by the size, where it can.
        words: to introduce the size in the annotation.
    """
    stored, tag = _stored_size(path)
    upright = stored[::-1] if tag in _LYING else stored
    frame = stored if orientation == "stored" else upright
    if said is not None and said != frame:
        given = " x ".join(map(shown, said)) if isinstance(said, tuple) else shown(said)
        turned = f"; its EXIF tag may turn it: say {WAYS}" if said in (stored, upright) else ""
        raise BrokenEntry(f"{path} has {frame[0]} x {frame[1]} pixels (height x width), {words} {given}{turned}")
    proves = said is not None and upright != stored
    return View(
        *frame,
        tag=tag if orientation == "stored" else 1,
        doubtful=tag != 1 and orientation is None and not proves,
        proves=proves and orientation is None,
    )
