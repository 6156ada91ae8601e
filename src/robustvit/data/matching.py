"""How an annotation, a mask or a row of a list finds its photo: by its name and its folders."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from urllib.parse import unquote

from robustvit.data.read_photos import IMAGE_SUFFIXES

# Folders that say what is in them, not which photo it is: train/labels/a.txt belongs to train/images/a.jpg.
CONTAINERS = frozenset({"images", "labels", "masks", "annotations", "img", "ann", "jpegimages", "segmentationclass"})
_SAME_ENDING = {".jpeg": ".jpg", ".tiff": ".tif"}
# What tools add to the name of a photo: Label Studio's eight hexadecimal digits (but not a date), and words for masks.
_MASK_PREFIX = re.compile(r"^(mask|seg)[_-](?=.)")
_PREFIX = re.compile(r"^(?!(19|20)\d\d(0\d|1[0-2])[0-3]\d-)[0-9a-f]{8}-(?=.)|" + _MASK_PREFIX.pattern)
_SUFFIX = re.compile(
    r"(?<=.)[._-](masks?|seg|segmentation|gt|groundtruth|matte|alpha|labels?|annotation|gtfine_labelids)$"
)
_NUMBERED = re.compile(r"(?<=.)([._-]masks?)[._-]?\d{1,3}$", re.IGNORECASE)  # a_mask_1: one of several masks of a photo
_PHOTO_SUFFIX = re.compile(r"(?<=.)[_-](image|img|photo|rgb|sat|leftimg8bit)$")


class Fit(IntEnum):
    """How well the name in an annotation fits a photo; the best fit counts."""

    NONE = 0
    CHANGED = 1  # equal except for what tools change: case, %20, a prefix, a suffix, a second ending
    NAME = 2  # the name fits; the annotation names folders, the photo lies in none
    FOLDERS = 3  # all folders that both name are the same
    EXACT = 4


def without_mark(stem: str) -> str | None:
    """Return the plain form of a name without the word for a mask, ``a`` of ``a_mask``; None if it has no such word."""
    plain = plain_form(stem)
    bare = _MASK_PREFIX.sub("", _SUFFIX.sub("", _NUMBERED.sub(r"\1", plain)))
    return None if bare == plain else bare


def without_photo_word(stem: str) -> str:
    """Return the plain form of a photo's name without the word for a photo: ``a`` of ``a_sat``."""
    return _PHOTO_SUFFIX.sub("", plain_form(stem))


def without_number(stem: str) -> str | None:
    """Return the name of a mask without its number, ``a_mask`` of ``a_mask_1``; None if it has no number."""
    bare = _NUMBERED.sub(r"\1", stem)
    return None if bare == stem else bare


def compose(text: str) -> str:
    """Return a text with composed letters (NFC): macOS writes ü as u and two dots."""
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class Name:
    """The path of a photo, or its name in an annotation; without an ending it stands for any ending.

    Attributes:
        text: as written, with slashes.
        ending: its suffix, if it is one of photos.
    """

    text: str
    ending: str

    @classmethod
    def of(cls, text: str, stem_only: bool = False) -> Name:
        """Read a path, with ``stem_only`` one without the suffix of the photo."""
        if "?d=" in text:  # Label Studio: /data/local-files/?d=cat%2Fa.jpg
            text = unquote(text.rpartition("?d=")[2])
        text = text.replace("\\", "/")
        parts = [part for part in posixpath.normpath(text).split("/") if part not in ("", ".", "..")]
        clean = "/".join(parts)
        ending = "" if stem_only else posixpath.splitext(clean)[1]
        return cls(clean, ending if ending.lower() in IMAGE_SUFFIXES else "")

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """Its folders, without those that only say what they hold."""
        return tuple(part for part in compose(self.text).split("/")[:-1] if part.lower() not in CONTAINERS)

    @cached_property
    def stem(self) -> str:
        """Its name without the ending."""
        return compose(posixpath.basename(self.text).removesuffix(self.ending))

    def changed(self, is_photo: bool = False) -> Iterator[tuple[str, str]]:
        """Yield plain forms of stem and ending: as they are, and without additions of tools."""
        suffix = _PHOTO_SUFFIX if is_photo else _SUFFIX
        stem = plain_form(self.stem)
        bare = _PREFIX.sub("", stem)
        for form in dict.fromkeys([stem, bare, suffix.sub("", stem), suffix.sub("", bare)]):
            yield form, plain_ending(self.ending)
            inner, ending = posixpath.splitext(form)
            if ending in IMAGE_SUFFIXES:  # a.jpg.png
                yield inner, plain_ending(ending)

    def plain_parts(self, is_photo: bool = False) -> tuple[tuple[str, ...], list[str]]:
        """Return its folders, and its possible stems, in the forms that tools leave alone."""
        stems = dict.fromkeys(stem for stem, _ in self.changed(is_photo))
        return tuple(map(plain_form, self.folders)), list(stems)


def plain_form(text: str) -> str:
    """Return a name in a form that is the same whatever tools change: case, percent signs, spaces and brackets."""
    text = compose(unquote(text)).casefold().replace(" ", "_")
    return re.sub(r"[^\w.\-\x00-\x1f]", "", text)


def plain_ending(ending: str) -> str:
    """Return a suffix in its common spelling."""
    return _SAME_ENDING.get(ending.lower(), ending.lower())


def match(annotation: Name, photo: Name, above: str = "") -> Fit:
    """Return how well the name of a photo in an annotation fits the path of a photo in its folder.

    ``above`` is the name of that folder, or of the nearest folder above it that is not in ``CONTAINERS``.
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
    forms = set(photo.changed(is_photo=True))
    stems = {stem for stem, _ in forms}
    fits = any((stem, ending) in forms if ending else stem in stems for stem, ending in annotation.changed())
    return Fit.CHANGED if fits else Fit.NONE


def _agree(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    common = min(len(ours), len(theirs))
    return ours[len(ours) - common :] == theirs[len(theirs) - common :]
