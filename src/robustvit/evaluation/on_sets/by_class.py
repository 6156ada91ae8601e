"""What a model says of each class of a set: metrics over classes, precision, and the most frequent confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from robustvit.common.derived_intervals import derived_difference, derived_interval
from robustvit.common.intervals import Interval, mean_interval
from robustvit.evaluation.class_numbers import MOST_CONFUSIONS
from robustvit.evaluation.metrics import METRICS, Predictions
from robustvit.evaluation.on_sets.outcomes import Outcomes


def set_predictions(outcomes: Outcomes) -> tuple[Predictions, bool]:
    """Return the answers by class of the set, and whether every answer is right for one class at most.

    Where several classes share a right answer, a wrong answer belongs to no class.
    """
    _, labels = np.unique(outcomes.class_names, return_inverse=True)
    labels = labels.ravel()
    pairs = np.stack([np.repeat(labels, outcomes.right.shape[1]), outcomes.right.ravel()], axis=1)
    pairs = np.unique(pairs[pairs[:, 1] >= 0], axis=0)
    told = len(np.unique(pairs[:, 1])) == len(pairs)
    owner = np.full(int(max(outcomes.answers.max(), pairs[:, 1].max(initial=0))) + 1, -1)
    if told:
        owner[pairs[:, 1]] = pairs[:, 0]
    said = np.where(outcomes.answers >= 0, owner[outcomes.answers], -1)
    answers = np.where(outcomes.correct, labels, np.where(said == labels, -1, said))
    return Predictions(labels, answers, _scores(outcomes.scores, pairs) if told else None), told


def _scores(scores: np.ndarray | None, pairs: np.ndarray) -> np.ndarray | None:
    """Return the score of each class, ``(N, K)``: that of its answers together; None for a single class.

    Args:
        scores: of every answer, ``(N, A)``, if they are known.
        pairs: classes and their answers, ``(P, 2)``.
    """
    classes = len(np.unique(pairs[:, 0]))
    if scores is None or classes < 2:
        return None
    found = np.zeros((classes, len(scores)))
    np.add.at(found, pairs[:, 0], scores.T[pairs[:, 1]])
    return found.T


def set_metrics(outcomes: Outcomes) -> dict[str, Interval]:
    """Return ``balanced_accuracy``, and where every answer belongs to one class ``macro_f1``.

    Also ``auroc`` and ``average_precision`` where the scores of all answers are known, see ``Outcomes``.
    """
    found, told = set_predictions(outcomes)
    return {METRICS[name].column: derived_interval(METRICS[name].derive(found)) for name in _names(told, found)}


def _names(told: bool, *sides: Predictions) -> list[str]:
    """Return the metrics that predictions can have."""
    ranked = all(side.scores is not None for side in sides)
    return ["balanced-accuracy", *(["macro-f1"] if told else []), *(["auroc", "average-precision"] if ranked else [])]


def compare_set_metrics(before: Outcomes, after: Outcomes) -> dict[str, Interval]:
    """Return the paired differences of ``set_metrics`` on the same images in the same order."""
    (old, told), (new, _) = set_predictions(before), set_predictions(after)
    return {
        METRICS[name].column: derived_difference(METRICS[name].derive(old), METRICS[name].derive(new))
        for name in _names(told, old, new)
    }


def set_precisions(outcomes: Outcomes) -> dict[str, Interval]:
    """Return the precision of each class that is answered at all; empty where classes share right answers."""
    found, told = set_predictions(outcomes)
    if not told:
        return {}
    names = np.unique(outcomes.class_names)
    said = np.argsort(found.answers, kind="stable")[int((found.answers < 0).sum()) :]
    rows = np.split(said, np.cumsum(np.bincount(found.answers[said], minlength=len(names)))[:-1])
    right = outcomes.correct
    return {str(name): mean_interval(right[part]) for name, part in zip(names, rows, strict=True) if len(part)}


def set_confusions(outcomes: Outcomes, names: Sequence[str]) -> list[dict[str, str | int]]:
    """Return the most frequent wrong answers: ``class``, ``answer`` and number of ``images``, the most frequent first.

    Args:
        outcomes: the answers.
        names: of the answers.
    """
    wrong = outcomes.at(~outcomes.correct)
    counts = Counter(zip(wrong.class_names.tolist(), wrong.answers.tolist(), strict=True))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return [{"class": str(one), "answer": names[answer], "images": count} for (one, answer), count in ranked]
