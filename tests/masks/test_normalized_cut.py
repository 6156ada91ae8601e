"""The normalised cut against the dense generalised eigenproblem and hand-made scenes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from robustvit import UserError
from robustvit.masks.tokencut.normalized_cut import normalized_cut, second_eigenvectors, similar_patches


def planted(rows, columns, box, seed=0, noise=0.6):
    """Features of a scene whose object is a box: two directions with noise."""
    rng = np.random.default_rng(seed)
    inside = np.zeros((rows, columns), bool)
    inside[box[0] : box[1], box[2] : box[3]] = True
    directions = rng.standard_normal((2, 24))
    return directions[inside.astype(int).ravel()] + noise * rng.standard_normal((rows * columns, 24)), inside


def slow_cut(features, threshold):
    """Straight from the definition: dense matrices, the generalised problem, a flood fill by hand."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    weights = np.where(unit @ unit.T > threshold, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degrees - weights, degrees)
    return values[1:3], vectors[:, 1], weights


def flood(part, seed):
    found, waiting = np.zeros_like(part), [seed]
    while waiting:
        row, column = waiting.pop()
        if 0 <= row < part.shape[0] and 0 <= column < part.shape[1] and part[row, column] and not found[row, column]:
            found[row, column] = True
            waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return found


@pytest.mark.parametrize("grid", [(9, 13), (14, 14), (28, 28), (20, 31)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_dense_generalised_problem(grid, seed):
    features, _ = planted(*grid, (2, 7, 3, 9), seed)
    values, vector, weights = slow_cut(features, 0.2)
    found, eigenvalues = second_eigenvectors(similar_patches(features))
    assert eigenvalues == pytest.approx(tuple(values), abs=1e-6)
    sign = np.sign(found[0] @ vector)
    assert np.abs(sign * found[0] - vector).max() < 1e-4 * np.abs(vector).max()
    assert found[0] ** 2 @ weights.sum(axis=1) == pytest.approx(1, abs=1e-6)
    cut = normalized_cut(similar_patches(features), grid)
    part = (vector > vector.mean()).reshape(grid)
    size = np.abs(vector).reshape(grid)
    assert size[cut.seed] == pytest.approx(size.max(), rel=1e-4)  # there may be several: like patches, like values
    assert (cut.mask == flood(part if part[cut.seed] else ~part, cut.seed)).all()


def test_finds_the_planted_object():
    features, inside = planted(16, 20, (4, 11, 6, 13))
    cut = normalized_cut(similar_patches(features, 0.3), (16, 20))
    assert (cut.mask == inside).mean() > 0.97
    assert inside[cut.seed]
    assert 0 <= cut.eigenvalues[0] <= cut.eigenvalues[1] <= 1
    assert 0 <= cut.cut < 0.2
    assert not cut.turned


def test_is_the_same_twice():
    similar = similar_patches(planted(20, 20, (4, 11, 6, 13))[0])
    one, other = normalized_cut(similar, (20, 20)), normalized_cut(similar, (20, 20))
    assert (one.eigenvector == other.eigenvector).all()


def test_corners_rule_turns_a_background():
    """A frame that is one tight cluster around a loose middle: the seed lies on the frame."""
    rows = columns = 14
    inside = np.zeros((rows, columns), bool)
    inside[1:-1, 1:-1] = True
    similar = np.zeros((196, 196), bool)
    middle, frame = inside.ravel(), ~inside.ravel()
    similar[np.ix_(middle, middle)] = True
    similar[np.ix_(frame, frame)] = True
    by_seed, by_corners = (normalized_cut(similar, (rows, columns), side=side) for side in ("seed", "corners"))
    assert not by_seed.mask[inside].any()
    assert by_seed.mask[0, 0]
    assert (by_corners.mask == inside).all()
    assert by_corners.turned
    assert not by_seed.turned
    assert inside[by_corners.seed]


def test_patches_left_out_take_no_part():
    features, inside = planted(16, 20, (4, 11, 6, 13))
    similar = similar_patches(features, 0.3)
    other = np.zeros((16, 20), bool)
    other[12:15, 1:5] = True
    similar[other.ravel()] = similar[:, other.ravel()] = False
    similar[np.ix_(other.ravel(), other.ravel())] = True
    cut = normalized_cut(similar, (16, 20), allowed=~inside.ravel())
    assert not cut.mask[inside].any()
    assert (cut.eigenvector[inside] == 0).all()
    assert cut.mask[other].all()


@pytest.mark.parametrize("similar", [np.ones((36, 36), bool), np.eye(36, dtype=bool)], ids=["alike", "unlike"])
def test_nothing_to_cut(similar):
    assert normalized_cut(similar, (6, 6)) is None


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(UserError, match="finite"):
        similar_patches(np.full((9, 4), np.nan))
    assert similar_patches(np.zeros((9, 4))).sum() == 0  # no direction, no neighbour
    with pytest.raises(UserError, match="seed, corners"):
        normalized_cut(np.ones((9, 9), bool), (3, 3), side="left")
