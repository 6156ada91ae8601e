"""Two models and their answers, to compare them by class; the user's photos are described as a set for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from robustvit.common.option_groups import SetOptions
from robustvit.common.verdict_files import Comparison
from robustvit.data.photo import Photo
from robustvit.evaluation.classes.changes import Changes
from robustvit.evaluation.on_sets.command import seen_labels
from robustvit.evaluation.on_sets.loop import SetSettings
from robustvit.evaluation.on_sets.recording import SetAnswers, SetModel, make_set_model
from robustvit.evaluation.sets import Benchmark, Sample
from robustvit.evaluation.sets.answers import OwnHead
from robustvit.models.baseline import load_baseline
from robustvit.models.classifier import Classifier
from robustvit.models.options import ComparedModels

OWN_PHOTOS = "own-photos"


def describe_as_set(images: str, names: Sequence[str], samples: list[Sample], count: int) -> Benchmark:
    """Describe the user's photos as a set whose answers are the classes of the model's head.

    The set reads as these samples, in this order; there are none if the images were answered already.
    """

    def answers() -> OwnHead:
        return OwnHead(names)

    return Benchmark(
        name=OWN_PHOTOS,
        title=f"photos in {images}",
        images=count,
        classes=len(names),
        folder=".",
        reader=lambda folder, protocol: (samples, []),
        scoring={"paper": answers, "standard": answers},
        summary={"paper": "accuracy", "standard": "accuracy"},
        num_classes=len(names),
    )


def load_pair(
    models: ComparedModels, sets: SetOptions, classifier: Classifier, device: torch.device
) -> tuple[SetModel, SetModel]:
    """Load the baseline of a classifier, and return both as models of a set, on the device."""
    other = load_baseline(models, classifier)
    assert other is not None  # a baseline was named
    seen = seen_labels(sets.seen, models.model)
    candidate = make_set_model(classifier.to(device), models.model, seen, models.checkpoint)
    return candidate, make_set_model(other.to(device), other.source or str(models.baseline), seen)


@dataclass(frozen=True)
class Compared:
    """Two models and their answers.

    Attributes:
        model: the finetuned model.
        baseline: the model it is compared with.
        benchmark: the set, or the photos as a set.
        setup: source of its images.
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
    setup: SetSettings
    after: SetAnswers
    before: SetAnswers
    changes: Changes
    photos: dict[str, Photo]
    notes: Sequence[str] = ()
    precisions: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """The name of accuracy here: of several labels, that of a class is the recall of its photos."""
        return "recall" if self.precisions else "top-1 accuracy"
