"""Photos and the areas marked in them, as most tools list them; drawn on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.ids import whole_number
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    AnnotatedPhoto,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    photo_with_objects,
)
from robustvit.masks.annotations.no_box_yet import leave_out_unmarked
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.outlines import Frame, mask_tools
from robustvit.masks.annotations.shapes import Box

Key = TypeVar("Key", str, int, Path)


@dataclass(frozen=True)
class MarkedArea:
    """An area marked in a photo.

    Attributes:
        category: its class; None if the format has none.
        draw: returns its mask in a frame, float32 ``(H, W)`` in [0, 1], or its box; raises BrokenEntry.
        where: words for it in a complaint, such as ``polygon 3``.
    """

    category: str | None
    draw: Callable[[Frame], np.ndarray | Box]
    where: str


@dataclass(frozen=True)
class MarkedPhoto:
    """A photo as an annotation lists it.

    Attributes:
        name: its path or name there.
        size: height and width there, of any type; None if it says nothing.
        areas: what is marked in it.
        content: returns a text that changes with its annotation.
        doubt: why its mask would be doubtful, if it is.
        nothing: whether the annotation says that there is no object, if it marks none.
        label: the class that it gives to such a photo, if it does.
    """

    name: str
    size: tuple[object, object] | None
    areas: list[MarkedArea]
    content: Callable[[], str]
    doubt: str = ""
    nothing: bool = False
    label: str | None = None


def list_marked(
    marked: Mapping[Key, MarkedPhoto],
    folder: PhotoFolder,
    source: Path,
    orientation: Orientation | None,
    problems: list[str],
    *,
    stem_only: bool = False,
    categories: tuple[str, ...] | None = None,
    advice: str = "",
) -> Annotations:
    """List the photos that lie in a folder, with their objects.

    Args:
        marked: photos by what to call them in a complaint.
        folder: where the photos lie.
        source: the annotations.
        orientation: see ``read_annotations``.
        problems: lines that the user sees; others are added.
        stem_only: the names lack the photos' endings.
        categories: names of all categories; None takes those of the areas, and of photos that show no object.
        advice: see ``Annotations``.
    """
    mask_tools()
    found = folder.match({key: one.name for key, one in marked.items()}, problems, stem_only=stem_only)
    photos: list[AnnotatedPhoto] = []
    empty: list[Path] = []
    for key, image in found.items():
        one = marked[key]
        if not one.areas and not one.nothing:
            empty.append(image)
            continue
        try:
            view = view_photo(image, _plain_size(one.size), orientation)
        except (BrokenEntry, UserError) as error:
            problems.append(f"{key}: {error}; left out")
            continue
        decode = partial(_draw, image, view, one.areas)
        photo = photo_with_objects(image, decode, problems, view, one.content, one.doubt)
        photos.append(replace(photo, label=None if one.areas else one.label))
    if empty:
        problems.append(
            f"{pluralize(len(empty), 'photo')} of {source} without a usable annotation, the first is {min(empty)}"
        )
    named = dict.fromkeys(area.category for one in marked.values() for area in one.areas if area.category)
    photos = sorted(leave_out_unmarked(photos, named, problems), key=lambda photo: photo.image)
    if categories is None:
        categories = tuple(named | dict.fromkeys(photo.label for photo in photos if photo.label))
    return Annotations(photos, problems, categories, advice, folder.folder)


def _plain_size(size: tuple[object, object] | None) -> tuple[object, object] | None:
    if size is None or size in ((None, None), (0, 0)):
        return None
    height, width = (whole_number(int(one) if isinstance(one, str) and one.isdecimal() else one) for one in size)
    return (height, width) if height is not None and width is not None else size


def _draw(image: Path, view: View, areas: list[MarkedArea], complaints: list[str]) -> list[MarkedObject]:
    frame = Frame(*view.size)
    objects: list[MarkedObject] = []
    for area in areas:
        try:
            drawn = area.draw(frame)
            if isinstance(drawn, Box):
                objects.append(
                    BoxedObject(
                        area.category, (drawn.left, drawn.top, drawn.right, drawn.bottom), f"{image}: {area.where}"
                    )
                )
            else:
                objects.append(AnnotatedObject(area.category, drawn))
        except BrokenEntry as error:
            complaints.append(f"{image}: {area.where}: {error}; left out")
    if complaint := frame.complaint():
        complaints.append(f"{image}: {complaint}")
    return objects


def find_photo_folder(images: Path | None, *places: Path) -> PhotoFolder:
    """Return the named folder of photos, else the first of some places that is a folder with photos."""
    if images is not None:
        return PhotoFolder(images)
    for place in places:
        if place.is_dir():
            try:
                return PhotoFolder(place)
            except UserError:
                continue
    looked = ", ".join(map(str, places))
    raise UserError(f"expected the annotated photos in {looked}, found none: name their folder with --images")


def note_no_areas(kinds: Mapping[str, int], source: Path, problems: list[str]) -> None:
    """Add a line on shapes that mark no area, counted by kind."""
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        problems.append(f"{source}: shapes that mark no area are left out: {listed}")


def name_category(name: object) -> str | None:
    """Return the name of a category, None if there is none; refuse what is not a name."""
    if name is None or name == "":
        return None
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        raise BrokenEntry("a category that is not a name")
    return str(name)
