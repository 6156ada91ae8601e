"""The rules of an audit's verdict, and its words on a change."""

from __future__ import annotations

import pytest

from robustvit.audits.summary import Beyond
from robustvit.audits.verdict import change_of, judge
from robustvit.common.intervals import Interval


def interval(mean, half, count=100):
    return Interval(mean, mean - half, mean + half, count)


@pytest.mark.parametrize(
    ("cost", "alone", "same", "wanted", "words"),
    [
        (interval(0.2, 0.1), 0.0, 0.5, "strong reliance", "at 10 or above"),
        (interval(0.2, 0.11), 0.0, 0.5, "some", "above zero"),
        (interval(0.03, 0.02), 0.0, 0.5, "some", "above zero"),
        (interval(0.0, 0.05), 0.25, 0.5, "some", "does not show a cost"),
        (interval(0.0, 0.11), 0.25, 0.5, "some", "does not show a cost"),
        (interval(0.0, 0.05), 0.14, 0.5, "no sign", "is excluded"),
        (interval(0.0, 0.10), 0.0, 0.5, "no sign", "is excluded"),
        (interval(0.0, 0.11), 0.0, 0.5, "cannot tell", "Audit more photos"),
        (interval(0.0, 0.0, 29), 0.0, 0.5, "cannot tell", "too few to exclude"),
        (interval(0.0, 0.0, 30), 0.0, 0.5, "no sign", "is excluded"),
        (interval(0.5, 0.1, 19), 0.5, 0.5, "cannot tell", "Only 19 photos"),
        (interval(0.5, 0.1, 20), 0.5, 0.5, "strong reliance", "at 10"),
        (interval(0.0, 0.0), 0.0, 0.04, "cannot tell", "effect of the background cannot be measured"),
        (None, 0.5, 0.5, "cannot tell", "No photo was put on another background"),
    ],
)
def test_rules_of_the_verdict(cost, alone, same, wanted, words):
    beyond = {"only-bg-t": Beyond(0.2, interval(alone, 0.05)), "mixed-same": Beyond(0.2, interval(same, 0.05))}
    found = judge({} if cost is None else {"cost": cost, "gap": interval(0.5, 0.1)}, beyond)
    assert found.reliance == wanted
    assert words in found.sentence


def judge_worst(cost, whole=0.5, own=0.5, alone=0.0):
    beyond = {"mixed-same": Beyond(0.2, interval(own, 0.05))}
    accuracy = {"mixed-same": Beyond(0.2, interval(whole, 0.05)), "only-bg-t": Beyond(0.2, interval(alone, 0.05))}
    return judge({} if cost is None else {"cost": cost}, beyond, "accuracy in the worst group", accuracy)


def test_a_worst_group_at_chance_still_shows_its_cost_but_no_absence_of_one():
    assert judge_worst(interval(0.4, 0.1), own=-0.01).reliance == "strong reliance"
    assert judge_worst(interval(0.4, 0.1), whole=0.04).reliance == "cannot tell"
    assert judge_worst(interval(0.0, 0.05)).reliance == "no sign"
    hidden = judge_worst(interval(0.0, 0.05), own=-0.01)
    assert hidden.reliance == "cannot tell"
    assert "the objects of the worst group are recognised" in hidden.sentence
    assert "above chance over all photos" in hidden.sentence


def test_photos_of_the_worst_group_are_counted_as_such():
    assert "Only 12 photos of the worst group could be put on" in judge_worst(interval(0.4, 0.1, 12)).sentence
    assert "Fewer than two groups have 5 photos that can be put on other" in judge_worst(None).sentence
    assert "over 25 photos of the worst group, too few" in judge_worst(interval(0.0, 0.0, 25)).sentence


def test_change_of_the_cost_in_words():
    assert change_of(interval(-0.1, 0.05)).startswith("The cost of a wrong background fell: -10.0 points [-15.0, -5.0]")
    assert "rose" in change_of(interval(0.1, 0.05))
    assert "No change" in change_of(interval(0.1, 0.2))
    assert "cannot be told" in change_of(interval(-0.1, 0.05, 19))
