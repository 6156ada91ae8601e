"""Files whose names in a list differ from those on the disk: composed otherwise, or changed by tools."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from robustvit.data.matching import compose, plain_ending, plain_form


def _plain(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return plain_form(stem) + plain_ending(ending)


class FileFinder:
    """Finds files by paths that other tools wrote.

    Args:
        letters_only: names may only differ in how their letters are composed.

    Attributes:
        notes: a line for each file whose name differs in more than that.
    """

    def __init__(self, letters_only: bool = False) -> None:
        self.notes: list[str] = []
        self._forms: list[Callable[[str], str]] = [compose] if letters_only else [compose, _plain]
        self._listed: dict[Path, list[dict[str, list[str]]]] = {}

    def find(self, path: Path) -> Path | None:
        """Return the file or folder at a path, else the only one whose name differs only as above, or None."""
        missing: list[str] = []
        place = path
        try:
            while not place.exists():
                if place.parent == place:
                    return None
                missing.append(place.name)
                place = place.parent
        except OSError:  # the name is too long
            return None
        for name in reversed(missing):
            entry = self._find_entry(place, name)
            if entry is None:
                return None
            place = place / entry
        return place

    def _find_entry(self, folder: Path, name: str) -> str | None:
        for form, names in zip(self._forms, self._names(folder), strict=True):
            if found := names.get(form(name)):
                if len(found) > 1:
                    return None
                if form is not compose:
                    self.notes.append(f"{folder / name} is taken for {found[0]}: a tool may have changed its name")
                return found[0]
        return None

    def _names(self, folder: Path) -> list[dict[str, list[str]]]:
        """Return the names in a folder by each of their forms."""
        if folder not in self._listed:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            self._listed[folder] = [defaultdict(list) for _ in self._forms]
            for form, table in zip(self._forms, self._listed[folder], strict=True):
                for name in names:
                    table[form(name)].append(name)
        return self._listed[folder]
