"""Photos without an object: the classes named so, and classes of which no photo would be left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import NoObject
from robustvit.common.wording import list_names, pluralize
from robustvit.data.mask_files import read_mask
from robustvit.data.matching import compose
from robustvit.data.photo import Photo


def split_names(given: NoObject | None) -> list[str]:
    """Return the names of classes; ``ok,healthy`` is two of them."""
    return list(map(compose, list_names(given)))


def check_no_object(given: NoObject | None, classes: Collection[str | None]) -> None:
    """Refuse names in ``--no-object`` that are not classes, and all classes at once."""
    known = sorted({compose(name) for name in classes if name is not None})
    names = split_names(given)
    if names and not known:
        raise UserError(f"expected class folders for --no-object {','.join(names)}, found photos without classes")
    for name in names:
        expect_one_of("--no-object", name, known)
    if names and set(names) == set(known):
        raise UserError(f"expected a class with objects besides --no-object {','.join(names)}, found none: name fewer")


def is_named(class_name: str | None, names: Collection[str]) -> bool:
    """Whether a class is among those of ``split_names``."""
    return class_name is not None and compose(class_name) in names


def _is_black(mask: Path) -> bool:
    """Whether a mask is empty; a mask that cannot be read is not."""
    try:
        return not read_mask(mask).any()
    except UserError:
        return False


def mark_no_object(photos: Sequence[Photo], given: NoObject | None, notes: list[str]) -> list[Photo]:
    """Mark photos of the named classes as showing no object; a note counts the masks that are then not used."""
    names = split_names(given)
    named = [photo for photo in photos if is_named(photo.class_name, names)]
    if unused := [photo for photo in named if photo.mask is not None and not _is_black(photo.mask)]:
        classes = ",".join(sorted({str(photo.class_name) for photo in unused}))
        notes.append(
            f"{pluralize(len(unused), 'mask')} of class {classes} not used: --no-object says nothing is there."
        )
    return [
        replace(photo, mask=None, no_object=True) if is_named(photo.class_name, names) else photo for photo in photos
    ]


def refuse_lost_classes(lost: Mapping[str, int], why: str, fix: str) -> None:
    """Refuse to leave out all photos of a class; ``lost`` has the number of photos by class, if there are any."""
    if lost:
        name, *others = sorted(lost)
        count = lost[name]
        more = f" (and all of {', '.join(map(repr, others))})" if others else ""
        raise UserError(f"all {pluralize(count, 'photo')} of class {name!r}{more} would be left out {why}: {fix}")
