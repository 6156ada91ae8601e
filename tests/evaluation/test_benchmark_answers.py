"""Answers to benchmark sets, against slow plain implementations in float64."""

from __future__ import annotations

import math

import pytest
import torch

from robustvit.common.errors import UserError
from robustvit.evaluation.sets.answers import AllClasses, MemberMaxima, MemberMeans, OwnHead, SubsetAnswers
from robustvit.evaluation.sets.class_tables import imagenet_subset, member_classes
from robustvit.evaluation.sets.table import BENCHMARKS


def logits(count=6, classes=1000, seed=0, dtype=torch.float64):
    return 3 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain_softmax(row):
    top = max(row)
    parts = [math.exp(value - top) for value in row]
    whole = sum(parts)
    return [part / whole for part in parts]


def test_subset_equals_a_softmax_over_its_logits_alone():
    chosen = imagenet_subset("r")
    given = logits()
    found = SubsetAnswers(chosen)(given)
    for row, scores in zip(given.tolist(), found.tolist(), strict=True):
        assert scores == pytest.approx(plain_softmax([row[index] for index in chosen]), rel=1e-12)
    answers = SubsetAnswers(chosen)
    assert [answers.place(index) for index in chosen] == list(range(200))
    with pytest.raises(KeyError):
        answers.place(next(i for i in range(1000) if i not in chosen))


def test_member_means_are_means_of_probabilities_not_of_logits():
    members = member_classes("cue_conflict")
    given = logits(seed=1)
    found = MemberMeans(members)(given)
    for row, scores in zip(given.tolist(), found.tolist(), strict=True):
        probability = plain_softmax(row)
        plain = [sum(probability[i] for i in indices) / len(indices) for indices in members.values()]
        assert scores == pytest.approx(plain, rel=1e-12)


def test_member_maxima_answer_with_the_class_of_the_best_of_all():
    members = member_classes("imagenet_9")
    names = list(members)
    given = logits(60, seed=2)
    answers = MemberMaxima(members)
    found = answers(given).argmax(1).tolist()
    owner = {index: place for place, name in enumerate(names) for index in members[name]}
    plain = []
    for row in given.tolist():
        best = max(range(1000), key=lambda index: row[index])
        plain.append(owner.get(best, 9))
    assert found == plain
    assert answers.names == (*names, "other")
    assert len(set(plain)) > 5
    assert 9 in plain


def test_all_classes_and_an_own_head_are_plain_softmax():
    for answers, classes in ((AllClasses(), 1000), (OwnHead(["landbird", "waterbird"]), 2)):
        given = logits(classes=classes, seed=3)
        for row, scores in zip(given.tolist(), answers(given).tolist(), strict=True):
            assert scores == pytest.approx(plain_softmax(row), rel=1e-12)


@pytest.mark.parametrize("name", list(BENCHMARKS))
@pytest.mark.parametrize("protocol", ["paper", "standard"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_scores_are_parts_of_one_and_a_batch_equals_one_by_one(name, protocol, dtype):
    answers = BENCHMARKS[name].scoring[protocol]()
    given = 8 * logits(4, answers.logits, seed=4, dtype=dtype)
    scores = answers(given)
    assert scores.shape == (4, len(answers.names))
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores.sum(1) <= 1 + 1e-5).all()
    one_by_one = torch.cat([answers(given[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(scores, one_by_one)
    with pytest.raises(UserError, match=f"expected logits for {answers.logits} classes"):
        answers(torch.zeros(2, answers.logits + 1))
