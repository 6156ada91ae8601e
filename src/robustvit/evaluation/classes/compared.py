"""Two models and their answers, to compare them by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robustvit.common.verdict import Comparison
from robustvit.data.photo import Photo
from robustvit.evaluation.classes.changes import Changes
from robustvit.evaluation.on_sets.recording import SetAnswers, SetModel, SetSettings
from robustvit.evaluation.sets import Benchmark


@dataclass(frozen=True)
class Compared:
    """Two models and their answers.

    Attributes:
        model: the finetuned model.
        baseline: the model it is compared with.
        benchmark: the set, or the photos as a set.
        place: source of its images.
        after: answers of the model.
        before: answers of the baseline.
        changes: class by class.
        photos: the user's photos by their names among the answers; empty for a set.
        notes: on the photos, for the reader.
        precisions: of photos of several labels, the average precision of each class before and after, by its name.
    """

    model: SetModel
    baseline: SetModel
    benchmark: Benchmark
    place: SetSettings
    after: SetAnswers
    before: SetAnswers
    changes: Changes
    photos: dict[str, Photo]
    notes: Sequence[str] = ()
    precisions: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """What accuracy is called here: of several labels, that of a class is the recall of its photos."""
        return "recall" if self.precisions else "top-1 accuracy"
