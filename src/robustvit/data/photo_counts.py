"""The count of what a folder or a list holds: seen, read, and left out with the reason."""

from __future__ import annotations

from pathlib import Path

from robustvit.common.errors import printable
from robustvit.common.wording import pluralize

_NAMED = 3
HIDDEN = "hidden or of the system"


def short_place(place: str | Path) -> str:
    """Return the end of a path, by which a note names it: notes may be published, so no paths of this machine."""
    return "/".join(Path(place).parts[-2:])


class Counted:
    """Files of a folder, or rows of a list.

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
        """Count one that is not read."""
        self.left_out.setdefault(reason, []).append(name)

    @property
    def seen(self) -> int:
        """All of them."""
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
            f"{self.seen - self.read:,} left out: "
            f"{', '.join(parts)}."
        )
