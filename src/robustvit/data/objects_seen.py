"""Which photos of a run show no object, and of which objects the model would see nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.common.progress import track
from robustvit.common.wording import pluralize
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.mask_files import read_mask
from robustvit.data.notes import add_note, short_place
from robustvit.data.photo import Photo
from robustvit.models.classifier import Preprocessing

_NAMED = 5


@dataclass(frozen=True)
class ObjectCheck:
    """Whether a photo shows an object.

    Attributes:
        photo: the photo.
        empty: whether it shows none: it has no mask, or an empty one.
        seen: whether any of the object lies in the crop that the model sees.
    """

    photo: Photo
    empty: bool
    seen: bool


def check_objects(data: MaskedPhotos) -> list[ObjectCheck]:
    """Read every photo and mask once."""
    items = ((photo, data[index]) for index, photo in enumerate(track(data.photos, "checking photos and masks")))
    return [ObjectCheck(photo, item["empty"], bool(item["mask"].any())) for photo, item in items]


def shows_no_object(photo: Photo, mask_format: MaskFormat) -> bool:
    """Whether the user said that a photo shows no object, or its mask is empty."""
    return photo.no_object or (photo.mask is not None and not read_mask(photo.mask, mask_format).any())


def describe_objects(checks: Sequence[ObjectCheck], preprocessing: Preprocessing, then: str = "") -> list[str]:
    """Return notes on photos without an object, the first of which ends with ``then``, and on objects outside the crop.

    Photos of which none has a mask get no notes; a set in which no photo shows an object is refused.
    """
    if not any(one.photo.mask is not None for one in checks):
        if any(one.photo.no_object for one in checks):
            raise UserError("expected masks of the classes other than --no-object, found none: give them with --masks")
        return []
    empty = [one.photo for one in checks if one.empty]
    if len(empty) == len(checks):
        raise UserError(
            f"expected photos with an object, but none of {pluralize(len(checks), 'photo')} has a mask with a pixel on "
            f"one, such as {empty[0].mask or empty[0].image}: check how the masks were saved"
        )
    notes = []
    if empty:
        notes.append(
            f"{len(empty)} of {pluralize(len(checks), 'photo')} show no object ({_count_by_class(checks)}): they count "
            "in ordinary accuracy and lend their backgrounds, and are left out where an object is needed."
            + (f" {then}" if then else "")
        )
        notes += _doubt_empty_masks(checks)
    if lost := [one.photo for one in checks if not one.empty and not one.seen]:
        height, width = preprocessing.input_size
        notes.append(
            f"In {len(lost)} of {pluralize(len(checks), 'photo')}, such as {short_place(lost[0].image)}, the whole "
            f"object lies outside the crop of {height} x {width} pixels that the model sees: they are left out where "
            "an object is needed. Crop these photos around the object to use them."
        )
    return notes


def note_objects(data: MaskedPhotos, notes: list[str]) -> None:
    """Read every photo and mask once, and note which show no object."""
    for line in describe_objects(check_objects(data), data.preprocessing):
        add_note(line, notes)


def _count_by_class(checks: Sequence[ObjectCheck]) -> str:
    """Return how many photos of each class show no object."""
    every = Counter(one.photo.class_name for one in checks)
    empty = Counter(one.photo.class_name for one in checks if one.empty)
    parts = [
        f"all {count} of class {name}" if count == every[name] else f"{count} of {every[name]} of class {name}"
        for name, count in sorted(empty.items(), key=lambda pair: str(pair[0]))
        if name is not None
    ]
    more = [f"and {len(parts) - _NAMED} more classes"] if len(parts) > _NAMED else []
    return ", ".join([*parts[:_NAMED], *more]) or "their masks are empty"


def _doubt_empty_masks(checks: Sequence[ObjectCheck]) -> list[str]:
    """Return a line on empty masks in classes whose other masks show objects: somebody may have forgotten to draw."""
    shown = {one.photo.class_name for one in checks if not one.empty}
    doubted = [one.photo for one in checks if one.empty and not one.photo.no_object and one.photo.class_name in shown]
    doubted = [photo for photo in doubted if photo.class_name is not None]
    if not doubted:
        return []
    return [
        f"{pluralize(len(doubted), 'mask')} of classes that have objects {'is' if len(doubted) == 1 else 'are'} empty, "
        f"such as {short_place(doubted[0].image)}: if the object was not drawn, draw it, or move these mask files "
        "elsewhere and leave the photos out with --skip-unmasked."
    ]
