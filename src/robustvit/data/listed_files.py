"""Finding the files that a list of photos names."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import is_file
from robustvit.common.wording import pluralize
from robustvit.data.folder_files import files_below
from robustvit.data.matching import compose
from robustvit.data.read_photos import IMAGE_SUFFIXES

_LONGEST_SHOWN = 500
_BESIDE = ("", "images", "JPEGImages")  # folders of photos beside a folder of lists, as in Food-101 and VOC
_USUAL = ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


class ListedFiles:
    """Finds the files that a list names.

    A name is a path from the folder of the list, with slashes or backslashes. If nothing is there, it stands for the
    only photo below that folder whose path ends in the whole name, with or without the ending of the file, if need be
    in other capitals; or for a photo in a folder beside that of the list (``../images``). Paths of another machine,
    such as ``C:/data/cat/1.jpg``, are found if all of them lead to files once the same folders are taken off.

    Args:
        path: the list.
        folder: that names are relative to; default: that of the list.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path, self.folder = path, path.parent if folder is None else folder
        self.guessed: dict[str, str] = {}
        self.beside: dict[str, str] = {}
        self._moved = ""
        self._moved_count = 0

    def find(self, name: str) -> Path:
        """Return the file of a name."""
        if not name:
            raise UserError(f"{self.path} has a row without a photo: fill it in, or remove the row")
        if (direct := self._find_directly(name)) is not None:
            return direct
        found = self._find_below(name)
        if len(found) > 1:
            raise UserError(f"{self.path} names {name}, which may be {found[0]} or {found[1]}: name the folder, too")
        if found:
            self.guessed[name] = found[0]
            return self.folder / found[0]
        if (other := self._find_beside(name)) is not None:
            self.beside[name] = os.path.relpath(other, self.folder)
            return other
        raise UserError(
            f"{self.path} names {_cut(self.folder / name)}, which does not exist: paths are relative to the folder "
            "of the list"
        )

    def leads_to_one(self, name: str) -> bool:
        """Whether a name leads to exactly one file."""
        if not name or self._find_directly(name) is not None:
            return bool(name)
        return len(self._find_below(name)) == 1 or self._find_beside(name) is not None

    def learn_root(self, names: Sequence[str]) -> bool:
        """Find the folders of another machine that all names begin with; return whether that finds every file."""
        plain = [_slashes(name) for name in names]
        if not plain or not all(map(_is_absolute, plain)) or self._find_directly(names[0]) is not None:
            return False
        common = posixpath.dirname(posixpath.commonprefix(plain) if len(plain) > 1 else plain[0])
        ends = [match.end() for match in re.finditer("/", f"{common}/") if match.end()]
        for end in ends:
            if all(is_file(self.folder / name[end:]) for name in plain):
                self._moved, self._moved_count = plain[0][:end], len(plain)
                return True
        return False

    @property
    def notes(self) -> list[str]:
        """Lines on names that were not simply paths from the folder of the list."""
        where, notes = self.path.name, []
        if self._moved:
            notes.append(
                f"{where}: paths of another machine, {self._moved}: {pluralize(self._moved_count, 'file')} found in "
                "the folder of the list instead."
            )
        for found, place in ((self.guessed, "the folders below it"), (self.beside, "the folders beside it")):
            if found:
                one, is_here = next(iter(found.items()))
                notes.append(f"{where}: {len(found)} names were looked for in {place} ({one} is {is_here}).")
        return notes

    def _find_directly(self, name: str) -> Path | None:
        plain = _slashes(name)
        forms = [name, plain]
        if self._moved and plain.startswith(self._moved):
            forms.append(plain[len(self._moved) :])
        return next((self.folder / form for form in dict.fromkeys(forms) if is_file(self.folder / form)), None)

    def _find_below(self, name: str) -> list[str]:
        """Return the photos whose paths end in a name; those in other capitals only if there is no other."""
        place = compose(posixpath.normpath(_slashes(name)))
        if place.startswith("..") or _is_absolute(place):
            return []  # a path of another machine: its folders contradict those here
        fits = self._by_end.get(place.casefold(), [])
        exact = [inside for inside in fits if any(end == place for end in _list_ends(compose(inside)))]
        return exact or fits

    def _find_beside(self, name: str) -> Path | None:
        """Return the photo of a name in a folder beside that of the list, or that above it."""
        plain = _slashes(name)
        if not self.folder.name or _is_absolute(plain):
            return None
        places = product((self.folder.parent, self.folder.parent.parent), _BESIDE, _USUAL)
        files = (above / inner / f"{plain}{ending}" for above, inner, ending in places)
        return next(filter(is_file, files), None)

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        """Photos below the folder by all ends of their paths, without regard to capitals."""
        found: dict[str, list[str]] = {}
        for inside in files_below(self.folder, IMAGE_SUFFIXES):
            for end in {end.casefold() for end in _list_ends(compose(inside))}:
                found.setdefault(end, []).append(inside)
        return found


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _is_absolute(plain: str) -> bool:
    """Whether a path with slashes begins at a root or at a drive of Windows."""
    return plain.startswith("/") or plain[1:2] == ":"


def _list_ends(inside: str) -> list[str]:
    """Return what a path may be called: a/b.jpg, a/b, b.jpg and b."""
    parts = inside.split("/")
    whole = ["/".join(parts[start:]) for start in range(len(parts))]
    return whole + [posixpath.splitext(end)[0] for end in whole]


def _cut(path: Path) -> str:
    return str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."
