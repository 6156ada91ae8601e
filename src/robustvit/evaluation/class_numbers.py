"""Numbers beyond one accuracy: metrics over classes, recall and precision of each, confusions, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustvit.common.derived_intervals import derived_difference, derived_interval
from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.evaluation.calibration import calibration_change, calibration_error
from robustvit.evaluation.measured_intervals import derive_metric
from robustvit.evaluation.metrics import ACCURACY, METRICS, OF_LABELS
from robustvit.evaluation.photo_measures import PhotoMeasure

MOST_CLASSES = 30  # in a whole matrix of confusions; of more classes only the most frequent confusions are kept
MOST_CONFUSIONS = 30
CALIBRATION = "calibration-error"
CALIBRATION_TITLE = "calibration error (ECE)"
CALIBRATION_MEANING = (
    "the mean distance between how sure the model is of its answer and how often such answers are right, over 15 equal "
    "bins of confidence; 0 is best"
)


@dataclass(frozen=True)
class OfClass:
    """One class.

    Attributes:
        name: of the class.
        photos: number of its photos.
        answers: number of photos that were answered as this class.
        recall: share of its photos that are answered right.
        precision: share of its answers that are right; None if there is none.
        change: of the recall against the baseline, paired; None without one.
        average_precision: of a multi-label model, the area under precision and recall; None for others.
        average_precision_change: of it against the baseline, paired; None without one.
    """

    name: str
    photos: int
    answers: int
    recall: Interval
    precision: Interval | None
    change: Interval | None = None
    average_precision: Interval | None = None
    average_precision_change: Interval | None = None


@dataclass(frozen=True)
class Confusion:
    """Photos of a class that are answered as another."""

    name: str
    answer: str
    photos: int


@dataclass(frozen=True)
class ClassNumbers:
    """What a model says of the classes that the photos have.

    Attributes:
        metrics: by name in ``METRICS`` without accuracy, and ``calibration-error``; those that exist.
        changes: of these against the baseline, paired; empty without one.
        classes: in the order of the head.
        confusions: the most frequent ones, at most ``MOST_CONFUSIONS``, the most frequent first.
        kinds: number of different confusions.
        matrix: photos of each class (rows) by answer (columns, in the same order, the last for all other answers); None
            for more than ``MOST_CLASSES`` classes.
    """

    metrics: dict[str, Interval]
    changes: dict[str, Interval]
    classes: tuple[OfClass, ...]
    confusions: tuple[Confusion, ...]
    kinds: int
    matrix: tuple[tuple[int, ...], ...] | None

    @property
    def lines(self) -> list[str]:
        """The metrics as lines of text."""
        found = []
        for name, value in self.metrics.items():
            row = f"  {metric_title(name):<58}{value.percent()}"
            if name in self.changes:
                row += f"   change {self.changes[name].points('')}"
            found.append(row)
        return found


def metric_title(name: str) -> str:
    """Return the title of a metric or of the calibration error."""
    return METRICS[name].title if name in METRICS else CALIBRATION_TITLE


def metric_meaning(name: str) -> str:
    """Return in one sentence what a metric or the calibration error is."""
    return METRICS[name].meaning if name in METRICS else CALIBRATION_MEANING


def class_numbers(
    results: Sequence[PhotoMeasure], name_of: Callable[[int], str], before: Sequence[PhotoMeasure] | None = None
) -> ClassNumbers | None:
    """Compute the numbers of a model on photos; None if no photo has a class.

    Args:
        results: measures of photos; those without a class are ignored.
        name_of: returns the name of a class.
        before: measures of the baseline on the same photos in the same order.
    """
    if any(one.labels is not None for one in results):
        return _numbers_of_labels(results, name_of, before)
    results = [one for one in results if one.label is not None]
    if not results:
        return None
    old = None if before is None else [one for one in before if one.label is not None]
    metrics, changes = _metrics(results, old)
    labels = np.array([one.label for one in results])
    answers = np.array([one.predicted for one in results])
    known = sorted(set(labels.tolist()))
    rows = [_of_class(label, name_of(label), labels, answers) for label in known]
    if old is not None:
        was = np.array([one.predicted for one in old])
        rows = [
            replace(row, change=_change(label, labels, was, answers)) for label, row in zip(known, rows, strict=True)
        ]
    wrong = Counter((a, b) for a, b in zip(labels.tolist(), answers.tolist(), strict=True) if a != b)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return ClassNumbers(
        metrics,
        changes,
        tuple(rows),
        tuple(Confusion(name_of(label), name_of(answer), count) for (label, answer), count in ranked),
        len(wrong),
        _matrix(known, labels, answers) if len(known) <= MOST_CLASSES else None,
    )


def _numbers_of_labels(
    results: Sequence[PhotoMeasure], name_of: Callable[[int], str], before: Sequence[PhotoMeasure] | None
) -> ClassNumbers | None:
    """Compute the numbers of a multi-label model; a class is answered if it scores above one half."""
    metrics, changes = _derive(OF_LABELS, results, before)
    labels = sorted({label for one in results for label in one.labels or ()})
    return ClassNumbers(metrics, changes, tuple(_of_label(n, name_of(n), results, before) for n in labels), (), 0, None)


def _of_label(label: int, name: str, results: Sequence[PhotoMeasure], before: Sequence[PhotoMeasure] | None) -> OfClass:
    """Return the numbers of one class of a multi-label model."""
    own = np.array([label in (one.labels or ()) for one in results])
    said = np.array([one.scores[label] > 0.5 for one in results])
    change = None
    if before is not None:
        change = paired_difference(np.array([one.scores[label] > 0.5 for one in before])[own], said[own])
    ranked, moved = _derive(OF_LABELS[:1], results, before, only=[label])
    precision = mean_interval(own[said]) if said.any() else None
    counts, metric = (int(own.sum()), int(said.sum())), OF_LABELS[0]
    found = mean_interval(said[own])
    return OfClass(name, *counts, found, precision, change, ranked.get(metric), moved.get(metric))


def _metrics(
    results: Sequence[PhotoMeasure], old: Sequence[PhotoMeasure] | None
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return the metrics that exist, and their changes."""
    ranked = len({one.label for one in results}) > 1  # with a single class there is nothing to rank it against
    names = [name for name, one in METRICS.items() if name != ACCURACY and (ranked or not one.needs_scores)]
    metrics, changes = _derive(names, results, old)
    sure, right = _confidence(results)
    metrics[CALIBRATION] = calibration_error(sure, right)
    if old is not None:
        changes[CALIBRATION] = calibration_change(*_confidence(old), sure, right)
    return metrics, changes


