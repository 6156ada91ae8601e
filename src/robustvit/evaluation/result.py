"""The result of ``evaluate`` on photos: as text, as a table, and as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from robustvit.common.files import write_json
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.intervals import Interval
from robustvit.common.outcomes import next_step
from robustvit.common.provenance import versions
from robustvit.common.verdict_files import Comparison, Verdict
from robustvit.common.wording import pluralize
from robustvit.evaluation.class_numbers import ClassNumbers
from robustvit.evaluation.group_chart import save_groups
from robustvit.evaluation.group_report import GroupReport
from robustvit.evaluation.measured_intervals import measure_title
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.rival_results import RivalResults


@dataclass(frozen=True)
class Evaluation(Tabular):
    """The measures of a model on a folder of photos.

    Attributes:
        model: its source.
        images: the folder.
        measures: by name, 0 to 1, with 95 % intervals over photos.
        photos: measures of each photo.
        verdict: the comparison with the baseline, if there is one.
        notes: for the reader, such as photos that were left out.
        groups: measures by group of photos, if groups are known.
        at_inference: what the model, or the baseline, answers when it is shown the object alone, if that was
            measured.
        by_class: metrics over classes, recall and precision of each, and confusions; None for photos without classes.
    """

    model: str
    images: str
    measures: dict[str, Interval]
    photos: list[PhotoMeasure]
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()
    groups: GroupReport | None = None
    at_inference: RivalResults | None = None
    by_class: ClassNumbers | None = None

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each measure, with the baseline's and the change where there is one."""
        for name, interval in self.measures.items():
            compared = self.verdict.of(name) if self.verdict else None
            row: dict[str, object] = {"measure": name, "value": interval}
            if compared is not None:
                row |= {"baseline": compared.before, "change": compared.difference}
                row |= {"helped": compared.helped, "harmed": compared.harmed}
            yield row

    def __str__(self) -> str:
        lines = [f"{self.model} on {pluralize(len(self.photos), 'photo')} of {self.images}"]
        for name, interval in self.measures.items():
            lines.append(_describe_measure(name, interval, self.verdict.of(name) if self.verdict else None))
        if self.groups is not None:
            lines.append(str(self.groups))
        lines += self.by_class.lines if self.by_class else []
        for compared in self.verdict.comparisons if self.verdict else ():
            if "/" in compared.measure and not compared.measure.endswith("/ordinary"):  # a metric, which decides
                lines.append(_describe_measure(compared.measure, compared.after, compared))
        if self.verdict is not None:
            lines += [self.verdict.sentence, f"next: {next_step(self.verdict.outcome, elsewhere=True)}"]
        lines += [str(self.at_inference)] if self.at_inference else []
        return "\n".join(lines)


def _describe_measure(name: str, interval: Interval, compared: Comparison | None) -> str:
    row = f"  {measure_title(name):<58}{interval.percent()}"
    if compared is not None:
        row += f"   baseline {100 * compared.before.mean:.1f}, change {compared.difference.points('')}"
        if compared.mcnemar_p is not None:
            row += f", {compared.helped} helped, {compared.harmed} harmed, McNemar p {compared.mcnemar_p:.2g}"
    return row


def write_evaluation(evaluation: Evaluation, path: Path, settings: Mapping[str, object]) -> None:
    """Write an evaluation and its settings as JSON, and a chart of the groups beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(asdict(evaluation) | {"settings": settings, "versions": versions()}, path)
    if evaluation.groups is not None:
        save_groups(evaluation.groups, path.with_name(f"{path.stem}-groups"))
