"""Finding the files that a list of photos names."""

from __future__ import annotations

import posixpath
from functools import cached_property
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.matching import compose
from robustvit.data.photo_tree import files_below
from robustvit.data.read_photos import IMAGE_SUFFIXES

_LONGEST_SHOWN = 500


class ListedFiles:
    """Finds the files that a list names.

    A name is a path from the folder of the list, with slashes or backslashes. If nothing is there, it is the only photo
    below that folder whose path ends in all of the name, with or without the ending of the file, if need be in other
    capitals.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        self.guessed: dict[str, str] = {}

    def find(self, name: str) -> Path:
        """Return the file of a name."""
        if not name:
            raise UserError(f"{self.path} has a row without a photo: fill it in, or remove the row")
        if (direct := self._direct(name)) is not None:
            return direct
        found = self._below(name)
        if len(found) > 1:
            raise UserError(f"{self.path} names {name}, which may be {found[0]} or {found[1]}: name the folder, too")
        if not found:
            raise UserError(
                f"{self.path} names {_cut(self.folder / name)}, which does not exist: paths are relative to the folder "
                "of the list"
            )
        self.guessed[name] = found[0]
        return self.folder / found[0]

    def leads_to_one(self, name: str) -> bool:
        """Whether a name leads to exactly one file."""
        return bool(name) and (self._direct(name) is not None or len(self._below(name)) == 1)

    def _direct(self, name: str) -> Path | None:
        for spelled in dict.fromkeys([name, name.replace("\\", "/")]):
            if _is_file(self.folder / spelled):
                return self.folder / spelled
        return None

    def _below(self, name: str) -> list[str]:
        """Return the photos whose paths end in a name; those in other capitals only if there is no other."""
        place = compose(posixpath.normpath(name.replace("\\", "/")))
        if place.startswith(("/", "..")) or place[1:2] == ":":
            return []  # a path of another machine: its folders contradict those here
        fits = self._by_end.get(place.casefold(), [])
        exact = [inside for inside in fits if any(end == place for end in _ends(compose(inside)))]
        return exact or fits

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        """Photos below the folder by all ends of their paths, without regard to capitals."""
        found: dict[str, list[str]] = {}
        for inside in files_below(self.folder, IMAGE_SUFFIXES):
            for end in {end.casefold() for end in _ends(compose(inside))}:
                found.setdefault(end, []).append(inside)
        return found


def _ends(inside: str) -> list[str]:
    """Return what a path may be called: a/b.jpg, a/b, b.jpg and b."""
    parts = inside.split("/")
    whole = ["/".join(parts[start:]) for start in range(len(parts))]
    return whole + [posixpath.splitext(end)[0] for end in whole]


def _cut(path: Path) -> str:
    return str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long, or holds a null
        return False
