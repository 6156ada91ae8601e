"""The numbers of a set from its answers: accuracies with intervals, calibration, and a comparison of two models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from scipy import stats

from robustvit.common.group_intervals import worst_interval
from robustvit.common.intervals import Interval, mcnemar, mean_interval, paired_interval
from robustvit.evaluation.calibration import calibration_error
from robustvit.evaluation.on_sets.by_class import compare_set_metrics, set_metrics
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.sets import Summary


def set_numbers(
    outcomes: Outcomes, summary: Summary, seen: Collection[int] = (), *, top5: bool = False
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
    found = {"top1": mean_interval(correct)}
    if top5:
        found["top5"] = mean_interval(outcomes.in_top5)
    found["ece"] = calibration_error(outcomes.confidence, correct)
    found["worst_class"] = worst_interval(list(_answers_by(outcomes, "class_names").values()))
    found |= set_metrics(outcomes)
    if (outcomes.groups != "").any():
        worst = worst_interval(list(_answers_by(outcomes, "groups").values()))
        found |= {"group_mean": _mean_of(accuracies_by(outcomes, "groups")), "worst_group": worst}
    if seen:
        inside = np.isin(outcomes.right, list(seen)).any(axis=1)
        parts = {"seen_top1": correct[inside], "unseen_top1": correct[~inside]}
        if top5:
            parts |= {"seen_top5": outcomes.in_top5[inside], "unseen_top5": outcomes.in_top5[~inside]}
        found |= {name: mean_interval(part) for name, part in parts.items() if len(part)}
    headline = _headline(outcomes, summary, found)
    return found if headline is None else found | {"headline": headline}


def _headline(outcomes: Outcomes, summary: Summary, found: dict[str, Interval]) -> Interval | None:
    """Return the number that summarizes the set; None if it is undefined.

    For ``shape`` this is the share of shape among answers for shape or texture, on images where the two conflict
    (Geirhos et al. 2019).
    """
    if summary != "shape":
        return found[{"accuracy": "top1", "group-mean": "group_mean", "worst-group": "worst_group"}[summary]]
    own = (outcomes.right == outcomes.textures[:, None]).any(axis=1)
    conflict = (outcomes.textures >= 0) & ~own
    decided = conflict & (outcomes.correct | (outcomes.answers == outcomes.textures))
    return mean_interval(outcomes.correct[decided]) if decided.any() else None


def accuracies_by(outcomes: Outcomes, column: str) -> dict[str, Interval]:
    """Return the accuracy of each class (``class_names``) or group (``groups``), sorted by name."""
    return {name: mean_interval(part) for name, part in _answers_by(outcomes, column).items()}


def _answers_by(outcomes: Outcomes, column: str) -> dict[str, np.ndarray]:
    names, places = np.unique(getattr(outcomes, column), return_inverse=True)
    order = np.argsort(places, kind="stable")
    parts = np.split(outcomes.correct[order], np.cumsum(np.bincount(places))[:-1])
    return {str(name): part for name, part in zip(names, parts, strict=True)}


def _mean_of(parts: dict[str, Interval]) -> Interval:
    """Return the mean accuracy over groups, with a normal interval, since the groups are independent.

    Each group counts one more right and one more wrong image, so that the interval does not vanish if all answers are
    alike.
    """
    means = np.array([part.mean for part in parts.values()])
    counts = np.array([part.count for part in parts.values()])
    drawn = (means * counts + 1) / (counts + 2)
    error = float(np.sqrt((drawn * (1 - drawn) / (counts + 2)).sum()) / len(means))
    mean, reach = float(means.mean()), float(stats.norm.ppf(0.975)) * error
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach), int(counts.sum()))


def compare_outcomes(before: Outcomes, after: Outcomes) -> dict[str, Any]:
    """Compare two models on the images that both have seen.

    Returns:
        ``top1``, the paired difference after minus before, see ``paired_interval``; ``helped`` and ``harmed``, images
        that only the second or only the first got right; the differences of ``set_metrics``; ``mcnemar_p``, the exact
        two-sided p of McNemar's test; and ``classes``, the paired difference of each, see ``paired_interval``.
    """
    _, one, other = np.intersect1d(before.names, after.names, return_indices=True)
    before, after = before.at(one), after.at(other)
    old, new = before.correct, after.correct
    helped, harmed = new & ~old, old & ~new
    names, places = np.unique(before.class_names, return_inverse=True)
    counts = [np.bincount(places, weights, len(names)) for weights in (helped, harmed, None)]
    classes = {
        str(name): paired_interval(int(up), int(down), int(count))
        for name, up, down, count in zip(names, *counts, strict=True)
    }
    return {
        "top1": paired_interval(int(helped.sum()), int(harmed.sum()), len(old)),
        "helped": int(helped.sum()),
        "harmed": int(harmed.sum()),
        **compare_set_metrics(before, after),
        "mcnemar_p": mcnemar(int(helped.sum()), int(harmed.sum())),
        "classes": classes,
    }
