"""The one rule by which an annotation, mask or row of a list finds its photo: by its name and its folders."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote

from robustvit.common.wording import pluralize, shown
from robustvit.data.read_photos import IMAGE_SUFFIXES

Key = TypeVar("Key", bound=Hashable)

_SHOWN = 3
# Folders that say what is in them, not which photo it is: train/labels/a.txt belongs to train/images/a.jpg.
_CONTAINERS = frozenset({"images", "labels", "masks", "annotations", "img", "ann", "jpegimages", "segmentationclass"})
_SAME_ENDING = {".jpeg": ".jpg", ".tiff": ".tif"}
# What tools add to the name of a photo: Label Studio's eight hexadecimal digits (but not a date), and words for masks.
_PREFIX = re.compile(r"^(?!(19|20)\d\d(0\d|1[0-2])[0-3]\d-)[0-9a-f]{8}-(?=.)|^(mask|seg)[_-](?=.)")
_SUFFIX = re.compile(
    r"(?<=.)[._-](masks?|seg|segmentation|gt|groundtruth|matte|alpha|labels?|annotation|gtfine_labelids)$"
)
_TASK = re.compile(r"task-\d+-annotation-\d+")
_PHOTO_SUFFIX = re.compile(r"(?<=.)[_-](image|img|photo|rgb|sat|leftimg8bit)$")


class Fit(IntEnum):
    """How well the name in an annotation fits a photo; a better fit goes first."""

    NONE = 0
    CHANGED = 1  # but for what tools change in names: case, %20, a prefix, a suffix, a second ending
    NAME = 2  # the name fits; the annotation names folders, the photo lies in none
    FOLDERS = 3  # all folders that both name are the same
    EXACT = 4


def compose(text: str) -> str:
    """Return a text with composed letters (NFC): macOS writes ü as u and two dots."""
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class Name:
    """The path of a photo, or what an annotation calls it; without an ending, any will do.

    Attributes:
        text: as written, with slashes.
        ending: its suffix, if it is one of photos.
    """

    text: str
    ending: str

    @classmethod
    def of(cls, text: str, stem_only: bool = False) -> Name:
        """Read a path; ``stem_only`` if it was given without the suffix of the photo."""
        if "?d=" in text:  # Label Studio: /data/local-files/?d=cat%2Fa.jpg
            text = unquote(text.rpartition("?d=")[2])
        text = text.replace("\\", "/")
        parts = [part for part in posixpath.normpath(text).split("/") if part not in ("", ".", "..")]
        clean = "/".join(parts)
        ending = "" if stem_only else posixpath.splitext(clean)[1]
        return cls(clean, ending if ending.lower() in IMAGE_SUFFIXES else "")

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """Its folders, but those that only say what is in them."""
        return tuple(part for part in compose(self.text).split("/")[:-1] if part.lower() not in _CONTAINERS)

    @cached_property
    def stem(self) -> str:
        """Its name without the ending."""
        return compose(posixpath.basename(self.text).removesuffix(self.ending))

    def changed(self, suffix: re.Pattern[str] = _SUFFIX) -> Iterator[tuple[str, str]]:
        """Yield plain forms of stem and ending: as they are, and without what tools add."""
        stem = plain_form(self.stem)
        bare = _PREFIX.sub("", stem)
        for form in dict.fromkeys([stem, bare, suffix.sub("", stem), suffix.sub("", bare)]):
            yield form, plain_ending(self.ending)
            inner, ending = posixpath.splitext(form)
            if ending in IMAGE_SUFFIXES:  # a.jpg.png
                yield inner, plain_ending(ending)


def plain_form(text: str) -> str:
    """Return a name without what tools change everywhere in it: case, percent signs, spaces and brackets."""
    text = compose(unquote(text)).casefold().replace(" ", "_")
    return re.sub(r"[^\w.\-\x00-\x1f]", "", text)


def plain_ending(ending: str) -> str:
    """Return a suffix in its common spelling."""
    return _SAME_ENDING.get(ending.lower(), ending.lower())


def match(annotation: Name, photo: Name, above: str = "") -> Fit:
    """Say how well an annotation fits a photo.

    Args:
        annotation: what the annotation calls its photo.
        photo: path of the photo in its folder.
        above: name of that folder, or of the next one that names more than what is in it.
    """
    if annotation.text == (photo.text if annotation.ending else photo.text.removesuffix(photo.ending)):
        return Fit.EXACT
    same_ending = not annotation.ending or annotation.ending == photo.ending
    if same_ending and annotation.stem == photo.stem and _agree(annotation.folders, photo.folders):
        beyond = annotation.folders if not photo.folders else ()
        return Fit.NAME if beyond and beyond[-1] != compose(above) else Fit.FOLDERS
    plain = tuple(map(plain_form, annotation.folders)), tuple(map(plain_form, photo.folders))
    if not _agree(*plain):
        return Fit.NONE
    forms = set(photo.changed(_PHOTO_SUFFIX))
    stems = {stem for stem, _ in forms}
    fits = any((stem, ending) in forms if ending else stem in stems for stem, ending in annotation.changed())
    return Fit.CHANGED if fits else Fit.NONE


def _agree(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    common = min(len(ours), len(theirs))
    return ours[len(ours) - common :] == theirs[len(theirs) - common :]


@dataclass(frozen=True)
class Matches(Generic[Key]):
    """Which annotation has which photo.

    Attributes:
        found: path of the photo in its folder, by annotation.
        lost: why an annotation has none.
        notes: lines on annotations whose names are not those of their photos.
    """

    found: dict[Key, str] = field(default_factory=dict)
    lost: dict[Key, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class PhotoNames:
    """The names of the photos in a folder, flat or nested, to match annotations with.

    Args:
        places: paths in the folder, with slashes.
        folder: the folder.
    """

    def __init__(self, places: Collection[str], folder: Path) -> None:
        self.folder = folder
        parts = [part for part in folder.resolve().parts if part.lower() not in _CONTAINERS]
        self._above = parts[-1] if parts else ""
        self._names = {place: Name.of(place) for place in places}
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for place, name in self._names.items():
            for stem in {name.stem, *(form for form, _ in name.changed(_PHOTO_SUFFIX))}:
                self._by_stem[stem].append(place)

    def match(
        self, wanted: Mapping[Key, str], stem_only: bool = False, describe: Callable[[Key], str] = str
    ) -> Matches[Key]:
        """Find the photo of each annotation.

        The best fit counts (``Fit``). Where several photos fit as well, or several annotations fit one photo as well,
        all of them are left out.

        Args:
            wanted: path or name of the photo, by annotation.
            stem_only: the names lack the photo's suffix.
            describe: returns the words for an annotation.
        """
        matches: Matches[Key] = Matches()
        claims: dict[Fit, dict[str, list[Key]]] = {fit: defaultdict(list) for fit in Fit}
        for key, text in wanted.items():
            fit, places = self._candidates(Name.of(text, stem_only))
            if len(places) == 1:
                claims[fit][places[0]].append(key)
            else:
                matches.lost[key] = self._complaint(text, places)
        taken: dict[str, Key] = {}
        for fit in sorted(Fit, reverse=True):
            for place, keys in claims[fit].items():
                self._settle(place, keys, taken, wanted, matches, describe)
        self._note(matches, claims, {key: describe(key) if stem_only else shown(text) for key, text in wanted.items()})
        return matches

    def _candidates(self, name: Name) -> tuple[Fit, list[str]]:
        """The photos with the best fit, and that fit."""
        stems = {name.stem, *(form for form, _ in name.changed())}
        places = dict.fromkeys(place for stem in sorted(stems) for place in self._by_stem.get(stem, ()))
        fits = {place: match(name, self._names[place], self._above) for place in places}
        best = max(fits.values(), default=Fit.NONE)
        return best, [place for place, fit in fits.items() if fit == best and fit > Fit.NONE]

    def _complaint(self, text: str, places: list[str]) -> str:
        if places:
            return f"several photos could be {shown(text)}: {places[0]} and {places[1]} in {self.folder}"
        near = self._by_stem.get(Name.of(text).stem)
        hint = f"; {near[0]} is another" if near else ""
        if _TASK.match(posixpath.basename(text)):
            hint = "; Label Studio names brush masks by their task, not by their photo: rename them"
        return f"no photo {shown(text)} in {self.folder}{hint}"

    def _settle(
        self,
        place: str,
        keys: list[Key],
        taken: dict[str, Key],
        wanted: Mapping[Key, str],
        matches: Matches[Key],
        describe: Callable[[Key], str],
    ) -> None:
        """Give a photo to the annotation that fits it best, or to none of several."""
        photo = self.folder / place
        if place in taken:
            for key in keys:
                owner = describe(taken[place])
                matches.lost[key] = f"no photo {shown(wanted[key])} in {self.folder}; {place} belongs to {owner}"
            return
        taken[place] = keys[0]
        if len(keys) == 1:
            matches.found[keys[0]] = place
        for key in keys if len(keys) > 1 else ():
            other = describe(next(one for one in keys if one != key))
            matches.lost[key] = f"{photo} is listed twice, also by {other}: left out, which one holds is unknown"

    def _note(
        self, matches: Matches[Key], claims: Mapping[Fit, Mapping[str, list[Key]]], words: Mapping[Key, str]
    ) -> None:
        reasons = {Fit.CHANGED: "found by a name that a tool may have changed", Fit.NAME: "found by the name alone"}
        for fit, reason in reasons.items():
            pairs = [(key, place) for place, keys in claims[fit].items() for key in keys if key in matches.found]
            if pairs:
                examples = ", ".join(f"{words[key]} is taken for {place}" for key, place in pairs[:_SHOWN])
                more = ", ..." if len(pairs) > _SHOWN else ""
                matches.notes.append(f"{pluralize(len(pairs), 'photo')} {reason}: {examples}{more}")


def adopt_masks(masks: dict[Key, Path], photos: Mapping[Key, str], images: Path, folder: Path) -> list[str]:
    """Give masks that belong to no photo as they are named to the photo that ``PhotoNames.match`` finds for them.

    Args:
        masks: masks by the keys that they share with photos; changed in place.
        photos: paths of the photos in their folder, by such keys.
        images: folder of the photos.
        folder: folder of the masks.

    Returns:
        A line on masks whose names are not those of their photos.
    """
    if not set(masks) - set(photos):
        return []
    keys = {place: key for key, place in photos.items()}
    wanted = {key: path.relative_to(folder).with_suffix("").as_posix() for key, path in masks.items()}
    matches = PhotoNames(keys, images).match(wanted, stem_only=True, describe=lambda key: str(masks[key]))
    for key, place in matches.found.items():
        if key not in photos:
            masks[keys[place]] = masks.pop(key)
    return matches.notes
