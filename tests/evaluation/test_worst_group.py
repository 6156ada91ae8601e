"""Accuracy in the worst group as what decides."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.grouped_photos import list_sites, write_sites
from helpers.small_models import tiny_network
from robustvit import UserError, evaluate
from robustvit.common.group_intervals import worst_change_of, worst_of
from robustvit.common.intervals import Interval
from robustvit.common.outcomes import open_cost
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval, measure_title
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped
from robustvit.evaluation.verdict import compare, decide
from robustvit.evaluation.worst_group import COUNTED


def photos_of(groups, right, swapped=None):
    """Measures of photos of class 0 in groups, answered right or wrong, also on the background of photo 1000."""
    found = []
    for index, (group, one) in enumerate(zip(groups, right, strict=True)):
        photo = PhotoMeasure(f"{index}.png", 0, int(not one), 0.9, {"ordinary": float(one)}, group=group)
        for donor, said in enumerate(swapped[index] if swapped is not None else ()):
            photo.swapped.append(Swapped("mixed-other", donor, int(not said), 0.9))
        photo.rate_swaps()
        found.append(photo)
    return found


def test_the_worst_group_is_that_with_the_lowest_accuracy_of_those_with_five_photos():
    groups = ["a"] * 10 + ["b"] * 10 + ["c"] * 4 + [None] * 5
    found = photos_of(groups, [1] * 8 + [0] * 2 + [1] * 6 + [0] * 4 + [0] * 9)
    worst = measure_interval(found, "worst-group/ordinary")
    assert worst.mean == pytest.approx(0.6)  # c has four photos, and the others no group
    assert worst.low < 0.6 < worst.high
    assert measure_interval(found, "worst-group/mixed-other") is None
    assert measure_interval(found[:10], "worst-group/ordinary") is None
    assert measure_title("worst-group/mixed-other").startswith("accuracy in the worst group on backgrounds")


def test_its_change_may_be_between_different_groups():
    groups = ["a"] * 10 + ["b"] * 10
    swaps = [[[1, 0]] * 10 + [[1, 1]] * 10, [[1, 1]] * 10 + [[1, 0]] * 2 + [[1, 1]] * 8]
    old, new = (photos_of(groups, [1] * 20, one) for one in swaps)
    change = measure_difference(old, new, "worst-group/mixed-other")
    assert change.mean == pytest.approx(0.9 - 0.5)
    assert change.low < change.mean < change.high


def test_the_interval_holds_the_lowest_true_accuracy_where_groups_share_backgrounds():
    rng = np.random.default_rng(0)
    groups, held, changed = ["a"] * 30 + ["b"] * 30 + ["c"] * 30, 0, 0
    for _ in range(200):
        bad = rng.random(12) < 0.3  # backgrounds that change the answers to all photos on them
        sides = []
        for _ in range(2):
            donors = rng.integers(12, size=(90, 2))
            answers = (rng.random((90, 2)) < 0.8) & ~bad[donors]
            found = photos_of(groups, [1] * 90)
            for photo, own, said in zip(found, donors, answers, strict=True):
                photo.swapped = [
                    Swapped("mixed-other", int(d), int(not s), 0.9) for d, s in zip(own, said, strict=True)
                ]
                photo.rate_swaps()
            sides.append(found)
        interval = measure_interval(sides[0], "worst-group/mixed-other")
        held += interval.low <= 0.8 * 0.7 <= interval.high
        change = measure_difference(*sides, "worst-group/mixed-other")
        changed += change.low <= 0 <= change.high
    assert held >= 180
    assert changed >= 180


def test_ends_are_those_of_the_groups_that_may_be_the_worst():
    parts = [Interval(0.5, 0.3, 0.7, 10), Interval(0.9, 0.85, 0.95, 40)]
    worst = worst_of(parts)
    assert (worst.mean, worst.low, worst.count) == (0.5, 0.3, 10)
    assert worst.high > 0.7  # it has to hold for both groups
    changes = [Interval(0.1, 0.0, 0.2, 10), Interval(-0.5, -0.6, -0.4, 40)]
    assert worst_change_of(parts, parts, changes) == Interval(0.0, 0.0, 0.2, 10)


def test_a_verdict_counts_photos_of_the_worst_group():
    groups, swaps = ["a"] * 100 + ["b"] * 15, [[1]] * 100 + [[0]] * 5 + [[1]] * 10
    found = photos_of(groups, [1] * 115, swaps)
    verdict = decide(compare(found, found, "worst-group"), metric="worst-group")
    assert "15 photos of the worst group are too few to exclude one: at least 20 that" in verdict.sentence
    lacking = photos_of(groups, [1] * 115, [[1]] * 104 + [()] * 11)
    verdict = decide(compare(lacking, lacking, "worst-group"), metric="worst-group")
    assert "need two groups with 5 test photos with masks and classes or more" in verdict.sentence
    assert "About 63 more photos of the worst group" in open_cost(Interval(0, -0.05, 0.05, 10), 2.0, COUNTED)


def test_a_verdict_can_rest_on_the_worst_group(tmp_path):
    images, _ = write_sites(tmp_path, {"north": 3, "south": 3})
    found = evaluate(
        model=tiny_network(3), baseline=tiny_network(3), images=str(list_sites(tmp_path)), swaps=1,
        metric="worst-group", backgrounds="none", include_trained=True,
    )  # fmt: skip
    assert found.verdict.metric == "worst-group"
    assert found.verdict.of("worst-group/mixed-other") is not None
    assert "accuracy in the worst group" in found.verdict.sentence
    with pytest.raises(UserError, match=r"--metric worst-group, got 0 such groups among 0 groups.*--group-by"):
        evaluate(model=tiny_network(3), images=str(images / "north"), masks=str(tmp_path / "masks" / "north"),
                 metric="worst-group")  # fmt: skip
