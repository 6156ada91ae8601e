"""A look at every photo and mask of a run: which show no object, and of which a model would see none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.common.progress import track, warn
from robustvit.common.wording import pluralize
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.mask_files import read_mask
from robustvit.data.photo import Photo
from robustvit.models.classifier import Preprocessing

_NAMED = 5


@dataclass(frozen=True)
class Looked:
    """What was seen of a photo.

    Attributes:
        photo: the photo.
        empty: whether it shows no object: it has no mask, or one without any pixel.
        seen: whether any of the object is left where the model looks.
    """

    photo: Photo
    empty: bool
    seen: bool


def look_at(data: MaskedPhotos, title: str = "checking photos and masks") -> list[Looked]:
    """Read every photo and mask once."""
    items = ((photo, data[index]) for index, photo in enumerate(track(data.photos, title)))
    return [Looked(photo, item["empty"], bool(item["mask"].any())) for photo, item in items]


def shows_no_object(photo: Photo, mask_format: MaskFormat) -> bool:
    """Whether it was said that a photo shows no object, or its mask says so."""
    return photo.no_object or (photo.mask is not None and not read_mask(photo.mask, mask_format).any())


def describe_looked(looked: Sequence[Looked], preprocessing: Preprocessing, then: str = "") -> list[str]:
    """Return lines on photos without an object and on objects that the model cannot see; none without masks.

    Args:
        looked: what was seen.
        preprocessing: of the model.
        then: sentence that ends the first line.
    """
    if not any(one.photo.mask is not None for one in looked):
        if any(one.photo.no_object for one in looked):
            raise UserError("expected masks of the classes other than --no-object, found none: give them with --masks")
        return []
    empty = [one.photo for one in looked if one.empty]
    if len(empty) == len(looked):
        raise UserError(
            f"expected photos with an object, but none of {pluralize(len(looked), 'photo')} has a mask with a pixel on "
            f"one, such as {empty[0].mask or empty[0].image}: check how the masks were saved"
        )
    notes = []
    if empty:
        notes.append(
            f"{len(empty)} of {pluralize(len(looked), 'photo')} show no object ({_by_class(looked)}): they count in "
            "ordinary accuracy and lend their backgrounds, and are left out where an object is needed."
            + (f" {then}" if then else "")
        )
        notes += _doubt_some(looked)
    if lost := [one.photo for one in looked if not one.empty and not one.seen]:
        height, width = preprocessing.input_size
        notes.append(
            f"In {len(lost)} of {pluralize(len(looked), 'photo')}, such as {_named(lost[0])}, the whole object lies "
            f"outside the crop of {height} x {width} pixels that the model sees: they are left out where an object is "
            "needed. Crop these photos around the object to use them."
        )
    return notes


def say_looked(data: MaskedPhotos) -> list[str]:
    """Read every photo and mask once; return and print lines on photos without an object."""
    notes = describe_looked(look_at(data), data.preprocessing)
    for note in notes:
        warn(note)
    return notes


def _by_class(looked: Sequence[Looked]) -> str:
    """Return how many photos of each class show no object."""
    every = Counter(one.photo.class_name for one in looked)
    empty = Counter(one.photo.class_name for one in looked if one.empty)
    parts = [
        f"all {count} of class {name}" if count == every[name] else f"{count} of {every[name]} of class {name}"
        for name, count in sorted(empty.items(), key=lambda pair: str(pair[0]))
        if name is not None
    ]
    more = [f"and {len(parts) - _NAMED} more classes"] if len(parts) > _NAMED else []
    return ", ".join([*parts[:_NAMED], *more]) or "their masks are empty"


def _doubt_some(looked: Sequence[Looked]) -> list[str]:
    """Return a line on empty masks in classes whose other masks show objects: somebody may have drawn none there."""
    shown = {one.photo.class_name for one in looked if not one.empty}
    doubted = [one.photo for one in looked if one.empty and not one.photo.no_object and one.photo.class_name in shown]
    doubted = [photo for photo in doubted if photo.class_name is not None]
    if not doubted:
        return []
    return [
        f"{pluralize(len(doubted), 'mask')} of classes that have objects {'is' if len(doubted) == 1 else 'are'} empty, "
        f"such as {_named(doubted[0])}: if the object was not drawn, draw it, or move these mask files elsewhere and "
        "leave the photos out with --skip-unmasked."
    ]


def _named(photo: Photo) -> str:
    return "/".join(photo.image.parts[-2:])  # notes may be published: no paths of this machine
