"""All results of an audit, as Python objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustvit.audits.background_kinds import BackgroundKinds, Group
from robustvit.audits.companions import Companion
from robustvit.audits.measures import AuditedPhoto
from robustvit.audits.placements import ShiftedAnswers
from robustvit.audits.properties import PropertyAudit
from robustvit.audits.region import Region
from robustvit.audits.summary import Beyond, beyond_chances, means
from robustvit.audits.verdict import AuditVerdict, judge
from robustvit.common.intervals import Interval
from robustvit.evaluation.groups import GroupReport
from robustvit.evaluation.rival_results import RivalResults


@dataclass
class ModelAudit:
    """Measures of one model.

    Attributes:
        source: where it came from.
        photos: measures of each photo.
        shifts: predictions for moved objects.
        measures: means over photos.
        beyond: accuracies compared with chance.
        verdict: on the model.
    """

    source: str
    photos: list[AuditedPhoto]
    shifts: ShiftedAnswers
    measures: dict[str, Interval] = field(init=False)
    beyond: dict[str, Beyond] = field(init=False)
    verdict: AuditVerdict = field(init=False)

    def __post_init__(self) -> None:
        self.measures = means(self.photos)
        self.beyond = beyond_chances(self.photos)
        self.verdict = judge(self.measures, self.beyond)


@dataclass
class AuditData:
    """All results of an audit.

    Attributes:
        model: the model audited.
        baseline: the model it is compared with.
        files: the photos.
        masks: their masks.
        names: class of each photo.
        labels: names of the classes, by the models' indices.
        backgrounds: kinds of background, None if they could not be found.
        groups: of class and background.
        by_group: measures by the groups that the photos came with, if they have some.
        worst: indices of the worst photos.
        answers: of each model with each insertion, see ``judge_insertions``.
        regions: what the model looks at beside the objects.
        properties: what properties of the files alone say of the classes.
        at_inference: what a model answers when it is asked about the objects alone.
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
