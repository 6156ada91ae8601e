"""Intervals and the sentence that a comparison comes to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustvit import UserError
from robustvit.intervals import Interval, mean_interval, paired_difference
from robustvit.measurement import PhotoMeasure
from robustvit.verdict import Comparison, compare, decide, read_verdict, write_verdict


def plain_wilson(right, count, z=1.959964):
    share = right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - reach, middle + reach


@pytest.mark.parametrize(("right", "count"), [(0, 5), (7, 9), (30, 30), (81, 150)])
def test_accuracy_has_wilsons_interval(right, count):
    found = mean_interval([1.0] * right + [0.0] * (count - right))
    assert found.mean == right / count
    assert (found.low, found.high) == pytest.approx(plain_wilson(right, count), abs=1e-6)
    assert found.count == count


def test_bootstrap_equals_a_plain_one():
    numbers = np.random.default_rng(1).random(60)
    draw = np.random.default_rng(2)
    means = sorted(draw.choice(numbers, 60).mean() for _ in range(9999))
    found = mean_interval(numbers.tolist())
    assert found.mean == pytest.approx(numbers.mean())
    assert (found.low, found.high) == pytest.approx((means[249], means[9749]), abs=5e-3)
    assert found == mean_interval(numbers.tolist()), "the same seed must give the same interval"


def test_paired_difference_is_narrower_than_unpaired():
    draw = np.random.default_rng(3)
    before = draw.random(80)
    after = before + 0.05 + 0.01 * draw.standard_normal(80)
    found = paired_difference(before.tolist(), after.tolist())
    assert found.mean == pytest.approx(float((after - before).mean()))
    assert 0 < found.low < 0.05 < found.high
    assert found.half_width < mean_interval(before.tolist()).half_width / 10


def test_degenerate_intervals():
    assert paired_difference([1.0, 0.0], [1.0, 0.0]) == Interval(0, 0, 0, 2)
    assert mean_interval([0.25]) == Interval(0.25, 0.25, 0.25, 1)
    assert math.isnan(mean_interval([]).mean)


def photos(ordinary, shifted):
    return [
        PhotoMeasure(f"{i}.png", 0, 0, 1.0, {"ordinary": float(o), "mixed-rand": float(s)})
        for i, (o, s) in enumerate(zip(ordinary, shifted, strict=True))
    ]


BASE = photos([1] * 90 + [0] * 10, [1] * 50 + [0] * 50)


@pytest.mark.parametrize(
    ("ordinary", "shifted", "accepted", "words"),
    [
        ([1] * 90 + [0] * 10, [1] * 70 + [0] * 30, True, "Better on shifted backgrounds by +20.0"),
        ([1] * 89 + [0] * 11, [1] * 70 + [0] * 30, True, "at a cost of 1.0"),
        ([1] * 70 + [0] * 30, [1] * 70 + [0] * 30, False, "more than the 2 points allowed: keep the original"),
        ([1] * 90 + [0] * 10, [1] * 51 + [0] * 49, False, "No improvement on shifted backgrounds"),
        ([1] * 90 + [0] * 10, [1] * 20 + [0] * 80, False, "Worse on shifted backgrounds by -30.0"),
    ],
)
def test_the_sentence(ordinary, shifted, accepted, words):
    verdict = decide(compare(BASE, photos(ordinary, shifted)))
    assert verdict.accepted is accepted
    assert words in verdict.sentence
    assert ("keep the original" in verdict.sentence) == (not accepted)


@pytest.mark.parametrize("lost", [2, 7, 14, 28, 55])
def test_exactly_as_much_as_allowed_may_be_lost(lost):
    """Seven of a hundred are 7.000000000000001 points."""
    after = photos([1] * (90 - lost) + [0] * (10 + lost), [1] * 90 + [0] * 10)
    assert decide(compare(BASE, after), max_drop=lost).accepted
    assert not decide(compare(BASE, after), max_drop=lost - 0.5).accepted


def test_few_photos_decide_nothing():
    few, better = photos([1] * 19, [0] * 19), photos([1] * 19, [1] * 19)
    verdict = decide(compare(few, better))
    assert verdict.accepted is None
    assert "only 19 photos" in verdict.sentence


def test_measures_of_other_photos_are_not_compared():
    with pytest.raises(UserError, match="same photos"):
        compare(BASE, BASE[::-1])


def test_no_masks_no_verdict():
    bare = [PhotoMeasure("a", 0, 0, 1.0, {"ordinary": 1.0})]
    verdict = decide(compare(bare, bare))
    assert verdict.accepted is None
    assert verdict.sentence.startswith("Cannot tell")


def test_compare_pairs_only_what_both_have():
    other = [PhotoMeasure(p.image, 0, 0, 1.0, dict(p.values)) for p in BASE]
    del other[0].values["mixed-rand"]
    by_name = {c.measure: c for c in compare(BASE, other)}
    assert by_name["mixed-rand"].difference.count == 99
    assert by_name["ordinary"].difference.count == 100
    assert set(by_name) == {"ordinary", "mixed-rand"}


def test_round_trip(tmp_path):
    verdict = decide(compare(BASE, BASE), notes=["a note"])
    write_verdict(verdict, tmp_path / "v.json")
    assert read_verdict(tmp_path / "v.json") == verdict
    assert isinstance(read_verdict(tmp_path / "v.json").of("ordinary"), Comparison)
    assert verdict.of("miou") is None
