"""Compare multi-label models by class: is each class that a photo shows found, and how are photos ranked for it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robustvit.common.derived_intervals import derived_difference, derived_interval
from robustvit.common.option_groups import RunningOptions, SetOptions
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.verdict_files import Comparison
from robustvit.data.given_photos import find_photos_to_measure
from robustvit.evaluation.classes.changes import compare_classes
from robustvit.evaluation.classes.compared import Compared, describe_as_set, load_pair
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measured_intervals import derive_metric
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.metrics import METRICS, OF_LABELS
from robustvit.evaluation.on_sets.command import make_set_settings
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.on_sets.recording import SetAnswers
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.evaluation.sets.answers import OwnHead
from robustvit.models.classifier import Classifier
from robustvit.models.options import ComparedModels

EACH_CLASS = (
    "A photo of several labels counts once for each class that it shows: it is right for the class if that scores "
    "above one half. Each such pair is counted as a label. Average precision ranks all photos by their score "
    "for a class. The labels of one photo turn together, so the interval over all labels is one over photos."
)


def compare_labels(
    own: MeasuredPhotos, models: ComparedModels, sets: SetOptions, running: RunningOptions, classifier: Classifier
) -> Compared:
    """Compare two multi-label models on the user's photos; arguments as in ``compare_on_photos``."""
    chosen = find_photos_to_measure(own, models, classifier)
    setup = make_set_settings(replace(sets, root="."), running)
    accelerator = setup.accelerator
    candidate, original = load_pair(models, sets, classifier, accelerator.device)
    settings = MeasureSettings(swaps=0, maps=False, batch_size=running.batch_size, workers=running.workers)
    after, before = (
        measure(one, chosen.read.seen_by(one), settings, device=accelerator.device, accelerator=accelerator)
        for one in (candidate.classifier, original.classifier)
    )
    pairs = [_as_outcomes(side, classifier) for side in (before, after)]
    names = classifier.class_names
    answers = [SetAnswers(one, OwnHead(names), [], len(one), False) for one in pairs]
    changes = compare_classes(pairs[0], pairs[1], candidate.seen or None, photo_of=lambda name: name.partition(" ")[0])
    benchmark, notes = describe_as_set(str(own.images), names, [], len(pairs[0])), [EACH_CLASS, *chosen.notes]
    precisions = compare_precisions(before, after, classifier)
    return Compared(candidate, original, benchmark, setup, answers[1], answers[0], changes, {}, notes, precisions)


def compare_precisions(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], classifier: Classifier
) -> dict[str, Comparison]:
    """Return the average precision of each class that photos show, by its name, with paired differences."""
    metric, precisions = METRICS[OF_LABELS[0]], {}
    for label in sorted({label for one in after for label in one.labels or ()}):
        old, new = (derive_metric(side, metric, only=[label]) for side in (before, after))
        if old is not None and new is not None:
            name = classifier.name_of(label)
            precisions[name] = Comparison(
                name, derived_interval(old), derived_interval(new), derived_difference(old, new)
            )
    return precisions


def _as_outcomes(results: Sequence[PhotoMeasure], classifier: Classifier) -> Outcomes:
    """Return a row for each photo and class that it shows; its answer is the class, or -1 if it is not found.

    The name of a row begins with its photo.
    """
    rows = [(at, one, label) for at, one in enumerate(results) for label in one.labels or ()]
    count = len(rows)
    return Outcomes(
        names=np.array([f"{at:07d} {label}" for at, _, label in rows]),
        class_names=np.array([classifier.name_of(label) for _, _, label in rows]),
        groups=np.array([""] * count),
        textures=np.full(count, -1),
        right=np.array([[label] for _, _, label in rows]),
        answers=np.array([label if one.scores[label] > 0.5 else -1 for _, one, label in rows]),
        in_top5=np.zeros(count, dtype=bool),
        confidence=np.array([one.scores[label] for _, one, label in rows], dtype=np.float32),
    )
