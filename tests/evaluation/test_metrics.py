"""Every metric and its slopes against a plain implementation, and the coverage of its intervals by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from plain.metrics import SLOW_METRICS
from robustvit.common.derived_intervals import derived_difference, derived_interval, effective_photos
from robustvit.common.errors import UserError
from robustvit.common.intervals import (
    ClusteredAnswers,
    crossed_difference,
    crossed_interval,
    mean_interval,
    paired_difference,
)
from robustvit.evaluation.metrics import METRICS, Predictions

NAMES = sorted(METRICS)


def drawn(counts: list[int], skill: float, seed: int, *, tied: bool = False, base: np.ndarray | None = None):
    """Photos of classes of these sizes, and scores that are higher for the true class by ``skill``."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(size=(len(labels), len(counts)))
    if base is not None:  # two models make the same mistakes, mostly
        logits = 0.9 * base + math.sqrt(0.19) * logits
    logits[np.arange(len(labels)), labels] += skill
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Predictions(labels, scores.argmax(1), scores.round(1) if tied else scores)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tied", [False, True])
def test_a_metric_equals_the_plain_one_with_weights_and_ties(name, tied):
    found = drawn([3, 9, 5], 0.7, 3, tied=tied)
    answers = found.answers.copy()
    answers[[0, 7]] = -1  # classes that no photo has
    for weights in (np.ones(17), np.random.default_rng(0).uniform(0.2, 1, 17)):
        told = Predictions(found.labels, answers, found.scores, weights=weights)
        slow = SLOW_METRICS[name](found.labels.tolist(), answers.tolist(), found.scores.tolist(), weights.tolist())
        assert METRICS[name].derive(told).value == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tied", [False, True])
def test_the_slopes_are_the_derivatives_of_the_plain_metric_by_the_weights(name, tied):
    found = drawn([3, 6, 4], 0.7, 5, tied=tied)
    weights = np.random.default_rng(1).uniform(0.5, 1, 13)
    given = Predictions(found.labels, found.answers, found.scores, weights=weights)
    step = 1e-5
    for place, slope in enumerate(METRICS[name].slopes(given)[1]):
        sides = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[place] += sign * step
            sides.append(SLOW_METRICS[name](found.labels, found.answers, found.scores, moved))
        assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-8)


def test_the_metrics_equal_those_of_torchmetrics_and_scikit_learn():
    import torch
    from torchmetrics.functional import classification as torch_metrics

    found = drawn([30, 7, 12], 1.0, 0)
    scores, labels = torch.from_numpy(found.scores), torch.from_numpy(found.labels)
    others = {
        "accuracy": torch_metrics.multiclass_accuracy(scores, labels, 3, average="micro"),
        "balanced-accuracy": torch_metrics.multiclass_accuracy(scores, labels, 3, average="macro"),
        "macro-f1": torch_metrics.multiclass_f1_score(scores, labels, 3, average="macro"),
        "auroc": torch_metrics.multiclass_auroc(scores, labels, 3, average="macro"),
        "average-precision": torch_metrics.multiclass_average_precision(scores, labels, 3, average="macro"),
    }
    for name, theirs in others.items():
        assert METRICS[name].derive(found).value == pytest.approx(float(theirs), abs=1e-6)
    assert METRICS["auroc"].derive(found).value == pytest.approx(
        sklearn_metrics.roc_auc_score(found.labels, found.scores, multi_class="ovr")
    )
    assert METRICS["balanced-accuracy"].derive(found).value == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(found.labels, found.answers)
    )


def test_the_variance_of_auroc_of_two_classes_is_that_of_delong():
    """DeLong et al. 1988: S10 / m + S01 / n, from the placements of each photo."""
    found = drawn([8, 21], 0.8, 2)
    scores = found.scores[:, 0]
    ours, others = scores[found.labels == 0], scores[found.labels == 1]
    wins = (ours[:, None] > others[None]) + 0.5 * (ours[:, None] == others[None])
    delong = wins.mean(1).var(ddof=1) / 8 + wins.mean(0).var(ddof=1) / 21
    assert float((METRICS["auroc"].derive(found).parts ** 2).sum()) == pytest.approx(delong)


