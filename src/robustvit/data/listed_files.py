"""Finding the files that a list of photos names."""

from __future__ import annotations

import posixpath
from functools import cached_property
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.photo_tree import files_below, same_letters
from robustvit.data.read_photos import IMAGE_SUFFIXES

_LONGEST_SHOWN = 500


class ListedFiles:
    """Finds the files that a list names.

    A name is a path from the folder of the list, with slashes or backslashes. If nothing is there, it is the only photo
    below that folder whose path ends in all of the name, with or without the ending of the file.
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
        place = same_letters(posixpath.normpath(name.replace("\\", "/")))
        if place.startswith(("/", "..")) or place[1:2] == ":":
            return []  # a path of another machine: its folders contradict those here
        tail = place.split("/")
        fits = [whole for whole in self._index.get(tail[-1], []) if whole.split("/")[-len(tail) :][:-1] == tail[:-1]]
        return sorted({self._places[whole] for whole in fits})

    @cached_property
    def _places(self) -> dict[str, str]:
        return {same_letters(inside): inside for inside in files_below(self.folder, IMAGE_SUFFIXES)}

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for inside in self._places:
            name = posixpath.basename(inside)
            for key in {name, posixpath.splitext(name)[0]}:
                found.setdefault(key, []).append(inside)
        return found


def _cut(path: Path) -> str:
    return str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long, or holds a null
        return False