def _derive(
    names: Iterable[str],
    results: Sequence[PhotoMeasure],
    before: Sequence[PhotoMeasure] | None,
    only: Sequence[int] | None = None,
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return those of some metrics that exist, and their changes against the baseline; see ``predictions_of``."""
    metrics, changes = {}, {}
    for name in names:
        found = derive_metric(results, METRICS[name], only=only)
        if found is None:
            continue
        metrics[name] = derived_interval(found)
        was = None if before is None else derive_metric(before, METRICS[name], only=only)
        if was is not None:
            changes[name] = derived_difference(was, found)
    return metrics, changes


def _confidence(results: Sequence[PhotoMeasure]) -> tuple[np.ndarray, np.ndarray]:
    """Return how sure the model is of each answer, and whether it is right."""
    sure = np.array([one.probability for one in results], dtype=np.float32)
    return sure, np.array([one.predicted == one.label for one in results])


def _of_class(label: int, name: str, labels: np.ndarray, answers: np.ndarray) -> OfClass:
    own, said = labels == label, answers == label
    precision = mean_interval(labels[said] == label) if said.any() else None
    return OfClass(name, int(own.sum()), int(said.sum()), mean_interval(answers[own] == label), precision)


def _change(label: int, labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Interval:
    own = labels == label
    return paired_difference(before[own] == label, after[own] == label)


def _matrix(known: Sequence[int], labels: np.ndarray, answers: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Count answers by class; the last column counts answers that are not the class of any photo."""
    size = len(known)
    rows = np.searchsorted(known, labels)
    columns = np.where(np.isin(answers, known), np.searchsorted(known, answers), size)
    counts = np.bincount(rows * (size + 1) + columns, minlength=size * (size + 1)).reshape(size, size + 1)
    return tuple(tuple(row) for row in counts.tolist())
