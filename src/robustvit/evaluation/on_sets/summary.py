"""The terminal output of evaluations on sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.intervals import Interval, independent_difference
from robustvit.common.wording import pluralize
from robustvit.evaluation.records.record import MEASURE_TITLES, Record


@dataclass(frozen=True)
class Sets(Tabular):
    """A model's results on benchmark sets; printing it gives a table.

    Attributes:
        records: one for each set.
        reused: number of results recorded earlier.
        failed: a line for each set that could not be evaluated.
    """

    records: list[Record]
    reused: int = 0
    failed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 1 if a set failed."""
        return int(bool(self.failed))

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each number of each set."""
        for record in self.records:
            shared = {"set": record.set, "protocol": record.protocol, "complete": record.complete}
            yield from (shared | {"measure": name, "value": number} for name, number in record.numbers.items())

    def __str__(self) -> str:
        lines = [line for record in self.records for line in _describe_record(record)]
        lines += _describe_gap(self.records)
        lines += [f"{self.reused} of these were recorded before"] if self.reused else []
        return "\n".join([*lines, *(f"FAILED {line}" for line in self.failed)])


def _describe_record(record: Record) -> list[str]:
    state = "" if record.complete else f" of {record.expected:,}: INCOMPLETE"
    lines = [f"{record.set}, {record.protocol} protocol, {pluralize(record.samples, 'image')}{state}"]
    headline = record.numbers.get("headline")
    for name, number in record.numbers.items():
        if name == "headline" and number in [v for k, v in record.numbers.items() if k != name]:
            continue
        mark = "  (headline)" if number == headline and name in ("top1", "group_mean", "worst_group") else ""
        lines.append(f"  {MEASURE_TITLES.get(name, name):<28}{number.percent()}{mark}")
    if "top1" in record.numbers and headline is None:
        lines.append("  headline: undefined, since no answer is the shape or the texture of its image")
    if record.compared:
        said = record.compared
        if "top1" not in said:
            changes = [f"{MEASURE_TITLES[k]} {v.points('')}" for k, v in said.items() if isinstance(v, Interval)]
            return [*lines, f"  against {said['baseline']['source']}: {', '.join(changes)}"]
        lines.append(
            f"  against {said['baseline']['source']}: top-1 {said['top1'].points('')}, {said['helped']} helped, "
            f"{said['harmed']} harmed, McNemar p {said['mcnemar_p']:.2g}"
        )
    return lines + [f"  {problem}" for problem in record.problems[:5]]


def _describe_gap(records: Sequence[Record]) -> list[str]:
    """Return ImageNet-9's BG-Gap, if both of its sets are there."""
    by_set = {record.set: record for record in records}
    if not {"imagenet-9/mixed_same", "imagenet-9/mixed_rand"} <= set(by_set):
        return []
    same, rand = (by_set[f"imagenet-9/mixed_{half}"].numbers["top1"] for half in ("same", "rand"))
    gap = independent_difference(rand, same)
    return [f"BG-Gap (mixed_same - mixed_rand)  {gap.percent()}"]
