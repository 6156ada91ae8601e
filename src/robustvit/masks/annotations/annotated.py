"""Annotations as they were read: photos, with a way to decode the objects of each on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from robustvit.common.errors import UserError
from robustvit.common.wording import pluralize
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.category_names import is_no_object
from robustvit.masks.annotations.objects import AnnotatedObject, MarkedObject
from robustvit.masks.annotations.orientation import WAYS, View

_SHOWN = 5


class ReadObjects(Protocol):
    """Reads the objects of a photo, none if its annotation says so; raises UserError if the annotation is broken."""

    def __call__(self, *, boxes: BoxReading | None = None) -> list[AnnotatedObject]: ...


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo and a way to read its objects, which may be large, on demand.

    Attributes:
        image: the photo, a file that exists.
        read: reads the objects; boxes become masks as its argument says, by default ellipses.
        content: returns a text that changes with the annotation of this photo.
        view: the frame in which it was annotated.
        doubt: why its mask is doubtful, if it is.
        label: class of a photo without an object, if the annotation gives it one.
    """

    image: Path
    read: ReadObjects
    content: Callable[[], str]
    view: View
    doubt: str = ""
    label: str | None = None


@dataclass(frozen=True)
class Annotations:
    """An annotation file or folder that was read.

    Attributes:
        photos: existing photos with annotations, sorted by path.
        problems: one line for each annotation without its image, clash of names, broken entry, and the like.
        categories: all named categories.
        advice: how to name categories that have only numbers; empty if they have names.
        root: the folder of the photos that masks mirror, if the reader found it.
        doubts: questions to the user, by the field of ``BoxReading`` that answers them.
        min_confidence: confidence below which detections do not count, unless the user sets another.
    """

    photos: list[AnnotatedPhoto]
    problems: list[str]
    categories: tuple[str, ...] = ()
    advice: str = ""
    root: Path | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)
    min_confidence: float = 0.0

    def __iter__(self) -> Iterator[AnnotatedPhoto]:
        return iter(self.photos)


def settle_views(found: Annotations) -> Annotations:
    """Report photos that may have been annotated as stored in their file, and not upright.

    The size of one photo that was annotated upright shows how the tool sees them all.
    """
    doubtful = [photo for photo in found if photo.view.doubtful]
    if not doubtful:
        return found
    if any(photo.view.proves for photo in found):
        sure = [replace(photo, view=replace(photo.view, doubtful=False)) for photo in found]
        return replace(found, photos=sure)
    found.problems.append(
        f"{pluralize(len(doubtful), 'photo')} with an EXIF tag that turns or flips them, the first is "
        f"{doubtful[0].image}: the annotation fits both ways, so their masks are doubtful; say {WAYS}"
    )
    return found


def leave_out_unmarked(
    photos: list[AnnotatedPhoto], with_objects: Collection[str], problems: list[str]
) -> list[AnnotatedPhoto]:
    """Leave out photos without an object whose class has objects elsewhere; return the others.

    A class without any object, such as "No finding", says that its photos show none; "cat" does not. ``with_objects``
    are the classes of all objects of the data set.
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


def photo_with_objects(
    image: Path,
    decode: Callable[[list[str]], Sequence[MarkedObject]],
    problems: list[str],
    view: View,
    content: Callable[[], str],
) -> AnnotatedPhoto:
    """Return a photo whose objects are decoded on demand, without the background, and turned upright.

    ``decode`` returns the objects in the frame ``view``, and adds complaints to a list; they join ``problems`` once.
    """
    told = False

    def read(*, boxes: BoxReading | None = None) -> list[AnnotatedObject]:
        nonlocal told
        complaints: list[str] = []
        marked = decode(complaints)
        wanted = [one for one in marked if not is_no_object(one.category)]
        objects = (boxes or BoxReading()).read(image, wanted, view, complaints)
        if not told:
            problems.extend(complaints)
            told = True
        if marked and not wanted:
            complaints.append(f"{marked[0].category!r} is not an object")
        if not objects and complaints:
            raise UserError(
                f"expected an object in {image}, none could be read ({complaints[0]}): correct it or leave it out"
            )
        return objects

    return AnnotatedPhoto(image, read, content, view)
