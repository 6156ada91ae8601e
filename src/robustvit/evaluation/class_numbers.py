"""Numbers by class, also as HTML: metrics over classes, recall and precision of each, confusions, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from robustvit.common.derived_intervals import derived_difference, derived_interval
from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.common.pages import page_template
from robustvit.evaluation.calibration import calibration_change, calibration_error
from robustvit.evaluation.measured_intervals import derive_metric
from robustvit.evaluation.metrics import ACCURACY, METRICS, OF_LABELS
from robustvit.evaluation.photo_measures import PhotoMeasure

MOST_CLASSES = 30  # in a whole matrix of confusions; of more classes only the most frequent confusions are kept
MOST_CONFUSIONS = 30
CALIBRATION = "calibration-error"
_TITLES = {name: metric.title for name, metric in METRICS.items()} | {CALIBRATION: "calibration error (ECE)"}
_MEANINGS = {name: metric.meaning for name, metric in METRICS.items()} | {
    CALIBRATION: "the mean distance between how sure the model is of its answer and how often such answers are right, "
    "over 15 equal bins of confidence; 0 is best"
}


@dataclass(frozen=True)
class OfClass:
    """One class.

    Attributes:
        name: of the class.
        photos: number of its photos.
        answers: number of photos that are answered as this class.
        recall: share of its photos that are answered right.
        precision: share of its answers that are right; None if there are none.
        change: of the recall against the baseline, paired; None without a baseline.
        average_precision: of a multi-label model, the area under precision and recall; None for others.
        average_precision_change: against the baseline, paired; None without a baseline.
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
    """A model's answers to photos, by class.

    Attributes:
        metrics: those of ``METRICS`` that exist, without accuracy, and ``calibration-error``.
        changes: of these against the baseline, paired; empty without a baseline.
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
        changes = {name: f"   change {change.points('')}" for name, change in self.changes.items()}
        return [
            f"  {_TITLES[name]:<58}{value.percent()}{changes.get(name, '')}" for name, value in self.metrics.items()
        ]


def class_numbers(
    results: Sequence[PhotoMeasure], name_of: Callable[[int], str], before: Sequence[PhotoMeasure] | None = None
) -> ClassNumbers | None:
    """Compute the numbers of a model on photos; None if no photo has a class.

    Photos without a class are ignored. ``before`` are measures of the baseline on the same photos in the same order.
    """
    if any(one.labels is not None for one in results):
        return _numbers_of_labels(results, name_of, before)
    results = [one for one in results if one.label is not None]
    if not results:
        return None
    old = None if before is None else [one for one in before if one.label is not None]
    metrics, changes = _measure_metrics(results, old)
    labels, answers = np.array([one.label for one in results]), np.array([one.predicted for one in results])
    was = None if old is None else np.array([one.predicted for one in old])
    known = sorted(set(labels.tolist()))
    wrong = Counter((a, b) for a, b in zip(labels.tolist(), answers.tolist(), strict=True) if a != b)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return ClassNumbers(
        metrics,
        changes,
        tuple(_describe_class(name_of(n), labels == n, answers == n, None if was is None else was == n) for n in known),
        tuple(Confusion(name_of(label), name_of(answer), count) for (label, answer), count in ranked),
        len(wrong),
        _count_matrix(known, labels, answers) if len(known) <= MOST_CLASSES else None,
    )


def _numbers_of_labels(
    results: Sequence[PhotoMeasure], name_of: Callable[[int], str], before: Sequence[PhotoMeasure] | None
) -> ClassNumbers | None:
    """Compute the numbers of a multi-label model; a class is answered if it scores above one half."""
    metrics, changes = _derive(OF_LABELS, results, before)
    rows = []
    for label in sorted({label for one in results for label in one.labels or ()}):
        own = np.array([label in (one.labels or ()) for one in results])
        said = np.array([one.scores[label] > 0.5 for one in results])
        was = None if before is None else np.array([one.scores[label] > 0.5 for one in before])
        ranked, moved = (found.get(OF_LABELS[0]) for found in _derive(OF_LABELS[:1], results, before, only=[label]))
        row = _describe_class(name_of(label), own, said, was)
        rows.append(replace(row, average_precision=ranked, average_precision_change=moved))
    return ClassNumbers(metrics, changes, tuple(rows), (), 0, None)


def _describe_class(name: str, own: np.ndarray, said: np.ndarray, was: np.ndarray | None) -> OfClass:
    """Describe a class by which photos are its own, and which are answered as it, now and before, ``(N,)`` bool."""
    precision = mean_interval(own[said]) if said.any() else None
    change = None if was is None else paired_difference(was[own], said[own])
    return OfClass(name, int(own.sum()), int(said.sum()), mean_interval(said[own]), precision, change)


def _measure_metrics(
    results: Sequence[PhotoMeasure], old: Sequence[PhotoMeasure] | None
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return the metrics that exist, and their changes."""
    ranked = len({one.label for one in results}) > 1  # with a single class there is nothing to rank it against
    names = [name for name, one in METRICS.items() if name != ACCURACY and (ranked or not one.needs_scores)]
    metrics, changes = _derive(names, results, old)
    sure, right = _read_confidence(results)
    metrics[CALIBRATION] = calibration_error(sure, right)
    if old is not None:
        changes[CALIBRATION] = calibration_change(*_read_confidence(old), sure, right)
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
        derived = derive_metric(results, METRICS[name], only=only)
        if derived is None:
            continue
        metrics[name] = derived_interval(derived)
        was = None if before is None else derive_metric(before, METRICS[name], only=only)
        if was is not None:
            changes[name] = derived_difference(was, derived)
    return metrics, changes


def _read_confidence(results: Sequence[PhotoMeasure]) -> tuple[np.ndarray, np.ndarray]:
    """Return how sure the model is of each answer, and whether it is right."""
    sure = np.array([one.probability for one in results], dtype=np.float32)
    return sure, np.array([one.predicted == one.label for one in results])


def _count_matrix(known: Sequence[int], labels: np.ndarray, answers: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Count answers by class; the last column counts answers that are not the class of any photo."""
    size = len(known)
    rows = np.searchsorted(known, labels)
    columns = np.where(np.isin(answers, known), np.searchsorted(known, answers), size)
    counts = np.bincount(rows * (size + 1) + columns, minlength=size * (size + 1)).reshape(size, size + 1)
    return tuple(tuple(row) for row in counts.tolist())


def render_class_numbers(numbers: Mapping[str, Any], side: str, against: str, file: str) -> Markup:
    """Return the numbers of each class as HTML.

    Args:
        numbers: of ``class_numbers``, as written to a file.
        side: whose they are, such as "after".
        against: what the changes are against, such as "original".
        file: name of the file that holds all of them.
    """
    classes = numbers["classes"]
    rows = classes
    if len(classes) > MOST_CLASSES:
        rows = sorted(classes, key=lambda row: (row["recall"]["mean"], -row["photos"], row["name"]))[:MOST_CLASSES]
    page = page_template(__package__, "class_numbers.html.j2")
    text = page.render(
        numbers=numbers,
        rows=rows,
        hidden=len(classes) - len(rows),
        photos=sum(row["photos"] for row in classes),
        ranked=any(row.get("average_precision") for row in classes),
        other=any(row[-1] for row in numbers["matrix"] or []),
        titles=_TITLES,
        meanings=_MEANINGS,
        calibration=CALIBRATION,
        side=side,
        whose="guided model" if side == "after" else side,
        against=against,
        file=file,
    )
    return Markup(text)  # the template has escaped every value
