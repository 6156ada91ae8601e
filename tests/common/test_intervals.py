"""Every interval against a plain implementation, and its coverage by simulation."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from robustvit.common.intervals import (
    ClusteredAnswers,
    Interval,
    crossed_difference,
    crossed_interval,
    mean_interval,
    paired_difference,
    paired_interval,
)

COUNTS = (20, 50, 150, 600)
CHANGES = (-0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1)
Z = 1.959963984540054


def ends(found):
    return found.low, found.high


def plain_wilson(right, count):
    share = right / count
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    reach = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return middle - reach, middle + reach


@pytest.mark.parametrize(("right", "count"), [(0, 5), (7, 9), (30, 30), (81, 150)])
def test_accuracy_has_wilsons_interval(right, count):
    found = mean_interval([1.0] * right + [0.0] * (count - right))
    assert (found.mean, found.count) == (right / count, count)
    assert ends(found) == pytest.approx(plain_wilson(right, count), abs=1e-6)


def test_other_means_have_students_interval():
    numbers = np.random.default_rng(1).random(30) / 4
    plain = stats.ttest_1samp(numbers, 0).confidence_interval(0.95)
    assert ends(mean_interval(numbers)) == pytest.approx(tuple(plain))
    after = numbers + np.random.default_rng(2).random(30) / 9
    plain = stats.ttest_rel(after, numbers).confidence_interval(0.95)
    assert ends(paired_difference(numbers, after)) == pytest.approx(tuple(plain))


def test_paired_answers_have_bonetts_and_prices_interval():
    before, after = [1, 1, 0, 0, 0, 1, 0], [1, 0, 1, 1, 0, 1, 1]
    assert ends(paired_difference(before, after)) == pytest.approx(ends(paired_interval(3, 1, 7)))
    assert paired_difference(before, after).mean == pytest.approx(2 / 7)


def test_shares_of_answers_are_answers_with_more_between():
    before, after = np.array([0.5, 0.0, 1.0]), np.array([1.0, 0.5, 1.0])
    every = np.array([0.5, 0.5, 0.0, 1.0, -1.0])
    reach = Z * math.sqrt(((every - every.mean()) ** 2).mean() / 5)
    assert ends(paired_difference(before, after, shares=True)) == pytest.approx((0.2 - reach, 0.2 + reach))
    every = np.array([0.5, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    reach = Z * math.sqrt(((every - every.mean()) ** 2).mean() / 7)
    assert ends(mean_interval(before, shares=True)) == pytest.approx((0.5 - reach, 0.5 + reach))


def test_nothing_that_could_have_turned_is_certain():
    for count in (1, 2, 20):
        same = [1.0] * count
        assert paired_difference(same, same).half_width > 0.1
        assert paired_difference([0.5] * count, [0.5] * count, shares=True).half_width > 0.1
        photos = list(range(count))
        assert crossed_difference(*[ClusteredAnswers(same, photos, photos)] * 2).half_width > 0.1
        assert crossed_interval(ClusteredAnswers(same, photos, photos)).half_width > 0.05


def test_degenerate_intervals():
    assert mean_interval([0.25]) == Interval(0.25, 0.0, 1.0, 1), "one value says nothing about the others"
    assert paired_difference([0.25], [0.5]) == Interval(0.25, -1.0, 1.0, 1)
    empty = ClusteredAnswers([], [], [])
    for found in (mean_interval([]), paired_difference([], []), paired_interval(0, 0, 0), crossed_interval(empty),
                  crossed_difference(empty, empty), mean_interval([], shares=True)):  # fmt: skip
        assert math.isnan(found.mean)
        assert found.count == 0


def test_paired_answers_are_covered_at_every_change():
    draw = np.random.default_rng(5)
    for count in COUNTS:
        for change in CHANGES:
            for turned in (abs(change) + 0.02, 0.3):
                odds = ((turned + change) / 2, (turned - change) / 2, 1 - turned)
                draws, times = np.unique(draw.multinomial(count, odds, 3000)[:, :2], axis=0, return_counts=True)
                found = [paired_interval(int(up), int(down), count) for up, down in draws]
                kept = np.array([one.low <= change <= one.high for one in found])
                assert (kept * times).sum() / 3000 >= 0.93, (count, change, turned)


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (0.7, 0.7)])
def test_other_means_are_covered(shape):
    draw = np.random.default_rng(6)
    mean = shape[0] / sum(shape)
    for count in COUNTS:
        found = [mean_interval(draw.beta(*shape, count)) for _ in range(600)]
        assert np.mean([one.low <= mean <= one.high for one in found]) >= 0.93, count


def turned_by_donors(draw, count, change, share, swaps=2, donors=None):
    """Before and after: ``share`` of the donors flip the answers of all their guests."""
    donors = donors or count
    photos, lent = np.repeat(np.arange(count), swaps), draw.integers(0, donors, swaps * count)
    flips = draw.choice([1, -1, 0], donors, p=((share + change) / 2, (share - change) / 2, 1 - share))[lent]
    same = draw.random(swaps * count) < 0.6
    before, after = np.where(flips == 0, same, flips < 0), np.where(flips == 0, same, flips > 0)
    return ClusteredAnswers(before, photos, lent), ClusteredAnswers(after, photos, lent)


@pytest.mark.parametrize("count", COUNTS)
def test_both_photos_and_backgrounds_are_covered(count):
    draw = np.random.default_rng(count)
    repeats = 250
    for change, share, donors in ((0.0, 0.4, count), (0.1, 0.4, count), (-0.05, 0.2, count), (0.0, 0.4, count // 5)):
        sides = (turned_by_donors(draw, count, change, share, donors=donors) for _ in range(repeats))
        found = [crossed_difference(*pair) for pair in sides]
        slack = 2 * math.sqrt(0.93 * 0.07 / repeats)  # of the simulation itself
        assert np.mean([one.low <= change <= one.high for one in found]) >= 0.93 - slack, (change, share, donors)
        assert np.mean([one.low > change for one in found]) <= 0.025 + slack, "gains that are none"


def test_photos_alone_would_not_cover_them():
    draw = np.random.default_rng(8)
    kept = []
    for _ in range(300):
        before, after = turned_by_donors(draw, 150, 0.0, 0.4)
        one = paired_difference(*(np.reshape(s.right, (150, 2)).mean(1) for s in (before, after)), shares=True)
        kept.append(one.low <= 0 <= one.high)
    assert np.mean(kept) < 0.85


def plain_crossed(before, after):
    """Loops over photos, donors and pairs, of the definition in Cameron, Gelbach and Miller."""
    photos = sorted(set(before.photos.tolist()))
    times = {p: int((before.photos == p).sum()) for p in photos}
    rows = zip(before.right, after.right, before.photos.tolist(), before.donors.tolist(), strict=True)
    cells = [(p, d, (b * -1.0 + a) / times[p], 1 / times[p]) for b, a, p, d in rows]
    size = len(photos) + 2
    middle = sum(x for _, _, x, _ in cells) / size
    sums = [defaultdict(float) for _ in range(3)]
    weights = defaultdict(float)
    for p, d, x, w in cells:
        for part, key in zip(sums, (p, d, (p, d)), strict=True):
            part[key] += x - w * middle
        weights[d] += w
    photo, donor, pair = (sum(x**2 for x in part.values()) for part in sums)
    t = stats.t.ppf(0.975, max(1, sum(weights.values()) ** 2 / sum(w**2 for w in weights.values()) - 1))
    squared = Z**2 * (max(photo, pair) + (1 - middle) ** 2 + (1 + middle) ** 2) + t**2 * max(0, donor - pair)
    return max(-1, middle - math.sqrt(squared) / size), min(1, middle + math.sqrt(squared) / size)


def test_crossed_difference_equals_a_plain_one():
    draw = np.random.default_rng(9)
    for count, donors in ((12, 3), (30, None), (40, 7)):
        sides = turned_by_donors(draw, count, 0.1, 0.5, donors=donors)
        assert ends(crossed_difference(*sides)) == pytest.approx(plain_crossed(*sides), abs=1e-12)


def test_a_donor_for_each_photo_is_the_paired_interval():
    draw = np.random.default_rng(10)
    before, after = draw.random(60) < 0.5, draw.random(60) < 0.6
    sides = [ClusteredAnswers(right, range(60), range(100, 160)) for right in (before, after)]
    helped, harmed = int((after & ~before).sum()), int((before & ~after).sum())
    assert ends(crossed_difference(*sides)) == pytest.approx(ends(paired_interval(helped, harmed, 60)))


def test_crossed_is_never_narrower_than_over_photos_alone():
    draw = np.random.default_rng(11)
    for _ in range(100):
        count, donors = int(draw.integers(2, 40)), int(draw.integers(1, 40))
        before, after = turned_by_donors(draw, count, 0.0, 0.6, donors=donors)
        rows = [np.reshape(side.right, (count, 2)).mean(1) for side in (before, after)]
        crossed, alone = crossed_difference(before, after), paired_difference(*rows, shares=True)
        assert crossed.mean == pytest.approx(alone.mean)
        assert crossed.low <= alone.low + 1e-12
        assert crossed.high >= alone.high - 1e-12


def test_accuracy_on_shared_backgrounds_is_covered():
    draw = np.random.default_rng(12)
    for count in (20, 50, 150):
        kept = []
        for _ in range(400):
            photos, lent = np.repeat(np.arange(count), 2), draw.integers(0, count, 2 * count)
            right = np.where(
                (draw.random(count) < 0.4)[lent], (draw.random(count) < 0.7)[lent], draw.random(2 * count) < 0.7
            )
            found = crossed_interval(ClusteredAnswers(right, photos, lent))
            kept.append(found.low <= 0.7 <= found.high)
        assert np.mean(kept) >= 0.93 - 0.025, count


def test_two_kinds_of_backgrounds_are_compared_over_the_photos_that_have_both():
    same = ClusteredAnswers([1, 1, 1, 0], [0, 0, 1, 2], [5, 6, 5, 6])
    other = ClusteredAnswers([0, 1, 0], [0, 0, 1], [7, 8, 7])
    found = crossed_difference(other, same)
    assert found.mean == pytest.approx(0.75)
    assert found.count == 2
