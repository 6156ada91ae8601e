"""Notes on photos for readers of a result: what was read, and what was left out with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robustvit.common.errors import printable
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize

_NAMED = 3
HIDDEN = "hidden or of the system"


def add_note(text: str, notes: list[str]) -> None:
    """Add a line to the notes of a result, and print it."""
    notes.append(text)
    warn(text)


def short_place(place: str | Path) -> str:
    """Return the last two parts of a path for a note: notes may be published, so they show no paths of this machine."""
    return "/".join(Path(place).parts[-2:])


def name_pairs(pairs: Mapping[Path, Path]) -> str:
    """Name the first few copies with their originals."""
    named = [f"{short_place(copy)} is like {short_place(original)}" for copy, original in pairs.items()]
    return ", ".join(named[:_NAMED]) + (", ..." if len(pairs) > _NAMED else "")


class ReadCount:
    """Counts the files of a folder, or the rows of a list.

    Args:
        place: the folder or list.
        unit: what is counted, ``file`` or ``row``.

    Attributes:
        read: number of those that were read.
        left_out: names of the others by reason; a reason continues "3 files ...".
    """

    def __init__(self, place: Path, unit: str) -> None:
        self.place, self.unit, self.read = place, unit, 0
        self.left_out: dict[str, list[str]] = {}

    def leave_out(self, reason: str, name: str) -> None:
        """Count a file or row that is not read."""
        self.left_out.setdefault(reason, []).append(name)

    @property
    def seen(self) -> int:
        """Number of all of them, read or not."""
        return self.read + sum(map(len, self.left_out.values()))

    @property
    def note(self) -> str:
        """A line with the three numbers; empty if nothing was left out."""
        if not self.left_out:
            return ""
        parts = []
        for reason, names in sorted(self.left_out.items()):
            first = ", ".join(map(printable, sorted(names)[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
            parts.append(f"{len(names)} {reason} ({first})")
        return (
            f"{short_place(self.place)}: {pluralize(self.seen, self.unit)} seen, {self.read:,} read, "
            f"{self.seen - self.read:,} left out: {', '.join(parts)}."
        )
