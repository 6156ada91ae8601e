"""The numbers of a set from its answers: accuracies with intervals, calibration, and a comparison of two models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from robustvit.common.intervals import Interval, mcnemar, mean_interval, paired_interval
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.sets import Summary

_BINS = 15
_RESAMPLES = 200


def numbers_of(
    outcomes: Outcomes, summary: Summary, seen: Collection[int] = (), *, top5: bool = False
) -> dict[str, Interval]:
    """Compute the numbers of a set, each in [0, 1] with a 95 % CI over images.

    ``top1``, ``top5`` (on request), ``ece``, ``worst_class``; ``group_mean`` and ``worst_group`` if there are groups;
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
    found["ece"] = calibration_error(outcomes)
    found["worst_class"] = _worst(accuracies_by(outcomes, "class_names"))
    if (outcomes.groups != "").any():
        groups = accuracies_by(outcomes, "groups")
        found |= {"group_mean": _mean_of(groups), "worst_group": _worst(groups)}
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
    names, places = np.unique(getattr(outcomes, column), return_inverse=True)
    order = np.argsort(places, kind="stable")
    parts = np.split(outcomes.correct[order], np.cumsum(np.bincount(places))[:-1])
    return {str(name): mean_interval(part) for name, part in zip(names, parts, strict=True)}


def _worst(parts: dict[str, Interval]) -> Interval:
    return min(parts.values(), key=lambda interval: interval.mean)


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


def calibration_error(outcomes: Outcomes, seed: int = 0) -> Interval:
    """Compute the expected calibration error (Guo et al. 2017) in 15 equal bins of confidence.

    The interval is the basic bootstrap's, which removes the upward bias of resampling, cut off at 0.
    """

    def error(rows: np.ndarray) -> float:
        chosen = rows.astype(np.int64)
        return _gap_in_bins(confidence[chosen], correct[chosen])

    confidence = torch.from_numpy(outcomes.confidence.astype(np.float32)).clamp(0, 1)
    correct = torch.from_numpy(outcomes.correct.astype(np.float32))
    mean = error(np.arange(len(outcomes)))
    if len(outcomes) < 2:
        return Interval(mean, mean, mean, len(outcomes))
    interval = stats.bootstrap(
        (np.arange(len(outcomes)),),
        error,
        n_resamples=_RESAMPLES,
        vectorized=False,
        method="basic",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, max(0.0, float(interval.low)), min(1.0, float(interval.high)), len(outcomes))


def _gap_in_bins(confidence: Tensor, correct: Tensor) -> float:
    """Return the mean gap between confidence and accuracy in equal bins, weighted by their images; both ``(N,)``.

    It is torchmetrics' ``binary_calibration_error`` to the bit, without the seconds that importing torchmetrics takes.
    """
    bins = torch.bucketize(confidence, torch.linspace(0, 1, _BINS + 1), right=True) - 1
    count, trust, right = (
        torch.zeros(_BINS + 1).scatter_add_(0, bins, values)
        for values in (torch.ones_like(confidence), confidence, correct)
    )
    gap = ((right / count).nan_to_num() - (trust / count).nan_to_num()).abs()
    return float((gap * (count / count.sum())).sum())


def compare_outcomes(before: Outcomes, after: Outcomes) -> dict[str, Any]:
    """Compare two models on the images that both have seen.

    Returns:
        ``top1``, the paired difference after minus before, see ``paired_interval``; ``helped`` and ``harmed``, images
        that only the second or only the first got right; ``mcnemar_p``, the exact two-sided p of McNemar's test; and
        ``classes``, the paired difference of each, see ``paired_interval``.
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
        "mcnemar_p": mcnemar(int(helped.sum()), int(harmed.sum())),
        "classes": classes,
    }
