"""Deep Feature Reweighting: the regression against plain second implementations, and the procedure on a made-up cue."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustvit.guidance.feature_reweighting import (
    STRENGTHS,
    Subsets,
    choose_strength,
    draw_balanced_subset,
    fit_average_head,
    fit_sparse_weights,
    split_halves,
)


@pytest.fixture(scope="module")
def linear():
    """scikit-learn's linear models, whose import takes seconds: not in every process that collects tests."""
    return pytest.importorskip("sklearn.linear_model")


def problem(seed, count=40, width=12, classes=3):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, width))
    labels = np.arange(count) % classes
    features[:, :2] += rng.normal(size=(classes, 2))[labels]
    return features, labels


def objective(weights, offsets, features, labels, strength):
    total = 0.0
    for x, y in zip(features, labels, strict=True):
        logits = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weights, offsets, strict=True)]
        highest = max(logits)
        total += highest + np.log(sum(np.exp(one - highest) for one in logits)) - logits[y]
    return strength * total + float(np.abs(weights).sum())


def plain_ista(features, labels, classes, strength, steps=8_000):
    """Proximal gradient without any acceleration, one problem, NumPy."""
    count, width = features.shape
    weights, offsets = np.zeros((classes, width)), np.zeros(classes)
    wanted = np.eye(classes)[labels]
    full = np.c_[features, np.ones(count)]
    rate = 2 / np.linalg.eigvalsh(full.T @ full / count)[-1]
    for _ in range(steps):
        logits = features @ weights.T + offsets
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        errors = (shares / shares.sum(axis=1, keepdims=True) - wanted) / count
        moved = weights - rate * errors.T @ features
        weights = np.sign(moved) * np.maximum(np.abs(moved) - rate / (strength * count), 0)
        offsets = offsets - rate * errors.sum(axis=0)
    return weights, offsets


@pytest.mark.filterwarnings("ignore:.*penalty:FutureWarning")  # l1_ratio alone is not enough before 1.8
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [1.0, 0.1])
def test_regression_is_that_of_plain_steps_and_of_scikit_learn(classes, strength, linear):
    problems = [problem(seed, classes=classes) for seed in (0, 1)]
    x = torch.tensor(np.stack([one[0] for one in problems]))
    y = torch.tensor(np.stack([one[1] for one in problems]))
    weights, offsets = fit_sparse_weights(x, y, classes, strength, tolerance=1e-10, most=20_000)
    for number, (features, labels) in enumerate(problems):
        found = weights[number].numpy(), offsets[number].numpy()
        plain = plain_ista(features, labels, classes, strength)
        assert np.allclose(found[0], plain[0], atol=1e-6)
        assert np.array_equal(np.abs(found[0]) < 1e-7, np.abs(plain[0]) < 1e-7)
        other = linear.LogisticRegression(C=strength, solver="saga", penalty="elasticnet", l1_ratio=1.0, tol=1e-9,
                                   max_iter=50_000)  # fmt: skip
        other.fit(features, labels)
        if classes == 2:
            difference = found[0][1] - found[0][0]
            assert np.allclose(difference, other.coef_[0], atol=1e-4)
        else:
            assert np.allclose(found[0], other.coef_, atol=1e-4)
        value = objective(*found, features, labels, strength)
        assert value == pytest.approx(objective(*plain, features, labels, strength), abs=1e-7)


def test_regression_alone_and_beside_others_and_from_another_start_is_one():
    (one, labels), (two, others) = problem(0), problem(1)
    both = fit_sparse_weights(
        torch.tensor(np.stack([one, two])), torch.tensor(np.stack([labels, others])), 3, 0.3, tolerance=1e-10
    )
    alone = fit_sparse_weights(
        torch.tensor(one)[None], torch.tensor(labels)[None], 3, 0.3, tolerance=1e-10,
        start=(torch.ones(1, 3, 12).double(), torch.zeros(1, 3).double()),
    )  # fmt: skip
    assert torch.allclose(both[0][:1], alone[0], atol=1e-7)
    flat = fit_sparse_weights(torch.tensor(one)[None], torch.tensor(labels)[None], 3, 0.3, intercept=False)
    assert not flat[1].any()


def test_halves_and_subsets():
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    first, second = split_halves(labels, 3)
    assert sorted(first + second) == list(range(9))
    assert sorted(labels[i] for i in first) == [0, 0, 1, 2, 2]
    assert split_halves(labels, 3) == (first, second)
    for seed in range(5):
        chosen = draw_balanced_subset(labels, seed)
        assert len(set(chosen)) == 6
        assert sorted(labels[i] for i in chosen) == [0, 0, 1, 1, 2, 2]


# A made-up problem: one feature is the object, one the background, which mostly goes with the class; the rest is noise.


def photos(rng, count, agree, width=60):
    labels = rng.integers(0, 2, count)
    backgrounds = np.where(rng.random(count) < agree, labels, 1 - labels)
    features = rng.normal(size=(count, width))
    features[:, 0] += 3.0 * labels - 1.5
    features[:, 1] += 5.0 * backgrounds - 2.5
    return features, labels, backgrounds


def worst_group(weight, bias, drawn):
    features, labels, backgrounds = drawn
    right = (features @ weight.T + bias).argmax(axis=1) == labels
    return min(right[(labels == c) & (backgrounds == b)].mean() for c in (0, 1) for b in (0, 1))


def subsets(drawn, rng, count=10, members=None):
    features, labels, backgrounds = drawn
    known = np.arange(len(labels)) if members is None else members
    groups = [known[(labels[known] == c) & (backgrounds[known] == b)] for c in (0, 1) for b in (0, 1)]
    least = min(map(len, groups))
    chosen = np.stack([np.concatenate([rng.permutation(group)[:least] for group in groups]) for _ in range(count)])
    own = torch.tensor(labels == backgrounds)
    return Subsets(torch.tensor(features[chosen]), torch.tensor(labels[chosen]), own[torch.tensor(chosen)])


def test_balance_and_penalty_each_raise_the_worst_group(linear):
    gains = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        drawn, test = photos(rng, 500, 0.9), photos(rng, 4000, 0.5)
        plain = linear.LogisticRegression(C=1e6, max_iter=2000).fit(drawn[0], drawn[1])
        old = worst_group(np.stack([0 * plain.coef_[0], plain.coef_[0]]), np.array([0, 1]) * plain.intercept_, test)
        half = rng.permutation(500)
        choice = choose_strength(subsets(drawn, rng, members=half[:250]), subsets(drawn, rng, members=half[250:]), 2)
        whole = subsets(drawn, rng)
        head, loose = (fit_average_head(whole, 2, c) for c in (choice.strength, 30.0))
        new, balanced = (worst_group(one.weight.numpy(), one.bias.numpy(), test) for one in (head, loose))
        assert choice.strength in STRENGTHS
        gains.append((balanced - old, new - balanced))
    assert np.mean(gains, axis=0)[0] > 0.1, "balance alone"
    assert np.mean(gains, axis=0)[1] > 0, "the penalty besides"
