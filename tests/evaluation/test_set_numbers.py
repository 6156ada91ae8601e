"""Numbers of a set against plain second implementations, one image after the other."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from plain.metrics import slow_auroc, slow_average_precision, slow_balanced_accuracy, slow_macro_f1, slow_precisions
from robustvit.common.errors import UserError
from robustvit.common.intervals import Interval, independent_difference, mean_interval
from robustvit.evaluation.calibration import calibration_change, calibration_error
from robustvit.evaluation.on_sets.numbers import (
    accuracies_by,
    compare_outcomes,
    compare_set_metrics,
    set_confusions,
    set_metrics,
    set_numbers,
    set_precisions,
)
from robustvit.evaluation.on_sets.outcomes import Outcomes, PartFolder, join_outcomes, read_outcomes, write_outcomes
from robustvit.evaluation.sets import Sample


def random_answers(count: int, seed: int, classes: int = 4) -> tuple[list[Sample], list[int], list[float]]:
    rng = random.Random(seed)
    samples = []
    for number in range(count):
        label = rng.randrange(classes)
        right = (label,) if rng.random() < 0.7 else (label, (label + 1) % classes)
        texture = rng.choice([None, *range(classes)])
        samples.append(Sample(Path(f"{number:03d}.png"), right, f"class {label}", rng.choice("xyz"), texture))
    answers = [sample.right[0] if rng.random() < 0.5 else rng.randrange(classes) for sample in samples]
    return samples, answers, [rng.uniform(0.2, 1) for _ in samples]


def outcomes_of(samples, answers, confidence) -> Outcomes:
    width = max(len(sample.right) for sample in samples)
    return Outcomes(
        names=np.array([sample.image.name for sample in samples]),
        class_names=np.array([sample.class_name for sample in samples]),
        groups=np.array([sample.group for sample in samples]),
        textures=np.array([-1 if sample.texture is None else sample.texture for sample in samples]),
        right=np.array([list(s.right) + [-1] * (width - len(s.right)) for s in samples]),
        answers=np.array(answers),
        in_top5=np.zeros(len(samples), bool),
        confidence=np.array(confidence, dtype=np.float32),
    )


def plain_headline(summary, samples, answers) -> float:
    """Definitions one by one: Geirhos et al. 2019 for shape, means of means for groups."""
    if summary == "shape":
        shapes = textures = 0
        for sample, answer in zip(samples, answers, strict=True):
            if sample.texture is None or sample.texture in sample.right:
                continue
            shapes += answer in sample.right
            textures += answer == sample.texture
        return shapes / (shapes + textures)
    by_group: dict[str, list[bool]] = {}
    for sample, answer in zip(samples, answers, strict=True):
        by_group.setdefault("" if summary == "accuracy" else sample.group, []).append(answer in sample.right)
    means = [fmean(rights) for rights in by_group.values()]
    return min(means) if summary == "worst-group" else fmean(means)


def plain_calibration_error(confidence, correct, bins: int = 15) -> float:
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i, c in enumerate(confidence) if (low < c <= high) or (number == 0 and c == 0)]
        if inside:
            gap = fmean(confidence[i] for i in inside) - fmean(float(correct[i]) for i in inside)
            total += len(inside) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("summary", ["accuracy", "group-mean", "worst-group", "shape"])
def test_headline_is_the_plain_one(summary, seed):
    samples, answers, confidence = random_answers(120, seed)
    found = set_numbers(outcomes_of(samples, answers, confidence), summary)["headline"]
    assert found.mean == pytest.approx(plain_headline(summary, samples, answers), abs=1e-12)
    assert 0 <= found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_the_plain_one(seed):
    samples, answers, confidence = random_answers(150, seed)
    outcomes = outcomes_of(samples, answers, confidence)
    right = [answer in sample.right for sample, answer in zip(samples, answers, strict=True)]
    found = set_numbers(outcomes, "accuracy", seen={1, 2})
    assert found["top1"].mean == pytest.approx(fmean(right))
    assert "top5" not in found
    assert set_numbers(outcomes, "accuracy", top5=True)["top5"].mean == 0
    by_class = {n: fmean(r for r, s in zip(right, samples, strict=True) if s.class_name == n)
                for n in {s.class_name for s in samples}}  # fmt: skip
    assert found["worst_class"].mean == pytest.approx(min(by_class.values()))
    assert found["balanced_accuracy"].mean == pytest.approx(fmean(by_class.values()))
    assert "macro_f1" not in found, "classes share right answers"
    assert set_precisions(outcomes) == {}
    assert {n: i.mean for n, i in accuracies_by(outcomes, "class_names").items()} == pytest.approx(by_class)
    assert sum(i.count for i in accuracies_by(outcomes, "groups").values()) == 150
    seen = [r for r, s in zip(right, samples, strict=True) if {1, 2} & set(s.right)]
    others = [r for r, s in zip(right, samples, strict=True) if not {1, 2} & set(s.right)]
    assert found["seen_top1"] == mean_interval(seen)
    assert found["unseen_top1"] == mean_interval(others)
    assert found["ece"].mean == pytest.approx(
        plain_calibration_error(outcomes.confidence.astype(float).tolist(), right), abs=1e-6
    )
    assert found["ece"].low <= found["ece"].mean


def test_calibration_error_of_a_calibrated_and_of_a_boasting_model():
    rng = np.random.default_rng(0)
    samples, _, _ = random_answers(4000, 0)
    confidence = rng.uniform(0.3, 1, len(samples))
    wrong = 99
    honest = [s.right[0] if rng.random() < c else wrong for s, c in zip(samples, confidence, strict=True)]
    right = outcomes_of(samples, honest, confidence).correct
    calm = calibration_error(confidence, right)
    assert calm.mean < 0.04
    boasting = calibration_error(confidence, np.zeros(len(samples), bool))
    worse = calibration_change(confidence, right, confidence, np.zeros(len(samples), bool))
    assert worse.mean == pytest.approx(boasting.mean - calm.mean)
    assert 0 < worse.low <= worse.mean < worse.high
    assert boasting.mean == pytest.approx(confidence.mean(), abs=1e-3)


def plain_mcnemar(helped: int, harmed: int) -> float:
    """Two-sided exact binomial test at one half."""
    count, least = helped + harmed, min(helped, harmed)
    tail = sum(math.comb(count, k) for k in range(least + 1)) / 2**count
    return min(1.0, 2 * tail)


def test_metrics_and_precision_of_a_set_whose_classes_share_no_answer_are_the_plain_ones():
    """Answer 9 belongs to no class, and class c has two right answers, 2 and 3."""
    classes = list("aaabbbbbcc")
    rights = [{"a": (0,), "b": (1,), "c": (2, 3)}[one] for one in classes]
    answers = [0, 1, 9, 1, 1, 0, 3, 1, 3, 2]
    samples = [Sample(Path(f"{i}.png"), r, c) for i, (r, c) in enumerate(zip(rights, classes, strict=True))]
    outcomes = outcomes_of(samples, answers, [0.5] * 10)
    said = ["abcc"[answer] if answer < 4 else "other" for answer in answers]
    found = set_metrics(outcomes)
    assert found["balanced_accuracy"].mean == pytest.approx(slow_balanced_accuracy(classes, said, 0, [1] * 10))
    assert found["macro_f1"].mean == pytest.approx(slow_macro_f1(classes, said, 0, [1] * 10))
    plain = slow_precisions(classes, said, [1] * 10)
    assert {name: one.mean for name, one in set_precisions(outcomes).items()} == pytest.approx(plain)
    confusions = set_confusions(outcomes, [f"answer {i}" for i in range(10)])
    assert sum(one["images"] for one in confusions) == 4
    assert {"class": "a", "answer": "answer 9", "images": 1} in confusions
    changed = compare_set_metrics(outcomes, outcomes)
    assert changed["macro_f1"].low < changed["macro_f1"].mean == 0 < changed["macro_f1"].high


def test_comparison_pairs_images_by_name():
    samples, before, confidence = random_answers(80, 1)
    _, after, _ = random_answers(80, 2)
    old, new = outcomes_of(samples, before, confidence), outcomes_of(samples, after, confidence)
    turned = new.at(np.arange(len(new))[::-1])
    found = compare_outcomes(old, turned.at(turned.names != "005.png"))
    kept = [i for i, s in enumerate(samples) if s.image.name != "005.png"]
    was, now = [[a in s.right for a, s in zip(side, samples, strict=True)] for side in (before, after)]
    assert found["top1"].mean == pytest.approx(fmean(now[i] - was[i] for i in kept))
    assert found["top1"].count == len(kept)
    assert found["helped"] == sum(now[i] > was[i] for i in kept)
    assert found["harmed"] == sum(now[i] < was[i] for i in kept)
    assert found["mcnemar_p"] == pytest.approx(plain_mcnemar(found["helped"], found["harmed"]), rel=1e-9)
    assert sum(i.count for i in found["classes"].values()) == len(kept)
    same = compare_outcomes(old, old)
    assert (same["helped"], same["harmed"], same["mcnemar_p"], same["top1"].mean) == (0, 0, 1.0, 0.0)


def given(rights, answers, groups="", textures=None) -> Outcomes:
    textures = textures or [None] * len(rights)
    groups = groups or [""] * len(rights)
    samples = [
        Sample(Path(f"{i}.jpg"), r, "x", g, t) for i, (r, g, t) in enumerate(zip(rights, groups, textures, strict=True))
    ]
    return outcomes_of(samples, answers, [0.5] * len(rights))


def test_headlines_by_hand():
    answered = given([(0,), (1, 2), (3,), (4,)], [0, 2, 0, 0], "aaab")  # right, right (any of two), wrong; wrong
    assert set_numbers(answered, "accuracy")["headline"].mean == pytest.approx(2 / 4)
    assert set_numbers(answered, "group-mean")["headline"].mean == pytest.approx((2 / 3 + 0) / 2)
    assert set_numbers(answered, "worst-group")["headline"].mean == 0
    # Answered by shape, by texture, by texture; by neither, and no conflict: those two do not count.
    shapes = given([(0,), (0,), (2,), (2,), (3,)], [0, 1, 1, 9, 3], textures=[1, 1, 1, 1, 3])
    found = set_numbers(shapes, "shape")["headline"]
    assert (found.mean, found.count) == (pytest.approx(1 / 3), 3)


def test_shape_without_any_decision_has_no_headline():
    samples = [Sample(Path("a.png"), (0,), "a", "", 1)]
    found = set_numbers(outcomes_of(samples, [3], [0.5]), "shape")
    assert "headline" not in found
    assert found["top1"].mean == 0


def test_a_mean_over_groups_that_are_all_alike_is_not_certain():
    alike = set_numbers(given([(0,)] * 8, [0] * 8, "aabbccdd"), "group-mean")["headline"]
    assert (alike.mean, alike.high) == (1, 1)
    assert alike.low < 0.85


def test_difference_of_independent_means():
    """Newcombe 1998, Table II, case (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339."""
    after, before = (mean_interval([1.0] * k + [0.0] * (n - k)) for k, n in ((56, 70), (48, 80)))
    found = independent_difference(before, after)
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert isinstance(found, Interval)


def test_outcomes_come_back_and_are_joined_by_name(tmp_path):
    samples, answers, confidence = random_answers(10, 3)
    whole = outcomes_of(samples, answers, confidence)
    narrow = outcomes_of([Sample(Path("zzz.png"), (1,), "é,\n")], [1], [0.5])
    joined = join_outcomes([whole.at([4, 2]), narrow, whole])
    assert joined.names.tolist() == sorted([*whole.names.tolist(), "zzz.png"])
    assert (joined.correct[:-1] == whole.correct).all()
    assert joined.correct[-1]
    write_outcomes(joined, tmp_path / "o.npz", "this")
    assert read_outcomes(tmp_path / "o.npz", "another") is None
    assert read_outcomes(tmp_path / "none.npz", "this") is None
    back = read_outcomes(tmp_path / "o.npz", "this")
    assert back is not None
    assert all((getattr(back, name) == getattr(joined, name)).all() for name in joined.columns)
    (tmp_path / "o.npz").write_bytes(b"broken")
    with pytest.raises(UserError, match="holds no outcomes"):
        read_outcomes(tmp_path / "o.npz", "this")


def test_parts_of_several_processes(tmp_path):
    samples, answers, confidence = random_answers(9, 4)
    whole = outcomes_of(samples, answers, confidence)
    for rank in (0, 1, 0):
        PartFolder(tmp_path / "parts", "this", rank).add(whole.at([rank, rank + 3]))
    PartFolder(tmp_path / "parts", "older", 2).add(whole.at([8]))
    parts = PartFolder(tmp_path / "parts", "this")
    assert [len(part) for part in parts.read()] == [2, 2, 2]
    parts.remove()
    assert not (tmp_path / "parts").exists()


def test_metrics_that_rank_need_the_scores_of_all_answers(tmp_path):
    rng = np.random.default_rng(0)
    classes = ["a", "a", "b", "c", "b", "c", "a", "b"]
    samples = [Sample(Path(f"{at}.png"), ("abc".index(name),), name) for at, name in enumerate(classes)]
    scores = rng.dirichlet([1, 1, 1, 1], 8)  # the fourth answer is no class of the set
    plain = outcomes_of(samples, scores.argmax(axis=1).tolist(), scores.max(axis=1).tolist())
    assert not {"auroc", "average_precision"} & set_metrics(plain).keys()
    scored = replace(plain, scores=scores)
    write_outcomes(scored, tmp_path / "scored.npz", "x")
    write_outcomes(plain, tmp_path / "older.npz", "x")
    read, older = (read_outcomes(tmp_path / f"{name}.npz", "x") for name in ("scored", "older"))
    found = set_metrics(read)
    rows = [dict(zip("abc", row, strict=False)) for row in scores]
    assert found["auroc"].mean == pytest.approx(slow_auroc(classes, None, rows, [1] * 8))
    assert found["average_precision"].mean == pytest.approx(slow_average_precision(classes, None, rows, [1] * 8))
    assert compare_set_metrics(read, read)["auroc"].mean == 0
    assert "auroc" not in compare_set_metrics(older, read)
    assert join_outcomes([read.at([0, 1, 2]), read.at([3, 4])]).scores.shape == (5, 4)
    assert join_outcomes([older.at([0, 1, 2]), read.at([3, 4])]).scores is None  # a part of an older version
