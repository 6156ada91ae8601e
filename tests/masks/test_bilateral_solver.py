"""The bilateral solver against a plain, slow one."""

from __future__ import annotations

import numpy as np
import pytest

from plain.bilateral_solver import slow_solution
from robustvit import UserError
from robustvit.masks.tokencut.bilateral_solver import bilateral_solver, refined_mask


@pytest.fixture
def scene():
    """A bright disc on a dark, noisy ground, and a coarse block for its mask."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :80]
    disc = (rows - 28) ** 2 + (columns - 41) ** 2 < 17**2
    image = rng.integers(0, 40, (60, 80, 3)) + 170 * disc[..., None]
    coarse = np.zeros((60, 80), bool)
    coarse[16:48, 24:64] = True
    return image.astype(np.uint8), coarse, disc


def test_equals_a_dense_solution(scene):
    image, coarse, _ = scene
    found = bilateral_solver(image, coarse, spatial=8, iterations=500)
    assert np.abs(found - slow_solution(image, coarse, spatial=8)).max() < 1e-4


def test_mask_follows_the_edges(scene):
    image, coarse, disc = scene
    mask = refined_mask(bilateral_solver(image, coarse))

    def iou(one):
        return (one & disc).sum() / (one | disc).sum()

    assert iou(mask) > 0.97 > iou(coarse)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.25])
def test_a_constant_stays(scene, value):
    image, coarse, _ = scene
    found = bilateral_solver(image, np.full(coarse.shape, value))
    assert np.allclose(found, value, atol=1e-6)


def test_one_colour_and_tiny_images_are_fine():
    grey = np.full((5, 3, 3), 128, np.uint8)
    target = np.zeros((5, 3))
    target[2:] = 1
    found = bilateral_solver(grey, target)
    assert np.isfinite(found).all()
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert bilateral_solver(grey[:1, :1], target[:1, :1]).shape == (1, 1)


def test_sizes_must_agree():
    with pytest.raises(UserError, match="an RGB image"):
        bilateral_solver(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5)))


def test_second_largest_part_is_kept():
    soft = np.zeros((12, 12))
    soft[1:7, 1:7] = 1
    soft[3, 3] = 0  # a hole, filled
    soft[9:11, 9:11] = 1
    mask = refined_mask(soft)
    assert mask[1:7, 1:7].all()
    assert mask.sum() == 36
    assert not refined_mask(np.zeros((4, 4))).any()
    assert not refined_mask(np.ones((4, 4))).any()