def test_intervals_of_balanced_accuracy_are_those_of_accuracy_where_classes_have_equal_size():
    old, new = drawn([40, 40], 0.6, 1), drawn([40, 40], 1.5, 2)
    right = [one.labels == one.answers for one in (old, new)]
    derived = [METRICS["balanced-accuracy"].derive(one) for one in (old, new)]
    assert derived[0].effective == pytest.approx(80)
    for ours, theirs in (
        (derived_interval(derived[1]), mean_interval(right[1] * 1.0, shares=True)),
        (derived_difference(*derived), paired_difference(right[0] * 1.0, right[1] * 1.0)),
    ):
        assert (ours.mean, ours.count) == pytest.approx((theirs.mean, theirs.count))
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_with_swapped_backgrounds_the_interval_of_accuracy_is_the_one_that_covers_donors_too():
    rng = np.random.default_rng(4)
    photos, donors = np.repeat(np.arange(30), 2), rng.integers(0, 12, 60)
    labels = photos % 2
    sides = [
        Predictions(labels, np.where(rng.random(60) < share, labels, 1 - labels),
                    weights=np.full(60, 0.5), photos=photos, donors=donors)
        for share in (0.5, 0.8)
    ]  # fmt: skip
    answers = [ClusteredAnswers(one.labels == one.answers, photos, donors) for one in sides]
    derived = [METRICS["balanced-accuracy"].derive(one) for one in sides]
    for ours, theirs in (
        (derived_interval(derived[0]), crossed_interval(answers[0])),
        (derived_difference(*derived), crossed_difference(*answers)),
    ):
        assert ours.mean == pytest.approx(theirs.mean)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.025)


def test_photos_of_a_rare_class_count_for_more_so_the_number_is_worth_fewer_photos():
    assert effective_photos(np.array([50, 50])) == pytest.approx(100)
    assert effective_photos(np.array([5, 95])) < 20


@pytest.mark.parametrize("name", [name for name in NAMES if name != "accuracy"])
def test_no_interval_has_width_zero_where_nothing_changed_or_all_is_right(name):
    perfect = Predictions(np.repeat([0, 1], [4, 20]), np.repeat([0, 1], [4, 20]), np.eye(2)[np.repeat([0, 1], [4, 20])])
    derived = METRICS[name].derive(perfect)
    assert derived_interval(derived).mean == 1
    assert derived_interval(derived).low < 0.9
    same = derived_difference(derived, derived)
    assert same.low < -0.1 < 0.1 < same.high


def test_a_metric_of_scores_refuses_predictions_without_them():
    with pytest.raises(UserError, match="--metric"):
        METRICS["auroc"].derive(Predictions(np.array([0, 1]), np.array([0, 1])))


def test_several_classes_in_a_photo_are_ranked_class_by_class():
    rng = np.random.default_rng(0)
    scores, targets = rng.random((40, 3)), rng.random((40, 3)) < 0.4
    found = Predictions(targets.argmax(1), scores.argmax(1), scores, targets=targets)
    theirs = sklearn_metrics.average_precision_score(targets, scores, average="macro")
    assert METRICS["average-precision"].derive(found).value == pytest.approx(theirs)


COVERED = [([10, 30], 1.0, 1.5), ([5, 100], 1.0, 2.0), ([15, 15, 15], 2.0, 2.0), ([4, 8, 30], 0.5, 1.5)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "accuracy"])
@pytest.mark.parametrize(("counts", "before", "after"), COVERED)
def test_intervals_hold_the_true_number_and_the_true_change_about_as_often_as_they_say(name, counts, before, after):
    metric = METRICS[name]
    times = 3000 // sum(counts)
    truth = [
        np.mean([metric.derive(drawn([times * n for n in counts], skill, seed)).value for seed in range(6)])
        for skill in (before, after)
    ]
    repeats, single, change = 300, 0, 0
    for seed in range(repeats):
        base = np.random.default_rng([seed, 1]).normal(size=(sum(counts), len(counts)))
        derived = [
            metric.derive(drawn(counts, skill, 2 * seed + side, base=base))
            for side, skill in enumerate((before, after))
        ]
        one, two = derived_interval(derived[1]), derived_difference(*derived)
        single += one.low <= truth[1] <= one.high
        change += two.low <= truth[1] - truth[0] <= two.high
    slack = 2 * math.sqrt(0.93 * 0.07 / repeats)
    assert min(single, change) / repeats > 0.92 - slack
