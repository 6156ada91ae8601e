"""Changes class by class against plain second implementations, one image after the other."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from robustvit.common.intervals import Interval, mcnemar, paired_interval
from robustvit.evaluation.classes.changes import RATE, ClassChange, compare_classes, count_changes
from robustvit.evaluation.classes.record import summarize_changes
from robustvit.evaluation.on_sets.outcomes import Outcomes


def outcomes_of(rows) -> Outcomes:
    """Rows of (name, class, right, answer)."""
    width = max(len(right) for _, _, right, _ in rows)
    none = np.full(len(rows), -1)
    return Outcomes(
        names=np.array([row[0] for row in rows]),
        class_names=np.array([row[1] for row in rows]),
        groups=np.array([""] * len(rows)),
        textures=none,
        right=np.array([list(row[2]) + [-1] * (width - len(row[2])) for row in rows]),
        answers=np.array([row[3] for row in rows]),
        in_top5=np.zeros(len(rows), bool),
        confidence=np.full(len(rows), 0.5),
    )


def random_pair(seed: int, images: int = 300, classes: int = 12):
    rng = random.Random(seed)
    before, after = [], []
    for number in range(images):
        label = min(rng.randrange(classes), rng.randrange(classes))  # classes of different sizes
        right = (label,) if number % 3 else (label, (label + 1) % classes)
        name = f"{number:04d}.png"
        for rows, share in ((before, 0.5), (after, 0.9 if label < 3 else 0.45)):
            rows.append((name, f"class {label:02d}", right, label if rng.random() < share else rng.randrange(classes)))
    return before, after


def plain_mcnemar(helped: int, harmed: int) -> float:
    """Chance of a split of fair coin tosses that is as far from even or further."""
    turned = helped + harmed
    far = [k for k in range(turned + 1) if abs(2 * k - turned) >= abs(helped - harmed)]
    return float(sum(Fraction(math.comb(turned, k), 2**turned) for k in far))


def plain_adjusted(ps: list[float]) -> list[float]:
    """Benjamini and Hochberg: for each p the least of ``p_k m / k`` over all that are no smaller."""
    ordered = sorted(ps)
    return [min(1.0, *(q * len(ps) / (k + 1) for k, q in enumerate(ordered) if q >= p)) for p in ps]


def plain_interval(helped: int, harmed: int, count: int) -> tuple[float, float]:
    """Mean and standard error of differences +1, -1, 0, after an image more that was helped and one that was harmed."""
    differences = [1] * (helped + 1) + [-1] * (harmed + 1) + [0] * (count - helped - harmed)
    mean = sum(differences) / len(differences)
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / len(differences) / len(differences))
    reach = NormalDist().inv_cdf(0.975) * error
    return mean - reach, mean + reach


@pytest.mark.parametrize("seed", range(3))
def test_changes_are_those_of_a_loop_over_images(seed):
    before, after = random_pair(seed)
    found = compare_classes(outcomes_of(before), outcomes_of(random.Random(seed).sample(after, len(after))), {1, 4})
    names = sorted({row[1] for row in before})
    helped = dict.fromkeys(names, 0)
    harmed, count, right_before, right_after = (dict(helped) for _ in range(4))
    seen = dict.fromkeys(names, False)
    for (_, name, right, old), (_, _, _, new) in zip(before, after, strict=True):
        count[name] += 1
        right_before[name] += old in right
        right_after[name] += new in right
        helped[name] += old not in right and new in right
        harmed[name] += old in right and new not in right
        seen[name] |= 1 in right or 4 in right
    adjusted = dict(zip(names, plain_adjusted([plain_mcnemar(helped[n], harmed[n]) for n in names]), strict=True))
    assert {row.name for row in found.classes} == set(names)
    for row in found.classes:
        name = row.name
        assert (row.helped, row.harmed, row.seen) == (helped[name], harmed[name], seen[name])
        assert row.before.mean == pytest.approx(right_before[name] / count[name])
        assert row.after.mean == pytest.approx(right_after[name] / count[name])
        assert row.difference.mean == pytest.approx(row.after.mean - row.before.mean)
        assert row.difference.count == row.before.count == row.after.count == count[name]
        assert row.p == pytest.approx(plain_mcnemar(helped[name], harmed[name]), rel=1e-9)
        assert row.adjusted_p == pytest.approx(adjusted[name], rel=1e-9)
        assert row.p - 1e-12 <= row.adjusted_p <= 1
        assert row.significant == (adjusted[name] < RATE)
    assert (found.helped, found.harmed) == (sum(helped.values()), sum(harmed.values()))
    assert found.p == pytest.approx(plain_mcnemar(found.helped, found.harmed), rel=1e-9)
    assert found.difference.mean == pytest.approx((found.helped - found.harmed) / len(before))
    assert any(row.significant for row in found.classes)


@pytest.mark.parametrize(("helped", "harmed", "count"), [(0, 0, 1), (1, 0, 1), (2, 0, 2), (3, 1, 7), (0, 9, 50)])
def test_interval_of_a_class_is_the_plain_one_and_has_a_width(helped, harmed, count):
    found = paired_interval(helped, harmed, count)
    low, high = plain_interval(helped, harmed, count)
    assert (found.low, found.high) == pytest.approx((max(-1, low), min(1, high)), abs=1e-12)
    assert -1 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high


def test_interval_of_a_class_turns_with_the_direction():
    up, down = paired_interval(4, 1, 9), paired_interval(1, 4, 9)
    assert (up.mean, up.low, up.high) == pytest.approx((-down.mean, -down.high, -down.low))


@pytest.mark.parametrize("count", [5, 10, 50])
def test_interval_of_a_class_covers_the_truth_in_95_of_100_samples(count):
    rng = np.random.default_rng(0)
    kept = []
    for up, down in ((0.2, 0.05), (0.1, 0.1), (0.4, 0.2)):
        draws = rng.multinomial(count, [up, down, 1 - up - down], 4000)
        intervals = [paired_interval(int(a), int(b), count) for a, b, _ in draws]
        kept.append(np.mean([one.low <= up - down <= one.high for one in intervals]))
    assert min(kept) > 0.93


def test_changes_are_of_images_that_both_models_answered():
    before, after = random_pair(0, images=40)
    found = compare_classes(outcomes_of(before[:30]), outcomes_of(after[10:]))
    assert found.before.count == sum(row.difference.count for row in found.classes) == 20
    assert all(row.seen is None for row in found.classes)


def test_nothing_changed():
    before, _ = random_pair(0)
    found = compare_classes(outcomes_of(before), outcomes_of(before))
    assert found.most_helped(5) == found.most_harmed(5) == []
    assert {row.adjusted_p for row in found.classes} == {1.0}
    assert list(count_changes(found.classes).values()) == [12, 0, 0, 12, 0, 0]


def change(name, helped, harmed, count, adjusted=1.0):
    share = Interval(0.5, 0.4, 0.6, count)
    p = mcnemar(helped, harmed)
    return ClassChange(name, share, share, paired_interval(helped, harmed, count), helped, harmed, p, adjusted, None)


def test_most_helped_and_harmed_are_ranked_by_change_then_by_images():
    rows = [
        ("a", 2, 0, 4),
        ("b", 4, 0, 8),
        ("c", 1, 0, 8),
        ("d", 0, 1, 8),
        ("e", 0, 2, 16),
        ("f", 0, 3, 4),
        ("g", 1, 1, 9),
    ]
    answers = {"right": 0, "wrong": 1}
    before, after = [], []
    for name, helped, harmed, count in rows:
        for number in range(count):
            old = "wrong" if number < helped else "right"
            new = "wrong" if helped <= number < helped + harmed else "right"
            before.append((f"{name}{number}", name, (0,), answers[old]))
            after.append((f"{name}{number}", name, (0,), answers[new]))
    found = compare_classes(outcomes_of(before), outcomes_of(after))
    assert [row.name for row in found.classes] == ["b", "a", "c", "g", "e", "d", "f"]
    assert [row.name for row in found.most_helped(2)] == ["b", "a"]
    assert [row.name for row in found.most_harmed(9)] == ["f", "e", "d"]
    assert found.most_helped(9, significant=True) == found.most_harmed(9, significant=True) == []


def test_only_significant_classes_are_called_helped_or_harmed():
    rows = [("up", 9, 0), ("a little up", 1, 0), ("down", 0, 9), ("a little down", 0, 1)]
    answers = {"right": 0, "wrong": 1}
    before, after = [], []
    for name, helped, harmed in rows:
        for number in range(10):
            before.append((f"{name}{number}", name, (0,), answers["wrong" if number < helped else "right"]))
            turned = "wrong" if helped <= number < helped + harmed else "right"
            after.append((f"{name}{number}", name, (0,), answers[turned]))
    found = compare_classes(outcomes_of(before), outcomes_of(after))
    assert [row.name for row in found.most_helped(9, significant=True)] == ["up"]
    assert [row.name for row in found.most_harmed(9, significant=True)] == ["down"]


def test_tally_counts_directions_and_what_is_significant_of_them():
    rows = [change("a", 3, 1, 9, 0.01), change("b", 3, 1, 9), change("c", 0, 9, 9, 0.049), change("d", 0, 9, 9, 0.05)]
    assert list(count_changes([*rows, change("e", 1, 1, 9)]).values()) == [5, 2, 2, 1, 1, 1]


def test_labels_of_a_photo_that_turn_together_give_no_false_changes():
    rng, alone, together = np.random.default_rng(0), 0, 0
    photos, labels = 100, 5
    names = [f"{at:07d} {label}" for at in range(photos) for label in range(labels)]
    for _ in range(250):
        turned = np.repeat(rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=photos), labels)
        turned = turned * (rng.random(photos * labels) < 0.8)
        sides = [
            outcomes_of([(name, name[-1], (0,), int(turn == other)) for name, turn in zip(names, turned, strict=True)])
            for other in (1, -1)
        ]
        found = compare_classes(*sides, photo_of=lambda name: name.partition(" ")[0])
        assert found.p is None
        assert found.difference.count == photos * labels
        together += not found.difference.low <= 0 <= found.difference.high
        naive = paired_interval(found.helped, found.harmed, photos * labels)
        alone += not naive.low <= 0 <= naive.high
    assert together <= 15, "of 250: at most 6 %"
    assert alone > 50


def test_photos_of_one_label_each_have_the_interval_of_independent_answers():
    before, after = (outcomes_of(side) for side in random_pair(3))
    plain, found = compare_classes(before, after), compare_classes(before, after, photo_of=str)
    for name in ("mean", "low", "high", "count"):
        assert getattr(found.difference, name) == pytest.approx(getattr(plain.difference, name), abs=1e-12)


def test_the_sentence_says_what_is_counted():
    rows, _ = random_pair(0)
    found = compare_classes(outcomes_of(rows), outcomes_of(rows))
    assert "on all 300 labels the model" in summarize_changes(found, "recall", "label")
    assert "on all 300 images the model" in summarize_changes(found)
