"""Intervals of the worst group, of gaps and of weighted means: by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustvit.common.group_intervals import (
    best_interval,
    gap_interval,
    weighted_interval,
    worst_change,
    worst_interval,
)
from robustvit.common.intervals import Interval, mean_interval


def answers(right, count):
    return [1.0] * right + [0.0] * (count - right)


def plain_wilson(right, count, z):
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - reach, middle + reach


def test_the_worst_group_by_hand():
    found = worst_interval([answers(18, 20), answers(10, 20), answers(3, 5)])
    assert found.mean == 0.5
    assert found.count == 20
    assert found.low == pytest.approx(min(plain_wilson(3, 5, 1.959964)[0], plain_wilson(10, 20, 1.959964)[0]), abs=1e-6)
    # 0.975 ** (1 / 3) = 0.99160; the normal quantile of it is 2.3910
    assert found.high == pytest.approx(min(plain_wilson(10, 20, 2.3910)[1], plain_wilson(3, 5, 2.3910)[1]), abs=1e-4)


def test_one_group_has_its_own_interval():
    one = worst_interval([answers(7, 10)])
    plain = mean_interval(answers(7, 10))
    assert (one.mean, one.low, one.high) == pytest.approx((plain.mean, plain.low, plain.high))


def test_the_best_group_mirrors_the_worst():
    groups = [answers(3, 10), answers(8, 10)]
    wrong = [[1 - one for one in group] for group in groups]
    best, worst = best_interval(groups), worst_interval(wrong)
    assert (best.mean, best.low, best.high) == pytest.approx((1 - worst.mean, 1 - worst.high, 1 - worst.low))


def test_a_weighted_mean_is_by_square_and_add():
    parts = [Interval(0.9, 0.8, 0.95, 50), Interval(0.5, 0.4, 0.6, 50)]
    found = weighted_interval(parts, [3, 1])
    assert found.mean == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - math.sqrt((0.75 * 0.1) ** 2 + (0.25 * 0.1) ** 2))
    assert found.high == pytest.approx(0.8 + math.sqrt((0.75 * 0.05) ** 2 + (0.25 * 0.1) ** 2))


def test_a_change_of_the_worst_group_lies_within_its_interval():
    rng = np.random.default_rng(1)
    for _ in range(50):
        before = [rng.integers(0, 2, 12) for _ in range(4)]
        after = [rng.integers(0, 2, 12) for _ in range(4)]
        found = worst_change(before, after)
        assert found.low <= found.mean <= found.high


def test_a_worst_group_lifted_to_the_level_of_the_others_is_a_gain_though_a_good_group_lost_a_little():
    """The good group may be the worst after; its own loss is no bound of the change of the lowest accuracy."""
    before, after = [answers(270, 300), answers(4, 40)], [answers(255, 300), answers(34, 40)]
    found = worst_change(before, after)
    old, new = worst_interval(before), worst_interval(after)
    assert found.mean == pytest.approx(0.75)
    assert found.low == pytest.approx(new.low - old.high)
    assert found.low > 0.4
    back = worst_change(after, before)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


CASES = [
    ((0.7, 0.7, 0.7, 0.7), (30, 30, 30, 30)),
    ((0.6, 0.8, 0.9, 0.9), (30, 30, 30, 30)),
    ((0.7,) * 10, (20,) * 10),
    ((0.9,) * 12, (100,) * 12),
    ((0.8, 0.85, 0.9, 0.95), (20, 50, 200, 400)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("true", "counts"), CASES)
def test_intervals_of_the_worst_group_and_the_gap_hold_the_truth_in_simulations(true, counts):
    rng = np.random.default_rng(0)
    trials, held, gaps, lowest = 1500, 0, 0, 0.0
    for _ in range(trials):
        groups = [(rng.random(n) < p).astype(float) for p, n in zip(true, counts, strict=True)]
        worst, gap = worst_interval(groups), gap_interval(groups)
        held += worst.low <= min(true) <= worst.high
        gaps += gap.low <= max(true) - min(true) <= gap.high
        lowest += worst.mean / trials
    assert held / trials > 0.94
    assert gaps / trials > 0.94
    assert lowest <= min(true) + 0.001  # the lowest of several estimates is too low


@pytest.mark.slow
def test_the_interval_of_the_group_that_happened_to_be_worst_would_not_hold():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        groups = [(rng.random(100) < 0.9).astype(float) for _ in range(12)]
        own = mean_interval(min(groups, key=np.mean))
        held += own.low <= 0.9 <= own.high
    assert held / 500 < 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ((0.7,) * 4, (0.7,) * 4, (40,) * 4),
        ((0.6, 0.9, 0.9, 0.9), (0.8, 0.9, 0.9, 0.9), (40,) * 4),
        ((0.6, 0.7, 0.8), (0.8, 0.65, 0.8), (40,) * 3),
        ((0.9, 0.1), (0.85, 0.85), (300, 40)),
    ],
)
def test_the_interval_of_a_change_of_the_worst_group_holds_the_truth_in_simulations(old, new, counts):
    rng = np.random.default_rng(0)
    held, trials = 0, 600
    for _ in range(trials):
        before, after = [], []
        for p, q, n in zip(old, new, counts, strict=True):
            hard = rng.random(n)
            other = np.where(rng.random(n) < 0.6, hard, rng.random(n))  # the same photos are hard for both
            before.append((hard < p).astype(float))
            after.append((other < q).astype(float))
        found = worst_change(before, after)
        held += found.low <= min(new) - min(old) <= found.high
    assert held / trials > 0.94
