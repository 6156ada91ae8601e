"""Numbers of multi-label models, against a plain second implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustvit import UserError
from robustvit.evaluation.class_numbers import class_numbers
from robustvit.evaluation.deciding_metric import metric_for
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval
from robustvit.evaluation.metrics import METRICS, Predictions
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped


def answers(count: int, classes: int, seed: int, skill: float = 1.0) -> list[PhotoMeasure]:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0).random((count, classes)) < 0.4
    found = []
    for index, row in enumerate(truth):
        scores = 1 / (1 + np.exp(-skill * (row - 0.5) - rng.normal(size=classes)))
        labels = np.flatnonzero(row).tolist()
        one = PhotoMeasure(f"{index}.png", labels[0] if labels else None, int(scores.argmax()), float(scores.max()))
        one.labels, one.scores = labels, dict(enumerate(scores.tolist()))
        other = 1 / (1 + np.exp(-skill * (row - 0.5) - rng.normal(size=classes)))
        if labels:
            one.swapped = [Swapped("mixed-other", (index + 1) % count, 0, 0.5, dict(enumerate(other.tolist())))]
        one.values = {"ordinary": float(one.is_right(one))}
        found.append(one)
    return found


def plain_average_precision(scores, truth):
    """Mean precision at each photo that shows the class, photos ranked by score."""
    precisions = []
    for score, there in zip(scores, truth, strict=True):
        if there:
            above = [other for other, value in zip(truth, scores, strict=True) if value >= score]
            precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions)


def test_mean_average_precision_is_that_of_the_plain_loop_and_of_torchmetrics():
    from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

    photos = answers(60, 4, 1)
    scores = np.array([[one.scores[label] for label in range(4)] for one in photos])
    truth = np.array([[label in one.labels for label in range(4)] for one in photos])
    plain = np.mean([plain_average_precision(scores[:, label], truth[:, label]) for label in range(4)])
    ours = measure_interval(photos, "average-precision/ordinary")
    assert ours.mean == pytest.approx(plain)
    assert ours.low < plain < ours.high
    tensors = torch.tensor(scores), torch.tensor(truth).long()
    assert ours.mean == pytest.approx(float(multilabel_average_precision(*tensors, num_labels=4)), abs=1e-6)
    numbers = class_numbers(photos, str)
    assert numbers.metrics["macro-f1"].mean == pytest.approx(
        float(multilabel_f1_score(*tensors, num_labels=4)), abs=1e-6
    )
    first = numbers.classes[0]
    assert first.average_precision.mean == pytest.approx(plain_average_precision(scores[:, 0], truth[:, 0]))
    assert first.recall.mean == pytest.approx((scores[:, 0] > 0.5)[truth[:, 0]].mean())


def test_slopes_of_macro_f1_are_those_of_finite_differences():
    photos = answers(20, 3, 2)
    scores = np.array([[one.scores[label] for label in range(3)] for one in photos])
    truth = np.array([[label in one.labels for label in range(3)] for one in photos])
    weights = np.linspace(0.5, 1.5, 20)
    nothing = np.zeros(20, dtype=int)

    def f1(weight):
        return METRICS["macro-f1"].slopes(Predictions(nothing, nothing - 1, scores, truth, weights=weight))

    slopes = f1(weights)[1]
    for index in range(20):
        step = np.zeros(20)
        step[index] = 1e-6
        measured = (f1(weights + step)[0] - f1(weights - step)[0]) / 2e-6
        assert slopes[index] == pytest.approx(measured, abs=1e-6)


def test_a_better_model_is_shown_to_be_better_on_other_backgrounds_too():
    before, after = answers(300, 4, 3, skill=0.5), answers(300, 4, 4, skill=3)
    for kind in ("ordinary", "mixed-other"):
        change = measure_difference(before, after, f"average-precision/{kind}")
        assert change.low > 0
        assert change.count == (300 if kind == "ordinary" else sum(bool(one.labels) for one in after))


def test_whole_photos_are_right_if_all_their_labels_are():
    one = PhotoMeasure("a.png", 0, 0, 0.9, scores={0: 0.9, 1: 0.6, 2: 0.1}, labels=[0])
    assert not one.is_right(one), "class 1 is claimed, too"
    one.labels = [0, 1]
    assert one.is_right(one)


def test_what_decides_for_several_labels_is_mean_average_precision():
    assert metric_for("multi-label", "accuracy") == "average-precision"
    assert metric_for("multi-label", "macro-f1") == "macro-f1"
    assert metric_for("binary", "accuracy") == "accuracy"
    with pytest.raises(UserError, match="for a multi-label model"):
        metric_for("multi-label", "balanced-accuracy")
