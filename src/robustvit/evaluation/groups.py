"""Measures by group of photos: each group, the worst, the gap, and means weighted by the training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robustvit.common.group_intervals import gap_interval, weighted_interval, worst_change, worst_interval
from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.common.wording import pluralize
from robustvit.evaluation.group_report import GroupReport, GroupRow, GroupSummary
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.worst_group import MIN_GROUP, group_members, ordinary_answers

_SHOWN = ("ordinary", "mixed-other", "unseen")


def report_groups(
    after: Sequence[PhotoMeasure],
    before: Sequence[PhotoMeasure] | None = None,
    training: Mapping[str, int] | None = None,
) -> GroupReport | None:
    """Return measures by group; None if no photo has a group and a class.

    ``before`` are those of the baseline, of the same photos in the same order; ``training`` has the number of training
    photos of each group, if known.
    """
    positions = group_members(after, "ordinary")
    if not positions:
        return None
    rows = [_make_row(name, at, after, before, training) for name, at in positions.items()]
    rows.sort(key=lambda row: (not row.fair, row.measures["ordinary"].mean, row.group))
    fair = [row.group for row in rows if row.fair]
    summaries: list[GroupSummary | None] = [None, None]
    changes: dict[str, Interval] = {}
    if len(fair) > 1:
        sides = [side for side in (after, before) if side is not None]
        answers = [[ordinary_answers(side, positions[name]) for name in fair] for side in sides]
        weights = [(training or {}).get(name, 0) for name in fair]
        summaries[: len(answers)] = [_summarise(fair, rights, weights) for rights in answers]
        changes = _compare(answers[1], answers[0], weights) if before is not None else {}
    return GroupReport(tuple(rows), summaries[0], summaries[1], changes, tuple(_write_notes(rows, after, training)))


def _make_row(
    name: str,
    at: Sequence[int],
    after: Sequence[PhotoMeasure],
    before: Sequence[PhotoMeasure] | None,
    training: Mapping[str, int] | None,
) -> GroupRow:
    new = [after[index] for index in at]
    old = [] if before is None else [before[index] for index in at]
    return GroupRow(
        name,
        len(at),
        None if not training else training.get(name, 0),
        _known({one: measure_interval(new, one) for one in _SHOWN}),
        _known({one: measure_interval(old, one) for one in _SHOWN if old}),
        _known({one: measure_difference(old, new, one) for one in _SHOWN if old}),
    )


def _known(intervals: Mapping[str, Interval | None]) -> dict[str, Interval]:
    return {name: value for name, value in intervals.items() if value is not None}


def _summarise(names: Sequence[str], rights: Sequence[Sequence[float]], weights: Sequence[int]) -> GroupSummary:
    parts = [mean_interval(group) for group in rights]
    lowest = min(range(len(parts)), key=lambda i: parts[i].mean)
    return GroupSummary(
        names[lowest],
        worst_interval(rights),
        gap_interval(rights),
        weighted_interval(parts, [1.0] * len(parts)),
        weighted_interval(parts, weights) if any(weights) else None,
    )


def _compare(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], weights: Sequence[int]
) -> dict[str, Interval]:
    parts = [paired_difference(old, new) for old, new in zip(before, after, strict=True)]
    found = {"worst": worst_change(before, after), "mean": weighted_interval(parts, [1.0] * len(parts), -1.0)}
    return found | ({"weighted": weighted_interval(parts, weights, -1.0)} if any(weights) else {})


def _write_notes(
    rows: Sequence[GroupRow], after: Sequence[PhotoMeasure], training: Mapping[str, int] | None
) -> list[str]:
    fair = [row for row in rows if row.fair]
    notes = []
    if without := sum(one.group is None for one in after):
        notes.append(f"{pluralize(without, 'photo')} of no known group count in no row of the groups.")
    if small := [row.group for row in rows if not row.fair]:
        notes.append(
            f"Groups with fewer than {MIN_GROUP} photos cannot be the worst, and count in no mean over groups: "
            f"{'; '.join(small[:10])}{f' and {len(small) - 10} more' if len(small) > 10 else ''}."
        )
    if len(fair) < 2:
        only = f"only {fair[0].group} has" if fair else "none has"
        notes.append(
            f"No worst group, gap or mean: these need two groups of {MIN_GROUP} photos or more; {only} as many."
        )
    else:
        notes.append(
            f"The lowest of {len(fair)} measured accuracies is lower than the true one on average; the interval of the "
            "worst group allows for the choice."
        )
    lacking = [row.group for row in fair if training and not row.training]
    if lacking and len(lacking) < len(fair):
        notes.append(f"Not in the training set, with weight zero: {'; '.join(lacking[:10])}.")
    here = {row.group for row in rows}
    absent = sorted(name for name, count in (training or {}).items() if count and name not in here)
    if absent and len(absent) < len(training or {}):  # not where a group was left out of training
        notes.append(f"In the training set, but not here, so not in the means: {'; '.join(absent[:10])}.")
    return notes
