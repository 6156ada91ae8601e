"""Classes that lose recall are named in the verdict: who, by which test, and how often by chance alone."""

from __future__ import annotations

import numpy as np

from robustvit.evaluation.class_notes import adjusted_mcnemar, describe_lost_classes
from robustvit.evaluation.photo_measures import PhotoMeasure

NAMES = ("cat", "cow", "dog", "horse", "sheep")
WRONG = 99


def answered(right):
    """Measures of photos, class by class, from whether each answer is right."""
    return [
        PhotoMeasure(f"{label}-{at}.jpg", label, label if ok else WRONG, 1.0)
        for label, row in enumerate(right)
        for at, ok in enumerate(row)
    ]


def said(before, after):
    return describe_lost_classes(answered(before), answered(after), lambda label: NAMES[label])


def test_a_class_that_surely_lost_is_named_with_its_interval_and_its_photos():
    before = [[True] * 30 for _ in NAMES]
    after = [list(row) for row in before]
    after[2][:12] = [False] * 12
    (line,) = said(before, after)
    assert line.startswith("Recall fell significantly for dog (-40.0 points [-")
    assert line.endswith(", 30 photos), adjusted for 5 classes.")
    after[0][:9] = [False] * 9
    (line,) = said(before, after)
    assert line.index("dog") < line.index(" and cat (-30.0 points")
    for label in (1, 3, 4):
        after[label][:15] = [False] * 15
    (line,) = said(before, after)
    assert "cow" in line
    assert " and 2 more, adjusted for 5 classes." in line, "three are named, the two with the smaller losses counted"


def test_a_loss_that_may_be_chance_among_so_many_classes_is_said_to_be_so():
    before = [[True] * 17 for _ in NAMES]
    after = [list(row) for row in before]
    after[2][:6] = [False] * 6
    after[4][:3] = [False] * 3
    p, adjusted = adjusted_mcnemar([0, 0, 0, 0, 0], [0, 0, 6, 0, 3])
    assert p[2] < 0.05 < adjusted[2]
    (line,) = said(before, after)
    assert line.startswith("Recall fell most for dog (-35.3 points [-")
    assert line.endswith("17 photos); with 5 classes that may be chance.")


def test_nothing_is_said_where_no_loss_stands_out():
    before = [[True] * 20, [False] * 20, [True, False] * 10, [True] * 20, [True] * 20]
    assert said(before, before) == []
    gained = [[True] * 20 for _ in NAMES]
    assert said(before, gained) == []
    after = [list(row) for row in before]
    after[0][:2] = [False] * 2
    assert said(before, after) == []
    assert describe_lost_classes([], [], str) == []
    unlabelled = [PhotoMeasure("a.jpg", None, 0, 1.0)]
    assert describe_lost_classes(unlabelled, unlabelled, str) == []


def test_of_several_labels_each_counts_as_a_class():
    def several(score):
        return [PhotoMeasure(f"{at}.jpg", None, 0, 1.0, labels=(0, 2), scores={0: 0.9, 2: score}) for at in range(20)]

    (line,) = describe_lost_classes(several(0.9), several(0.1), lambda label: NAMES[label])
    assert line.startswith("Recall fell significantly for dog (-100.0 points")
    assert line.endswith("20 photos), adjusted for 2 classes.")


def test_chance_alone_seldom_names_a_class_as_significant():
    """Both models answer each photo right as often, so that every loss is chance: at most one set in twenty says so."""
    rng = np.random.default_rng(1)
    significant = 0
    for _ in range(400):
        rates = np.repeat(rng.uniform(0.4, 0.9, len(NAMES))[:, None], 30, axis=1)
        before, after = rng.random(rates.shape) < rates, rng.random(rates.shape) < rates
        significant += any("significantly" in line for line in said(before.tolist(), after.tolist()))
    assert significant <= 0.05 * 400


def test_the_test_is_that_of_classes_against_a_plain_count():
    helped, harmed = [1, 0, 2, 0], [9, 5, 2, 0]
    ps, adjusted = adjusted_mcnemar(helped, harmed)
    from math import comb

    for up, down, p in zip(helped, harmed, ps, strict=True):
        turned = up + down
        plain = sum(comb(turned, k) for k in range(turned + 1) if comb(turned, k) <= comb(turned, up)) / 2**turned
        assert abs(p - plain) < 1e-12
    order = sorted(range(4), key=lambda at: ps[at])
    for rank, at in enumerate(order, start=1):
        plain = min(1.0, *(ps[other] * 4 / place for place, other in enumerate(order, start=1) if place >= rank), 1.0)
        assert abs(adjusted[at] - plain) < 1e-12
    assert adjusted_mcnemar([], []) == ([], [])
