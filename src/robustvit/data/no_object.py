"""Photos without an object: the classes named so, and classes of which no photo would be left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import NoObject
from robustvit.common.wording import pluralize
from robustvit.data.mask_files import read_mask
from robustvit.data.matching import compose

if TYPE_CHECKING:
    from robustvit.data.find_photos import Photo


def split_names(given: NoObject | None) -> list[str]:
    """Return the names of classes; ``ok,healthy`` is two of them."""
    names = given.split(",") if isinstance(given, str) else given or []
    return [compose(str(name).strip()) for name in names if str(name).strip()]


def check_no_object(given: NoObject | None, classes: Collection[str | None]) -> None:
    """Refuse names in ``--no-object`` that are no classes, and all classes at once."""
    known = sorted({compose(name) for name in classes if name is not None})
    names = split_names(given)
    if names and not known:
        raise UserError(f"expected class folders for --no-object {','.join(names)}, found photos without classes")
    for name in names:
        expect_one_of("--no-object", name, known)
    if names and set(names) == set(known):
        raise UserError(f"expected a class with objects beside --no-object {','.join(names)}, found none: name fewer")


def is_named(class_name: str | None, names: Collection[str]) -> bool:
    """Whether a class is among those of ``split_names``."""
    return class_name is not None and compose(class_name) in names


def mark_no_object(photos: Sequence[Photo], given: NoObject | None, notes: list[str]) -> list[Photo]:
    """Say of photos of the named classes that they show no object; a line tells how many masks are not used then."""
    names = set(split_names(given))
    named = [is_named(photo.class_name, names) for photo in photos]
    masked = [photo for photo, yes in zip(photos, named, strict=True) if yes and photo.mask is not None]
    unused = [photo for photo in masked if not _is_black(photo.mask)]
    if unused:
        classes = ",".join(sorted({str(photo.class_name) for photo in unused}))
        notes.append(
            f"{pluralize(len(unused), 'mask')} of class {classes} not used: --no-object says nothing is there."
        )
    return [
        replace(photo, mask=None, no_object=True) if yes else photo for photo, yes in zip(photos, named, strict=True)
    ]


def _is_black(mask: Path | None) -> bool:
    try:
        return mask is not None and not read_mask(mask).any()
    except UserError:
        return False


def refuse_lost_classes(lost: Mapping[str, int], why: str, fix: str) -> None:
    """Refuse to go on without classes all of whose photos were left out.

    Args:
        lost: number of photos by class.
        why: by what they were left out.
        fix: what to do.
    """
    if lost:
        name, count = next(iter(sorted(lost.items())))
        more = f" (and of {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise UserError(f"all {pluralize(count, 'photo')} of class {name!r}{more} would be left out {why}: {fix}")


def lost_classes(before: Sequence[Photo], after: Sequence[Photo]) -> dict[str, int]:
    """Return the classes of which no photo is left, and how many they had."""
    left = {photo.class_name for photo in after}
    gone = [str(photo.class_name) for photo in before if photo.class_name not in left]
    return {name: gone.count(name) for name in dict.fromkeys(gone)}
