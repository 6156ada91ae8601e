"""The content of a table of results, in any format: rows, cells and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from robustvit.common.wording import signed, with_minus

_LOWER_IS_BETTER = frozenset({"ece"})


@dataclass(frozen=True)
class Heading:
    """The set and the measure of a column, in words."""

    set: str
    measure: str

    def __str__(self) -> str:
        return f"{self.set} {self.measure}".strip()


@dataclass(frozen=True)
class Cell:
    """A number of a table, in percent or points; may be empty.

    Attributes:
        value: the number.
        low: lower end of its interval.
        high: upper end.
        spread: standard deviation over runs.
        difference: measured minus reported.
        mark: of a note.
        signed: whether to show the sign, for changes.
        digits: after the decimal point.
        best: whether it is the best of its model among numbers of the same origin.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    difference: float | None = None
    mark: str = ""
    signed: bool = False
    digits: int = 1
    best: bool = False

    @property
    def shown(self) -> str:
        """The number, with its spread."""
        if self.value is None:
            return ""
        text = f"{self.value:+.{self.digits}f}" if self.signed else f"{self.value:.{self.digits}f}"
        return with_minus(text) + ("" if self.spread is None else f" ± {self.spread:.{self.digits}f}")

    @property
    def interval(self) -> str:
        """The interval in brackets."""
        return "" if self.low is None or self.high is None else f"[{self.low:.1f}, {self.high:.1f}]"

    @property
    def change(self) -> str:
        """The difference, with its sign."""
        return "" if self.difference is None else signed(self.difference)


@dataclass(frozen=True)
class Row:
    """A row of a table: a model, its method, and whether its numbers were reported or measured, on which classes."""

    model: str
    method: str
    origin: str
    cells: list[Cell]
    measured: bool = False
    part: str = ""


@dataclass(frozen=True)
class TableLayout:
    """A table, ready for rendering."""

    title: str
    source: str
    headings: list[Heading]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """Consecutive rows of the same model, with its name."""
        return [(model, list(rows)) for model, rows in groupby(self.rows, key=lambda row: row.model)]

    @property
    def legend(self) -> str:
        """The meaning of the numbers."""
        parts = ["In percent."]
        measured = any(row.measured for row in self.rows)
        if self.source:
            parts.append(f"Reported: {self.source}.")
        if measured:
            change = ", difference to the reported value in points" if self.source else ""
            parts.append(f"Measured: value, 95 % CI over images{change}.")
        if any(cell.best for row in self.rows for cell in row.cells):
            parts.append("Bold: the best of a model's numbers of one origin, which need not differ beyond chance.")
        return " ".join(parts)


def mark_best(rows: Sequence[Row], measures: Sequence[str]) -> None:
    """Mark the best number of each column among a model's rows of the same origin and classes; not if all are equal."""
    together: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        together.setdefault((row.model, row.origin, row.part), []).append(row)
    for members in together.values():
        for at, measure in enumerate(measures):
            sign = -1 if measure in _LOWER_IS_BETTER else 1
            values = [sign * float(cell.value) for row in members if (cell := row.cells[at]).value is not None]
            shown = {round(value, members[0].cells[at].digits) for value in values}
            for row in members if len(shown) > 1 else ():
                cell = row.cells[at]
                if cell.value is not None and round(sign * cell.value, cell.digits) == max(shown):
                    row.cells[at] = replace(cell, best=True)
