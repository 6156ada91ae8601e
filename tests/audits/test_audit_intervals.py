"""Intervals of an audit's measures over photos and backgrounds, chance, and changes from one model to another."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from robustvit.audits.audited_photo import AuditedPhoto, PhotoAnswer, Tried
from robustvit.audits.by_metric import metric_changes
from robustvit.audits.placements import (
    GRIDS,
    PlacedAnswers,
    shift_difference,
    shift_points,
)
from robustvit.audits.summary import beyond_chance, compare_photos, means
from robustvit.common.intervals import ClusteredAnswers, crossed_difference, crossed_interval, mean_interval
from robustvit.evaluation.measured_intervals import measure_difference, measure_name
from robustvit.evaluation.photo_measures import PhotoMeasure, Swapped


def test_intervals_of_placements_cover_the_backgrounds():
    """Each background turns all objects on it or none: the interval is as wide as that of so many backgrounds."""
    generator, point, covered, by_photos = np.random.default_rng(0), GRIDS["position"][0], 0, 0
    for _ in range(400):
        turned = generator.random(12) < 0.4
        answers = {at: PlacedAnswers(at % 12, {point: not turned[at % 12]}) for at in range(120)}
        found = next(iter(shift_points(answers).values()))
        covered += found.low <= 0.6 <= found.high
        plain = mean_interval([float(one.right[point]) for one in answers.values()])
        by_photos += plain.low <= 0.6 <= plain.high
        turns = {at: PlacedAnswers(one.background, {point: True}) for at, one in answers.items()}
        assert shift_difference(answers, turns, point).mean == pytest.approx(1 - found.mean)
    assert covered >= 0.93 * 400
    assert by_photos < 0.7 * 400, "otherwise the test shows nothing"


def test_chance_is_the_mean_over_all_ways_to_deal_the_answers_out():
    labels, answers = [0, 0, 1, 2, 1], [0, 1, 1, 1, 7]
    dealt = [sum(a == b for a, b in zip(labels, order, strict=True)) / 5 for order in itertools.permutations(answers)]
    found = beyond_chance(labels, [[one] for one in answers])
    assert found.chance == pytest.approx(sum(dealt) / len(dealt))
    assert found.excess.mean == pytest.approx(2 / 5 - found.chance)
    constant = beyond_chance(labels, [[1]] * 5)
    assert constant.excess.mean == pytest.approx(0)
    doubled = beyond_chance(labels, [[one, one] for one in answers])
    assert doubled.chance == pytest.approx(found.chance)


def audited(label, said, donors, kind="mixed-same", rest=()):
    ones = [Swapped(kind, donor, one, 0.5) for donor, one in zip(donors, said, strict=True)]
    plain = PhotoMeasure("x", label, label, 0.9, {}, [*ones, *rest])
    photo = AuditedPhoto(plain)
    for name in {one.kind for one in plain.swapped}:
        photo.values[name] = np.mean([one.predicted == label for one in plain.swapped if one.kind == name])
    if {"mixed-same", "mixed-other"} <= set(photo.values):
        photo.values["cost"] = photo.values["mixed-same"] - photo.values["mixed-other"]
    return photo


def drawn_photos(seed, count=40):
    """Answers that depend on photo and donor alike."""
    rng = np.random.default_rng(seed)
    easy = rng.random(count)
    photos = []
    for index in range(count):
        donors = rng.permutation(count)[:4].tolist()
        said = [int(rng.random() > (easy[index] + easy[donor]) / 2) for donor in donors]
        other = [Swapped("mixed-other", donor, one, 0.5) for donor, one in zip(donors[2:], said[2:], strict=True)]
        photos.append(audited(0, said[:2], donors[:2], rest=other))
    return photos


def answers_of(photos, kind):
    rows = [(one.predicted == p.label, i, one.donor) for i, p in enumerate(photos) for one in p.plain.swapped
            if one.kind == kind]  # fmt: skip
    return ClusteredAnswers(*map(list, zip(*rows, strict=True)))


def test_swapped_accuracy_and_cost_have_intervals_over_photos_and_donors():
    photos, others = drawn_photos(0), drawn_photos(0)
    for photo in others[:9]:
        photo.plain.swapped[0] = replace(photo.plain.swapped[0], predicted=0)
        photo.values = audited(0, [], [], rest=photo.plain.swapped).values
    found = means(photos)
    assert found["mixed-other"] == crossed_interval(answers_of(photos, "mixed-other"))
    same, other = answers_of(photos, "mixed-same"), answers_of(photos, "mixed-other")
    assert found["cost"] == crossed_difference(other, same)
    assert found["cost"].mean == pytest.approx(np.mean([photo.values["cost"] for photo in photos]))
    compared = compare_photos(photos, others)
    assert compared["mixed-same"].difference == crossed_difference(same, answers_of(others, "mixed-same"))
    assert compared["cost"].before == found["cost"]
    wanted = np.mean([new.values["cost"] - old.values["cost"] for old, new in zip(photos, others, strict=True)])
    assert compared["cost"].difference.mean == pytest.approx(wanted)


def test_a_change_of_the_cost_is_that_of_the_answers_that_changed():
    """On the same pictures, what both models answer alike must not widen the interval."""
    photos, others = drawn_photos(1), drawn_photos(1)
    changed = compare_photos(photos, others)["cost"].difference
    assert changed.mean == 0
    assert changed == crossed_difference(
        *[ClusteredAnswers([0.0] * 160, [i for i in range(40) for _ in range(4)], list(range(160)))] * 2
    )


def test_few_donors_make_the_cost_less_certain():
    """All answers turn with the donor; the same photos with donors of their own are known better."""
    few, many = [], []
    for index in range(60):
        turned = index % 4 == 0
        other = {donors: [Swapped("mixed-other", donor, int(turned), 0.5)] for donors, donor in
                 (("few", index % 4), ("many", index))}  # fmt: skip
        few.append(audited(0, [0], [100 + index], rest=other["few"]))
        many.append(audited(0, [0], [100 + index], rest=other["many"]))
    few, many = means(few)["cost"], means(many)["cost"]
    assert few.mean == many.mean == 0.25
    assert few.low < 0 < many.low


def test_backgrounds_that_take_over_are_shared_as_well():
    photos = []
    for index in range(30):
        photo = AuditedPhoto(PhotoMeasure("x", 0, 0, 0.9))
        photo.tried = [Tried(donor, 1, PhotoAnswer(int(donor == 100), 0.5, 0.5)) for donor in (100, 200 + index)]
        photo.values["turned"] = len(photo.turned) / 2
        photos.append(photo)
    found = means(photos)["turned"]
    assert found.mean == 0.5
    assert found.half_width > mean_interval([0.5] * 30, shares=True).half_width


def test_chance_on_swapped_backgrounds_covers_donors_too():
    labels, answers = [0, 0, 1, 2, 1], [[0], [1], [1], [1], [7]]
    own = beyond_chance(labels, answers, [[10], [11], [12], [13], [14]])
    assert own.chance == pytest.approx(beyond_chance(labels, answers).chance)
    assert own.excess.mean == pytest.approx(beyond_chance(labels, answers).excess.mean)
    assert beyond_chance(labels, answers, [[10], [10], [10], [13], [13]]).excess.half_width >= own.excess.half_width


@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "macro-f1"])
def test_photos_that_only_one_model_has_on_other_backgrounds_change_nothing(metric):
    kinds = ("mixed-same", "mixed-other")
    after, before = [], []
    for at in range(100):
        said = at % 2 if at < 50 else 1 - at % 2
        swaps = [Swapped(kind, (at + 7) % 100, said, 0.5) for kind in kinds for _ in range(2)]
        after.append(audited(at % 2, [], [], rest=swaps))
        before.append(audited(at % 2, [], [], rest=swaps if at < 50 else []))
    changes = compare_photos(before, after) if metric == "accuracy" else metric_changes(before, after, metric)
    for kind in (*kinds, "cost"):
        assert changes[kind].difference.mean == 0
        assert changes[kind].difference.low <= 0 <= changes[kind].difference.high
    sides = [[one.plain for one in side] for side in (before, after)]
    assert measure_difference(*sides, measure_name(metric, "mixed-other")).mean == 0
