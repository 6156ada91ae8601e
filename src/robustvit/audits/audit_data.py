"""All results of an audit, as Python objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustvit.audits.audited_photo import AuditedPhoto
from robustvit.audits.background_groups import Group
from robustvit.audits.background_kinds import BackgroundKinds
from robustvit.audits.by_metric import metric_beyond, metric_by_class, metric_means
from robustvit.audits.companions import Companion
from robustvit.audits.placements import ShiftedAnswers
from robustvit.audits.properties import PropertyAudit
from robustvit.audits.region import Region
from robustvit.audits.summary import Beyond, beyond_chances, means
from robustvit.audits.verdict import AuditVerdict, judge
from robustvit.common.intervals import Interval
from robustvit.common.options import MetricName
from robustvit.evaluation.group_report import GroupReport
from robustvit.evaluation.measured_intervals import measure_name
from robustvit.evaluation.metrics import ACCURACY, DECIDING
from robustvit.evaluation.photo_measures import Said
from robustvit.evaluation.rival_results import RivalResults


@dataclass
class ModelAudit:
    """Measures of one model.

    Attributes:
        source: where it came from.
        photos: measures of each photo.
        shifts: predictions for moved objects.
        metric: what the verdict decides by.
        measures: means over photos.
        beyond: accuracies compared with chance.
        by_metric: the metric of each kind of answers, see ``metric_means``; empty if accuracy decides.
        beyond_metric: the same compared with chance.
        by_label: the metric of each class of a multi-label model, see ``metric_by_class``.
        verdict: on the model.
    """

    source: str
    photos: list[AuditedPhoto]
    shifts: ShiftedAnswers
    metric: MetricName = "accuracy"
    measures: dict[str, Interval] = field(init=False)
    beyond: dict[str, Beyond] = field(init=False)
    by_metric: dict[str, Interval] = field(init=False, default_factory=dict)
    beyond_metric: dict[str, Beyond] = field(init=False, default_factory=dict)
    by_label: dict[int, dict[str, Interval]] = field(init=False, default_factory=dict)
    verdict: AuditVerdict = field(init=False)

    def __post_init__(self) -> None:
        self.measures = means(self.photos)
        self.beyond = beyond_chances(self.photos)
        if self.metric == ACCURACY:
            self.verdict = judge(self.measures, self.beyond)
        else:
            self.by_metric = metric_means(self.photos, self.metric)
            self.beyond_metric = metric_beyond(self.photos, self.metric, self.by_metric, self.beyond)
            self.verdict = judge(self.by_metric, self.beyond_metric, DECIDING[self.metric], self.beyond)
        if any(photo.plain.labels is not None for photo in self.photos):
            self.by_label = metric_by_class(self.photos, self.metric)

    @property
    def every_measure(self) -> dict[str, Interval]:
        """The means, and first the numbers of the metric that decides, by ``measure_name``."""
        return {measure_name(self.metric, kind): one for kind, one in self.by_metric.items()} | self.measures


@dataclass
class AuditData:
    """All results of an audit.

    Attributes:
        model: the model audited.
        baseline: the model it is compared with.
        files: the photos.
        masks: their masks.
        names: class of each photo, or all its classes.
        labels: names of the classes, by the models' indices.
        backgrounds: kinds of background, None if they could not be found.
        groups: of class and background.
        by_group: measures by the groups that the photos came with, if they have some.
        worst: indices of the worst photos.
        answers: of each model with each insertion, see ``judge_insertions``.
        regions: what the model looks at beside the objects.
        properties: what properties of the files alone say of the classes.
        at_inference: what a model answers when it is shown the objects alone.
        notes: for the reader.
        settings: options of the call.
        versions: of the libraries.
        companions: objects beside the class's own, where annotations name them.
        spent: forward passes and seconds, see ``Spending``.
    """

    model: ModelAudit
    baseline: ModelAudit | None
    images: str
    files: Sequence[Path]
    masks: Sequence[Path | None]
    names: Sequence[str]
    labels: Mapping[int, str]
    backgrounds: BackgroundKinds | None
    groups: Sequence[Group]
    worst: Sequence[int]
    notes: Sequence[str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    answers: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    properties: PropertyAudit | None = None
    by_group: GroupReport | None = None
    regions: Sequence[Region] = ()
    companions: Sequence[Companion] = ()
    spent: Mapping[str, Any] = field(default_factory=dict)
    at_inference: RivalResults | None = None

    @property
    def several(self) -> bool:
        """Whether photos have several labels."""
        return any(one.plain.labels is not None for one in self.model.photos)

    @property
    def members(self) -> dict[str, list[int]]:
        """The photos of each class, by its name; one of several labels is in several."""
        found: dict[str, list[int]] = {}
        for index, (name, photo) in enumerate(zip(self.names, self.model.photos, strict=True)):
            for one in map(self.name_of, photo.plain.labels or ()) if self.several else [name]:
                found.setdefault(one, []).append(index)
        return dict(sorted(found.items()))

    @property
    def truth(self) -> list[int]:
        """The class of each photo."""
        return [one.label for one in self.model.photos]

    @property
    def sides(self) -> dict[str, ModelAudit]:
        """The models by their names in the record."""
        return {"model": self.model} | ({"baseline": self.baseline} if self.baseline else {})

    def name_of(self, label: int) -> str:
        """Return the readable name of a class."""
        return self.labels.get(label, f"class {label}")

    def say(self, photo: AuditedPhoto, answer: Said) -> str:
        """Return an answer to a photo in words: the class, or of several labels all that score above one half."""
        read = photo.plain.read(answer)
        if isinstance(read, int):
            return self.name_of(read)
        return ", ".join(map(self.name_of, read)) or "none of the classes"
