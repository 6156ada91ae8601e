"""Photos of a class without an object, where others of that class have one: they may not be annotated yet."""

from __future__ import annotations

from collections.abc import Collection

from robustvit.common.wording import pluralize
from robustvit.masks.annotations.category_names import is_no_object
from robustvit.masks.annotations.listing import AnnotatedPhoto

_SHOWN = 5


def leave_out_unmarked(
    photos: list[AnnotatedPhoto], with_objects: Collection[str], problems: list[str]
) -> list[AnnotatedPhoto]:
    """Return photos without those that have no object, but a class that has objects elsewhere.

    A class without any object, such as "No finding", says that its photos show none; "cat" does not.

    Args:
        photos: all of a data set.
        with_objects: classes of its objects.
        problems: gets a line that counts and names what is left out.
    """
    marked = {name for name in with_objects if not is_no_object(name)}
    left_out = [photo for photo in photos if photo.label in marked]
    if not left_out:
        return photos
    classes = sorted({str(photo.label) for photo in left_out})
    more = ", ..." if len(classes) > _SHOWN else ""
    problems.append(
        f"{pluralize(len(left_out), 'photo')} without a box or mask, but of a class that has objects elsewhere "
        f"({', '.join(classes[:_SHOWN])}{more}): left out, as they may not be annotated yet; the first is "
        f"{left_out[0].image}. Give photos without an object a class of their own"
    )
    return [photo for photo in photos if photo.label not in marked]
