"""What all readers share: photos looked up by name, JSON files, objects decoded on demand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.wording import pluralize
from robustvit.data.folder_files import files_below
from robustvit.data.masks_beside import masks_beside
from robustvit.data.photo_names import Key, PhotoNames
from robustvit.data.read_photos import IMAGE_SUFFIXES
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.boxes import BoxedObject
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.category_names import is_no_object
from robustvit.masks.annotations.objects import AnnotatedObject, MarkedObject
from robustvit.masks.annotations.orientation import WAYS, View, upright_size

__all__ = [
    "AnnotatedObject",
    "AnnotatedPhoto",
    "Annotations",
    "BoxedObject",
    "BrokenEntry",
    "MarkedObject",
    "PhotoFolder",
    "load_json",
    "photo_with_objects",
    "settle_views",
    "upright_size",
]


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
        advice: what to do if categories have numbers but no names.
        root: the folder of the photos that masks mirror, if the reader found it.
        doubts: what must be asked, by the field of ``BoxReading`` that answers it.
        min_confidence: confidence below which detections do not count, if nobody says otherwise.
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


_LONGEST = 80


def settle_views(found: Annotations) -> Annotations:
    """Say which photos may have been annotated as their file holds them, if not upright.

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


class PhotoFolder:
    """The photos in a folder, flat or nested, looked up by their names in annotations."""

    def __init__(self, folder: Path | None) -> None:
        if folder is None:
            raise UserError("expected the folder of the annotated photos, none was named: give it with --images")
        self.folder = expect_folder(folder, "photos")
        self.photos = files_below(self.folder, IMAGE_SUFFIXES)
        if not self.photos:
            raise UserError(f"expected photos in {folder} or in folders in it, found none: check the path")
        self._names = PhotoNames(self.photos, self.folder)

    def separate(self, source: Path, masks: Mapping[str, Path]) -> dict[str, Path]:
        """Tell masks from photos where the folder of one lies in that of the other, or is the same.

        In one folder, masks are those that ``masks_beside`` finds.

        Args:
            source: folder of the masks.
            masks: files in it by their paths; photos that are among them are dropped from here.

        Returns:
            Those that are masks.
        """
        ours, theirs = self.folder.resolve(), source.resolve()
        if ours in theirs.parents:
            inner = theirs.relative_to(ours).as_posix()
            self._keep({place: path for place, path in self.photos.items() if not place.startswith(f"{inner}/")})
        if theirs in ours.parents:
            inner = ours.relative_to(theirs).as_posix()
            return {place: path for place, path in masks.items() if not place.startswith(f"{inner}/")}
        if ours != theirs:
            return dict(masks)
        beside = masks_beside(self.photos)
        marked = {place: path for place, path in masks.items() if place in beside}
        if not marked:
            raise UserError(
                f"expected masks and photos in two folders, both lie in {source} and no name tells them apart (as "
                "a_mask.png does, if it looks like a mask): move the masks to a folder of their own"
            )
        self._keep({place: path for place, path in self.photos.items() if place not in marked})
        return marked

    def leave_out(self, files: Collection[Path]) -> None:
        """Drop files that are not photos, such as masks that a list names."""
        others = {os.path.normpath(path) for path in files}
        self._keep({place: path for place, path in self.photos.items() if os.path.normpath(path) not in others})

    def _keep(self, photos: dict[str, Path]) -> None:
        if not photos:
            raise UserError(f"expected photos beside the masks in {self.folder}, found none: check the paths")
        self.photos, self._names = photos, PhotoNames(photos, self.folder)

    def match(
        self,
        wanted: Mapping[Key, str],
        problems: list[str],
        *,
        stem_only: bool = False,
        describe: Callable[[Key], str] = str,
    ) -> dict[Key, Path]:
        """Return the photo of each annotation, as ``PhotoNames.match`` finds it; the others become problem lines."""
        matches = self._names.match(wanted, stem_only, describe)
        problems.extend(f"{describe(key)}: {reason}" for key, reason in matches.lost.items())
        problems.extend(matches.notes)
        return {key: self.photos[place] for key, place in matches.found.items()}

    def report_lacking(self, found: Mapping[Key, Path], what: str, problems: list[str]) -> None:
        """Add a problem line on photos that no annotation has, which lack ``what``."""
        having = set(found.values())
        if lacking := [image for image in self.photos.values() if image not in having]:
            problems.append(f"{pluralize(len(lacking), 'photo')} without {what}, the first is {lacking[0]}")


def load_json(path: Path) -> object:
    """Read a JSON file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"expected a JSON file, found none at {path}: check the path") from error
    except IsADirectoryError as error:
        inner = next(iter(files_below(path, {".json"}).values()), None)
        raise UserError(f"expected a JSON file, got the folder {path}: name {inner or 'the file in it'}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except RecursionError as error:
        raise UserError(
            f"cannot read {path}: its JSON is nested too deeply for an annotation; export it again"
        ) from error
    except ValueError as error:
        reason = " ".join(str(error).split())[:_LONGEST]
        raise UserError(f"cannot read {path}: it is not valid JSON ({reason}); export it again") from error


def photo_with_objects(
    image: Path,
    decode: Callable[[list[str]], Sequence[MarkedObject]],
    problems: list[str],
    view: View,
    content: Callable[[], str],
    doubt: str = "",
) -> AnnotatedPhoto:
    """Return a photo whose objects are decoded on demand, without the background; complaints join ``problems`` once.

    Args:
        image: the photo.
        decode: returns its objects in the frame ``view``, and adds complaints to a list.
        problems: lines that the user sees.
        view: the frame in which the photo was annotated; masks are turned upright.
        content: see ``AnnotatedPhoto``.
        doubt: see ``AnnotatedPhoto``.
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

    return AnnotatedPhoto(image, read, content, view, doubt)
