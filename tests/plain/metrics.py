"""Metrics over classes, slowly and plainly: loops over photos, pairs of photos and thresholds."""

from __future__ import annotations


def slow_accuracy(labels, answers, scores, weights):
    """The weight of right answers over all weight."""
    right = sum(w for label, answer, w in zip(labels, answers, weights, strict=True) if label == answer)
    return right / sum(weights)


def slow_recalls(labels, answers, weights):
    """By class that a photo has, the weight of its right answers over its weight."""
    found = {}
    for one in sorted(set(labels)):
        own = [(answer, w) for label, answer, w in zip(labels, answers, weights, strict=True) if label == one]
        found[one] = sum(w for answer, w in own if answer == one) / sum(w for _, w in own)
    return found


def slow_precisions(labels, answers, weights):
    """By class that a photo has, the weight of right answers over that of its answers; None if it never is one."""
    found = {}
    for one in sorted(set(labels)):
        said = [(label, w) for label, answer, w in zip(labels, answers, weights, strict=True) if answer == one]
        found[one] = sum(w for label, w in said if label == one) / sum(w for _, w in said) if said else None
    return found


def slow_balanced_accuracy(labels, answers, scores, weights):
    """The mean recall."""
    recalls = slow_recalls(labels, answers, weights)
    return sum(recalls.values()) / len(recalls)


def slow_macro_f1(labels, answers, scores, weights):
    """The mean of the harmonic means of precision and recall."""
    recalls, precisions = slow_recalls(labels, answers, weights), slow_precisions(labels, answers, weights)
    total = 0.0
    for one, recall in recalls.items():
        precision = precisions[one]
        if precision is not None and recall + precision > 0:
            total += 2 * recall * precision / (recall + precision)
    return total / len(recalls)


def slow_auroc(labels, answers, scores, weights):
    """The mean over classes of the share of pairs, one photo of the class and one of another, that are in order."""
    areas = []
    for one in sorted(set(labels)):
        won = total = 0.0
        for i, first in enumerate(labels):
            for j, second in enumerate(labels):
                if first == one and second != one:
                    pair = weights[i] * weights[j]
                    total += pair
                    if scores[i][one] > scores[j][one]:
                        won += pair
                    elif scores[i][one] == scores[j][one]:
                        won += pair / 2
        areas.append(won / total)
    return sum(areas) / len(areas)


def slow_average_precision(labels, answers, scores, weights):
    """The mean over classes of the area under the steps of precision over recall, threshold by threshold."""
    areas = []
    for one in sorted(set(labels)):
        own = sum(w for label, w in zip(labels, weights, strict=True) if label == one)
        area = before = 0.0
        for threshold in sorted({row[one] for row in scores}, reverse=True):
            passed = [
                (label, w) for label, row, w in zip(labels, scores, weights, strict=True) if row[one] >= threshold
            ]
            hits = sum(w for label, w in passed if label == one)
            area += (hits / own - before) * hits / sum(w for _, w in passed)
            before = hits / own
        areas.append(area)
    return sum(areas) / len(areas)


SLOW_METRICS = {
    "accuracy": slow_accuracy,
    "balanced-accuracy": slow_balanced_accuracy,
    "macro-f1": slow_macro_f1,
    "auroc": slow_auroc,
    "average-precision": slow_average_precision,
}
