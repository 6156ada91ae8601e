"""Sentences about classes from a model's answers: those that lose recall significantly, and doubts of their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scipy import stats

from robustvit.common.errors import printable
from robustvit.common.intervals import Interval, mcnemar, paired_interval
from robustvit.common.wording import pluralize
from robustvit.data.class_matching import doubt_order
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.models.classifier import Classifier

RATE = 0.05  # false discovery rate among the classes called significant
_MOST_NAMED = 3


def adjusted_mcnemar(helped: Sequence[int], harmed: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return McNemar's exact p of each class, and the same adjusted over all classes, from its photos that changed.

    After Benjamini and Hochberg, Controlling the False Discovery Rate, J. R. Stat. Soc. B 57, 1995.
    """
    ps = [mcnemar(int(up), int(down)) for up, down in zip(helped, harmed, strict=True)]
    return ps, [float(q) for q in stats.false_discovery_control(ps)] if ps else []


def describe_lost_classes(
    before: Sequence[PhotoMeasure], after: Sequence[PhotoMeasure], name_of: Callable[[int], str]
) -> list[str]:
    """Return a sentence on the classes that lose recall; nothing if no loss stands out.

    Significant losses are named, at most three of them. If there is none, but the interval of the class that lost most
    excludes zero, that class is named, with the warning that it may be chance. A photo of several labels counts for
    each that it has.
    """
    counts: dict[int, list[int]] = {}  # photos, helped, harmed
    for old, new in zip(before, after, strict=True):
        for label in new.labels if new.labels is not None else () if new.label is None else (new.label,):
            was, now = _is_answered(old, label), _is_answered(new, label)
            row = counts.setdefault(label, [0, 0, 0])
            row[0], row[1], row[2] = row[0] + 1, row[1] + (now and not was), row[2] + (was and not now)
    _, adjusted = adjusted_mcnemar([row[1] for row in counts.values()], [row[2] for row in counts.values()])
    lost = [
        (paired_interval(up, down, photos), q, printable(name_of(label)))
        for (label, (photos, up, down)), q in zip(counts.items(), adjusted, strict=True)
        if down > up
    ]
    lost.sort(key=lambda one: (one[0].mean, one[2]))
    among = pluralize(len(counts), "class")
    if sure := [f"{name} {_describe_recall(change)}" for change, q, name in lost if q < RATE]:
        named = sure[:_MOST_NAMED]
        named += [f"{len(sure) - _MOST_NAMED} more"] if len(sure) > _MOST_NAMED else []
        listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        return [f"Recall fell significantly for {listed}, adjusted for {among}."]
    if lost and lost[0][0].high < 0:
        change, _, name = lost[0]
        return [f"Recall fell most for {name} {_describe_recall(change)}; with {among} that may be chance."]
    return []


def _is_answered(one: PhotoMeasure, label: int) -> bool:
    """Return whether a photo is answered as a class that it shows."""
    return one.predicted == label if one.labels is None else one.scores[label] > 0.5


def _describe_recall(change: Interval) -> str:
    return f"({change.points()}, {pluralize(change.count, 'photo')})"


def doubt_answers(classes: Sequence[str | None], answers: Sequence[PhotoMeasure], classifier: Classifier) -> list[str]:
    """Warn if answers fit another order of the classes far better, see ``doubt_order``; return the line, if any.

    ``classes`` are those of the photos as named on disk. Photos of several labels say nothing about an order.
    """
    labels = [one.label if one.labels is None else None for one in answers]
    return doubt_order(classes, labels, [one.predicted for one in answers], classifier)
