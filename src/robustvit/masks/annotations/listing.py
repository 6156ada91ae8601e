"""What all readers share: photos looked up by name, sizes from headers, objects decoded on demand."""

from __future__ import annotations

import json
import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.data.photo_tree import files_below
from robustvit.data.read_photos import IMAGE_SUFFIXES, open_header


@dataclass(frozen=True)
class AnnotatedObject:
    """One object marked in a photo.

    Attributes:
        category: its class as in the annotation; None if the format has no classes.
        mask: float32 ``(H, W)`` in [0, 1], in the photo's size.
    """

    category: str | None
    mask: np.ndarray


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo and a way to read its objects, which may be large, on demand.

    Attributes:
        image: the photo, a file that exists.
        read: reads the objects, at least one; raises UserError if an annotation is broken.
    """

    image: Path
    read: Callable[[], list[AnnotatedObject]]


@dataclass(frozen=True)
class Annotations:
    """An annotation file or folder that was read.

    Attributes:
        photos: existing photos with annotations, sorted by path.
        problems: one line for each annotation without its image, clash of names, broken entry, and the like.
        categories: all named categories.
        advice: what to do if categories have numbers but no names.
    """

    photos: list[AnnotatedPhoto]
    problems: list[str]
    categories: tuple[str, ...] = ()
    advice: str = ""

    def __iter__(self) -> Iterator[AnnotatedPhoto]:
        return iter(self.photos)


_LYING = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_LONGEST = 80


class BrokenEntry(ValueError):
    """A part of an annotation that must be left out; the message ends a problem line."""


def shown(value: object) -> str:
    """Show a value from a foreign file as short text on one line."""
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, int) and abs(value) > 10**_LONGEST:
        text = "a huge number"  # Python refuses to print numbers of thousands of digits
    elif value is None or isinstance(value, (int, float)):
        text = str(value)
    else:
        text = f"a {type(value).__name__}"  # printing a deep or huge one could fail itself
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class PhotoFolder:
    """The photos in a folder, flat or nested, looked up by their names in annotations."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = expect_folder(folder, "photos")
        self.photos = files_below(self.folder, IMAGE_SUFFIXES)
        if not self.photos:
            raise UserError(f"expected photos in {folder} or in folders in it, found none: check the path")
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_key: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for place in self.photos:
            self._by_name[posixpath.basename(place)].append(place)
            self._by_key[posixpath.splitext(place)[0]].append(place)
            self._by_stem[posixpath.splitext(posixpath.basename(place))[0]].append(place)

    def named(self, file_name: str) -> Path:
        """Return the photo of that path in the folder, else the only photo of that base name anywhere in it.

        Raises:
            BrokenEntry: there is none, or several.
        """
        place = posixpath.normpath(file_name.replace("\\", "/"))
        if place in self.photos:
            return self.photos[place]
        return self._only(self._by_name.get(posixpath.basename(place), []), file_name)

    def matching(self, key: str) -> Path:
        """Return the photo of that path without suffix; if it or the photo lies in no inner folder, the stem is enough.

        Raises:
            BrokenEntry: there is none, or several.
        """
        if key in self._by_key:
            return self._only(self._by_key[key], key)
        # train/a must not find val/a, nor cat/a find dog/a
        same = self._by_stem.get(posixpath.basename(key), [])
        return self._only([place for place in same if "/" not in key or "/" not in place], key)

    def _only(self, places: list[str], name: str) -> Path:
        if not places:
            raise BrokenEntry(f"no photo {shown(name)} in {self.folder}")
        if len(places) > 1:
            raise BrokenEntry(f"several photos could be {shown(name)}: {places[0]} and {places[1]} in {self.folder}")
        return self.photos[places[0]]


class Claims:
    """Which annotation each photo belongs to, to notice a second one."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def __contains__(self, image: Path) -> bool:
        return os.path.realpath(image) in self._owners

    def take(self, image: Path, owner: str) -> None:
        """Assign a photo to an annotation.

        Raises:
            BrokenEntry: another one has it.
        """
        first = self._owners.setdefault(os.path.realpath(image), owner)
        if first != owner:
            raise BrokenEntry(f"{image} is listed twice: {first} has it already, {owner} is left out")


def upright_size(path: Path) -> tuple[int, int]:
    """Return height and width after the EXIF rotation, from the header alone."""
    with open_header(path) as image:
        width, height = image.size
        orientation = 1
        # Pillow decodes a PNG whole to look for EXIF behind the pixels, where hardly any tool writes it
        if image.format != "PNG" or {"exif", "Raw profile type exif", "XML:com.adobe.xmp"} & set(image.info):
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return (width, height) if orientation in _LYING else (height, width)


def load_json(path: Path) -> object:
    """Read a JSON file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"expected a JSON file, found none at {path}: check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"expected a JSON file, got the folder {path}: name the file in it") from error
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
    image: Path, decode: Callable[[list[str]], list[AnnotatedObject]], problems: list[str]
) -> AnnotatedPhoto:
    """Return a photo whose objects are decoded on demand; complaints join ``problems`` once."""
    told = False

    def read() -> list[AnnotatedObject]:
        nonlocal told
        complaints: list[str] = []
        objects = decode(complaints)
        if not told:
            problems.extend(complaints)
            told = True
        if not objects:
            reason = f" ({complaints[0]})" if complaints else ""
            raise UserError(f"expected an object in {image}, none could be read{reason}: correct it or leave it out")
        return objects

    return AnnotatedPhoto(image, read)
