"""Which group a photo is from: columns of a list, or a pattern of the folders that it lies in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.matching import compose

_FIELD = re.compile(r"\{(\w+)\}")
_CLASS, _SPLIT = "class", "split"
_MISSING = ("nan", "na", "n/a", "none", "null", "-", "?")  # what programs write into a cell without a value


@dataclass(frozen=True)
class Grouping:
    """The value of ``--group-by``.

    Attributes:
        names: of columns.
        pattern: of folders, if it is one.
        with_class: whether photos of different classes are different groups.
    """

    names: tuple[str, ...] = ()
    pattern: str | None = None
    with_class: bool = False

    @property
    def given(self) -> bool:
        """Whether the option was given."""
        return self != Grouping()

    def join(self, parts: Sequence[str], class_name: str | None) -> str | None:
        """Return the name of a group from its parts; None if any of them is missing."""
        whole = [*parts, *([class_name or ""] if self.with_class else [])]
        return compose(", ".join(whole)) if whole and all(whole) else None


def read_grouping(group_by: str | None) -> Grouping:
    """Read ``--group-by``: columns, or a pattern of folders, with commas between; ``class`` is the photo's class."""
    if group_by is None:
        return Grouping()
    parts = [part.strip() for part in group_by.split(",") if part.strip()]
    patterns = [part for part in parts if _FIELD.search(part)]
    names = tuple(part for part in parts if part not in patterns and part.casefold() != _CLASS)
    if not parts or len(patterns) > 1 or (patterns and names):
        raise UserError(
            "expected --group-by to name columns (site, or site,class) or one pattern of folders ({site}/{class}), got "
            f"{group_by!r}"
        )
    return Grouping(names, patterns[0] if patterns else None, len(parts) > len(patterns) + len(names))


def doubt_groups(groups: Iterable[str | None]) -> list[str]:
    """Return notes on names of groups that may be mistakes: a missing value, or a name spelled in two ways."""
    names = sorted({group for group in groups if group is not None})
    lines = []
    if odd := [name for name in names if any(part in _MISSING for part in name.casefold().split(", "))]:
        lines.append(
            f"Read as names of groups: {'; '.join(odd[:5])}. If they mean that it is not known, empty their cells."
        )
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(" ".join(re.split(r"[\s_-]+", name.casefold())), []).append(name)
    if alike := [" and ".join(same) for same in spelled.values() if len(same) > 1]:
        lines.append(
            f"Different groups by their spelling alone: {'; '.join(alike[:5])}. If one is meant, spell it alike."
        )
    return lines


@dataclass(frozen=True)
class FolderPattern:
    """A pattern of folders, such as ``{split}/{site}/{class}``; its last part is the folder that a photo lies in.

    ``{class}`` is the class, ``{split}`` and ``*`` are anything, and every other name is a part of the group. The
    pattern may begin above the folder of photos.
    """

    text: str
    grouping: Grouping

    @cached_property
    def levels(self) -> list[re.Pattern[str]]:
        """A pattern for each folder."""
        return [_compile_level(level) for level in self.text.strip("/").split("/")]

    def read(self, folder: Path, inside: str) -> tuple[str, str | None]:
        """Return class and group of a photo by its path in a folder, with slashes."""
        below = inside.split("/")[:-1]
        places = [*folder.absolute().parts[1:], *below][-len(self.levels) :]
        matches = [level.fullmatch(place) for level, place in zip(self.levels, places, strict=False)]
        if len(below) > len(self.levels) or len(places) < len(self.levels) or not all(matches):
            raise UserError(
                f"expected photos in folders {self.text} (--group-by), found {folder / inside}: correct one"
            )
        said: dict[str, str] = {}
        for match in matches:
            said |= match.groupdict() if match else {}
        class_name = compose(said.pop(_CLASS))
        said.pop(_SPLIT, None)
        return class_name, self.grouping.join(list(said.values()), class_name)


def read_folder_pattern(group_by: str | None, class_folders: str | None = None) -> FolderPattern | None:
    """Return the pattern of ``--group-by``, which replaces ``--class-folders``; None if it was not given."""
    grouping = read_grouping(group_by)
    if not grouping.given:
        return None
    if grouping.pattern is None:
        raise UserError(
            f"expected --group-by to be a pattern of folders such as {{site}}/{{class}} for a folder of photos, got "
            f"{group_by!r}: a column belongs to a list"
        )
    if class_folders is not None:
        raise UserError(f"--group-by {grouping.pattern} says which folder is the class: leave --class-folders out")
    names = _FIELD.findall(grouping.pattern)
    if odd := [name for name in names if not name.isidentifier()]:
        raise UserError(f"expected names such as {{site}} in --group-by, got {{{odd[0]}}}: begin it with a letter")
    if names.count(_CLASS) != 1 or len(set(names)) < len(names):
        raise UserError(f"expected {{class}} once in --group-by, and every other name once, got {grouping.pattern}")
    if not set(names) - {_CLASS, _SPLIT}:
        raise UserError(f"expected a folder of the group in --group-by, such as {{site}}, got {grouping.pattern}")
    return FolderPattern(grouping.pattern, grouping)


def _compile_level(level: str) -> re.Pattern[str]:
    """Return the pattern of a folder: ``{site}``, ``*``, ``site-{site}`` or a name."""
    text = re.escape(level).replace(r"\*", ".*")
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", text))
