"""A report of measures by group: its content, its text, and how it is read from JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.intervals import Interval
from robustvit.common.wording import pluralize
from robustvit.evaluation.worst_group import MIN_GROUP

MOST_SHOWN = 20  # rows in the terminal and on pages; all of them are in the JSON


@dataclass(frozen=True)
class GroupRow:
    """Measures of one group.

    Attributes:
        group: its name.
        photos: number of photos with a known class.
        training: number of photos of the group that could train; None if that is not known.
        measures: accuracies by name, with 95 % CIs.
        before: the same of the baseline, if there is one.
        changes: paired, accuracy minus the baseline's.
    """

    group: str
    photos: int
    training: int | None
    measures: dict[str, Interval]
    before: dict[str, Interval]
    changes: dict[str, Interval]

    @property
    def fair(self) -> bool:
        """Whether the group is large enough to be the worst."""
        return self.photos >= MIN_GROUP


@dataclass(frozen=True)
class GroupSummary:
    """Ordinary accuracy over the groups that have at least ``MIN_GROUP`` photos.

    Attributes:
        worst_group: name of the group with the lowest accuracy.
        worst: its accuracy. The lowest of several estimates is too low on average; the interval is that of the lowest
            true accuracy, see ``worst_interval``.
        gap: highest minus lowest accuracy.
        mean: mean over groups, each with the same weight.
        weighted: mean weighted by the number of photos in the training set, as Waterbirds is reported; None if
            these are not known.
    """

    worst_group: str
    worst: Interval
    gap: Interval
    mean: Interval
    weighted: Interval | None


@dataclass(frozen=True)
class GroupReport(Tabular):
    """Measures by group, of a model and, if there is one, of its baseline.

    Attributes:
        rows: the groups, lowest accuracy first.
        after: summary of the model; None without two groups that are large enough.
        before: summary of the baseline.
        changes: of worst, mean and weighted, with 95 % CIs.
        notes: for the reader, such as the number of photos of no known group.
    """

    rows: tuple[GroupRow, ...]
    after: GroupSummary | None
    before: GroupSummary | None
    changes: dict[str, Interval]
    notes: tuple[str, ...]

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each group, with its measures, and the baseline's and the changes where there is one."""
        for row in self.rows:
            cells: dict[str, object] = {"group": row.group, "photos": row.photos, "training set": row.training}
            for words, measures in (("", row.measures), ("baseline ", row.before), ("change ", row.changes)):
                cells |= {words + name: value for name, value in measures.items()}
            yield cells

    def __str__(self) -> str:
        width = max(len(row.group) for row in self.rows[:MOST_SHOWN])
        lines = ["by group, ordinary accuracy:"]
        for row in self.rows[:MOST_SHOWN]:
            change = _describe_change(row.changes.get("ordinary"))
            lines.append(f"  {row.group:<{width}}  n {row.photos:>4}  {row.measures['ordinary'].percent()}{change}")
        if (more := len(self.rows) - MOST_SHOWN) > 0:
            lines.append(f"  and {pluralize(more, 'group')} with higher accuracy or fewer photos")
        if self.after is not None:
            lines += self._summary_lines(self.after)
        return "\n".join([*lines, *self.notes])

    def _summary_lines(self, summary: GroupSummary) -> list[str]:
        named = {
            f"worst group ({summary.worst_group})": ("worst", summary.worst),
            "gap between best and worst": ("gap", summary.gap),
            "mean over groups": ("mean", summary.mean),
            "weighted by the training set": ("weighted", summary.weighted),
        }
        return [
            f"  {title:<40}{value.percent()}{_describe_change(self.changes.get(name))}"
            for title, (name, value) in named.items()
            if value is not None
        ]


def _describe_change(change: Interval | None) -> str:
    return f"   change {change.points('')}" if change else ""


def read_groups(raw: Mapping[str, Any]) -> GroupReport:
    """Read a report from its JSON."""
    try:
        rows = tuple(
            GroupRow(**row | {side: _read_intervals(row[side]) for side in ("measures", "before", "changes")})
            for row in raw["rows"]
        )
        sides = [None if raw[side] is None else _read_summary(raw[side]) for side in ("after", "before")]
        return GroupReport(rows, sides[0], sides[1], _read_intervals(raw["changes"]), tuple(map(str, raw["notes"])))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"groups.json holds no measures by group ({error}): repeat the run, or remove it") from error


def _read_intervals(raw: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: Interval(**one) for name, one in raw.items()}


def _read_summary(raw: Mapping[str, Any]) -> GroupSummary:
    read = {name: Interval(**raw[name]) for name in ("worst", "gap", "mean")}
    weighted = None if raw["weighted"] is None else Interval(**raw["weighted"])
    return GroupSummary(str(raw["worst_group"]), **read, weighted=weighted)
