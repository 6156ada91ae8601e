"""Photos without an object: the classes named so, and classes of which no photo would be left."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import NoObject
from robustvit.common.wording import list_names, pluralize
from robustvit.data.mask_files import read_mask
from robustvit.data.matching import compose


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


def is_black(mask: Path | None) -> bool:
    """Whether a mask is empty; one that cannot be read is not."""
    try:
        return mask is not None and not read_mask(mask).any()
    except UserError:
        return False


def refuse_lost_classes(lost: Mapping[str, int], why: str, fix: str) -> None:
    """Refuse to go on if all photos of a class were left out.

    Args:
        lost: number of photos by class.
        why: by what they were left out.
        fix: what to do.
    """
    if lost:
        name, count = next(iter(sorted(lost.items())))
        others = sorted(lost)[1:]
        more = f" (and all of {', '.join(map(repr, others))})" if others else ""
        raise UserError(f"all {pluralize(count, 'photo')} of class {name!r}{more} would be left out {why}: {fix}")
