"""The numbers of a set from its answers: accuracies, calibration, a comparison of two models, and numbers by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from scipy import stats

from robustvit.common.derived_intervals import derived_difference, derived_interval
from robustvit.common.group_intervals import worst_interval
from robustvit.common.intervals import Interval, mcnemar, mean_interval, paired_interval
from robustvit.evaluation.calibration import calibration_error
from robustvit.evaluation.class_numbers import MOST_CONFUSIONS
from robustvit.evaluation.metrics import METRICS, Predictions
from robustvit.evaluation.on_sets.outcomes import Outcomes, align_outcomes, rows_by
from robustvit.evaluation.sets import Summary


def set_numbers(
    outcomes: Outcomes, summary: Summary, seen: Collection[int] | None = None, *, top5: bool = False
) -> dict[str, Interval]:
    """Compute the numbers of a set, each in [0, 1] with a 95 % CI over images.

    ``top1``, ``top5`` (on request), ``ece``, ``worst_class``; those of ``set_metrics``; ``group_mean`` and
    ``worst_group`` if there are groups (the intervals of the worst allow for the choice, see ``worst_interval``);
    ``seen_top1`` and ``unseen_top1`` if seen classes are given; ``headline``, the number that summarizes the set.

    Args:
        outcomes: the answers.
        summary: see ``Benchmark``.
        seen: answers that the model was finetuned on (paper, Figure 4 and Tables 10 and 11).
        top5: whether there are more than five possible answers.
    """
    correct = outcomes.correct
    numbers = {"top1": mean_interval(correct)}
    if top5:
        numbers["top5"] = mean_interval(outcomes.in_top5)
    numbers["ece"] = calibration_error(outcomes.confidence, correct)
    numbers["worst_class"] = worst_interval([correct[rows] for rows in rows_by(outcomes.class_names).values()])
    numbers |= set_metrics(outcomes)
    if (outcomes.groups != "").any():
        parts = [correct[rows] for rows in rows_by(outcomes.groups).values()]
        numbers |= {"group_mean": _mean_over(list(map(mean_interval, parts))), "worst_group": worst_interval(parts)}
    if seen:
        inside = np.isin(outcomes.right, list(seen)).any(axis=1)
        sides = {"seen_top1": correct[inside], "unseen_top1": correct[~inside]}
        if top5:
            sides |= {"seen_top5": outcomes.in_top5[inside], "unseen_top5": outcomes.in_top5[~inside]}
        numbers |= {name: mean_interval(part) for name, part in sides.items() if len(part)}
    headline = _choose_headline(outcomes, summary, numbers)
    return numbers if headline is None else numbers | {"headline": headline}


def _choose_headline(outcomes: Outcomes, summary: Summary, numbers: dict[str, Interval]) -> Interval | None:
    """Return the number that summarizes the set; None if it is undefined.

    For ``shape`` this is the share of shape among answers for shape or texture, on images where the two conflict
    (Geirhos et al. 2019).
    """
    if summary != "shape":
        return numbers[{"accuracy": "top1", "group-mean": "group_mean", "worst-group": "worst_group"}[summary]]
    own = (outcomes.right == outcomes.textures[:, None]).any(axis=1)
    conflict = (outcomes.textures >= 0) & ~own
    decided = conflict & (outcomes.correct | (outcomes.answers == outcomes.textures))
    return mean_interval(outcomes.correct[decided]) if decided.any() else None


def accuracies_by(outcomes: Outcomes, column: str) -> dict[str, Interval]:
    """Return the accuracy of each class (``class_names``) or group (``groups``), sorted by name."""
    correct = outcomes.correct
    return {name: mean_interval(correct[rows]) for name, rows in rows_by(getattr(outcomes, column)).items()}


def _mean_over(parts: Sequence[Interval]) -> Interval:
    """Return the mean accuracy over groups, with a normal interval, since the groups are independent.

    Each group counts one more right and one more wrong image, so that the interval does not vanish if all answers are
    alike.
    """
    means = np.array([part.mean for part in parts])
    counts = np.array([part.count for part in parts])
    drawn = (means * counts + 1) / (counts + 2)
    error = float(np.sqrt((drawn * (1 - drawn) / (counts + 2)).sum()) / len(means))
    mean, reach = float(means.mean()), float(stats.norm.ppf(0.975)) * error
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach), int(counts.sum()))


def compare_outcomes(before: Outcomes, after: Outcomes) -> dict[str, Any]:
    """Compare two models on the images that both have seen.

    ``top1`` and ``classes`` are paired differences, after minus before, see ``paired_interval``; ``helped`` and
    ``harmed`` count images that only the second or only the first got right; the differences of ``set_metrics`` have
    their names; ``mcnemar_p`` is the exact two-sided p of McNemar's test.
    """
    before, after = align_outcomes(before, after)
    helped, harmed = after.correct & ~before.correct, before.correct & ~after.correct
    up, down = int(helped.sum()), int(harmed.sum())
    return {
        "top1": paired_interval(up, down, len(before)),
        "helped": up,
        "harmed": down,
        **compare_set_metrics(before, after),
        "mcnemar_p": mcnemar(up, down),
        "classes": {
            name: paired_interval(int(helped[rows].sum()), int(harmed[rows].sum()), len(rows))
            for name, rows in rows_by(before.class_names).items()
        },
    }


def set_predictions(outcomes: Outcomes) -> tuple[Predictions, bool]:
    """Return the answers by class of the set, and whether every answer is right for one class at most.

    Where several classes share a right answer, a wrong answer belongs to no class.
    """
    labels = np.unique(outcomes.class_names, return_inverse=True)[1].ravel()
    pairs = np.stack([np.repeat(labels, outcomes.right.shape[1]), outcomes.right.ravel()], axis=1)
    pairs = np.unique(pairs[pairs[:, 1] >= 0], axis=0)
    told = len(np.unique(pairs[:, 1])) == len(pairs)
    owner = np.full(int(max(outcomes.answers.max(), pairs[:, 1].max(initial=0))) + 1, -1)
    if told:
        owner[pairs[:, 1]] = pairs[:, 0]
    said = np.where(outcomes.answers >= 0, owner[outcomes.answers], -1)
    answers = np.where(outcomes.correct, labels, np.where(said == labels, -1, said))
    return Predictions(labels, answers, _sum_scores(outcomes.scores, pairs) if told else None), told


def _sum_scores(scores: np.ndarray | None, pairs: np.ndarray) -> np.ndarray | None:
    """Return the score of each class, ``(N, K)``: that of its answers together; None for a single class.

    Given are the scores of every answer, ``(N, A)``, if they are known, and pairs of classes and answers, ``(P, 2)``.
    """
    classes = len(np.unique(pairs[:, 0]))
    if scores is None or classes < 2:
        return None
    sums = np.zeros((classes, len(scores)))
    np.add.at(sums, pairs[:, 0], scores.T[pairs[:, 1]])
    return sums.T


def set_metrics(outcomes: Outcomes) -> dict[str, Interval]:
    """Return ``balanced_accuracy``, and where every answer belongs to one class ``macro_f1``.

    Also ``auroc`` and ``average_precision`` where the scores of all answers are known, see ``Outcomes``.
    """
    predictions, told = set_predictions(outcomes)
    return {
        METRICS[name].column: derived_interval(METRICS[name].derive(predictions))
        for name in _list_metrics(told, predictions)
    }


def _list_metrics(told: bool, *sides: Predictions) -> list[str]:
    """Return the metrics that predictions can have."""
    ranked = all(side.scores is not None for side in sides)
    return ["balanced-accuracy", *(["macro-f1"] if told else []), *(["auroc", "average-precision"] if ranked else [])]


def compare_set_metrics(before: Outcomes, after: Outcomes) -> dict[str, Interval]:
    """Return the paired differences of ``set_metrics`` on the same images in the same order."""
    (old, told), (new, _) = set_predictions(before), set_predictions(after)
    return {
        METRICS[name].column: derived_difference(METRICS[name].derive(old), METRICS[name].derive(new))
        for name in _list_metrics(told, old, new)
    }


def set_precisions(outcomes: Outcomes) -> dict[str, Interval]:
    """Return the precision of each class that is answered at all; empty where classes share right answers."""
    predictions, told = set_predictions(outcomes)
    if not told:
        return {}
    answered = predictions.answers >= 0
    names, right = np.unique(outcomes.class_names)[predictions.answers[answered]], outcomes.correct[answered]
    return {name: mean_interval(right[rows]) for name, rows in rows_by(names).items()}


def set_confusions(outcomes: Outcomes, names: Sequence[str]) -> list[dict[str, str | int]]:
    """Return the most frequent wrong answers first: ``class``, ``answer`` (of these names) and number of ``images``."""
    wrong = outcomes.at(~outcomes.correct)
    counts = Counter(zip(wrong.class_names.tolist(), wrong.answers.tolist(), strict=True))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return [{"class": str(one), "answer": names[answer], "images": count} for (one, answer), count in ranked]
