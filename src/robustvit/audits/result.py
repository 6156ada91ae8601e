"""What an audit returns: its files, its measures, and whether it breaks a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.wording import pluralize

if TYPE_CHECKING:
    from robustvit.audits.audit_data import AuditData


@dataclass(frozen=True)
class Audit(Tabular):
    """The result of an audit.

    Attributes:
        page: the HTML file.
        record: the JSON file beside it, with every number of the page and the measures of every photo.
        found: the same as Python objects.
        failed: whether the audit breaks the limit of ``--fail-if``; the command then exits with code 1.
        compared: the audits of ``--compare``, that of the model first; ``page`` then compares them.
    """

    page: Path
    record: Path
    found: AuditData
    failed: bool = False
    compared: tuple[Audit, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 1 if it breaks the limit of ``--fail-if``."""
        return int(self.failed)

    @property
    def reliance(self) -> str:
        """The verdict on the model: no sign, some, strong reliance or cannot tell."""
        return self.found.model.verdict.reliance

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each measure of the model, then of the baseline; of each model that was compared."""
        for audit in self.compared or (self,):
            for side, one in audit.found.sides.items():
                shared = {"model": one.source, "side": side}
                yield from (shared | {"measure": name, "value": value} for name, value in one.every_measure.items())

    def __str__(self) -> str:
        from robustvit.audits.shortcuts import name_shortcuts

        if self.compared:
            parts = [*map(str, self.compared), f"page: {self.page}", f"record: {self.record}"]
            return "\n".join(parts)
        passes = self.found.spent["a_photo"].get("model", 0)

        lines = [f"{self.found.model.source} on {pluralize(len(self.found.files), 'photo')} of {self.found.images}"]
        for side, one in self.found.sides.items():
            lines.append(f"{side}: {one.verdict.reliance}. {one.verdict.sentence}")
        lines += name_shortcuts(self.found)
        if self.found.by_group is not None:
            lines.append(str(self.found.by_group))
        if self.found.at_inference is not None and self.found.at_inference.winner:
            lines.append(self.found.at_inference.winner)
        lines += self.found.notes
        lines.append(f"cost: {passes:.1f} forward passes a photo ({self.found.settings['budget']} budget)")
        return "\n".join([*lines, f"page: {self.page}", f"record: {self.record}"])
