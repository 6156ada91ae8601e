"""TokenCut on features that are drawn by hand: one object, several, none, and masks drawn to the photo's edges."""

from __future__ import annotations

import numpy as np
import pytest

from robustvit.mask_confidence import border_contact, overlap
from robustvit.tokencut import CutJob, CutSettings, find_objects, refined

GRID, CELL = (12, 16), 8


def job(boxes, settings, seed=0):
    """A photo of bright boxes on a dark ground, given in patches, and features that tell them apart."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    kind = np.zeros(GRID, int)
    for number, (top, bottom, left, right) in enumerate(boxes, start=1):
        kind[top:bottom, left:right] = number
    features = directions[kind] + 0.1 * rng.standard_normal((*GRID, 12))
    tall = kind.repeat(CELL, 0).repeat(CELL, 1)
    photo = rng.integers(0, 30, (*tall.shape, 3)) + 70 * (tall[..., None] > 0) * (1 + tall[..., None] % 2)
    return CutJob(features.astype(np.float32), photo.astype(np.uint8), settings), tall


@pytest.mark.parametrize("refine", [True, False])
def test_one_object(refine):
    work, truth = job([(3, 9, 5, 11)], CutSettings(refine=refine))
    found = find_objects(work)
    assert found.mask.shape == truth.shape
    assert found.mask.dtype == np.float32
    assert overlap(found.mask > 0.5, truth > 0) > 0.95
    assert found.verdict == "good"
    assert 0.5 < found.confidence <= 1
    assert found.measures["share"] == pytest.approx((truth > 0).mean(), abs=0.02)
    assert found.measures["border"] == 0
    assert ("agreement" in found.measures) == refine


def test_several_objects_one_after_the_other():
    boxes = [(2, 7, 2, 7), (6, 10, 9, 14)]
    one, _ = job(boxes, CutSettings(objects=1))
    both, truth = job(boxes, CutSettings(objects=3))
    single, found = find_objects(one), find_objects(both)
    assert single.measures["objects"] == 1
    assert found.measures["objects"] == 2
    assert overlap(found.mask > 0.5, truth > 0) > 0.9
    assert (found.mask >= single.mask).all()
    assert found.measures["share"] == pytest.approx((truth > 0).mean(), abs=0.03)


def test_nothing_stands_out():
    flat = CutJob(np.ones((*GRID, 12), np.float32), np.full((96, 128, 3), 90, np.uint8), CutSettings())
    found = find_objects(flat)
    assert found.verdict == "none"
    assert found.confidence == 0
    assert not found.mask.any()
    assert found.reason


def test_pure_noise_is_not_called_good():
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(10):
        features = rng.standard_normal((*GRID, 12)).astype(np.float32)
        verdicts.append(
            find_objects(CutJob(features, rng.integers(0, 255, (96, 128, 3), np.uint8), CutSettings())).verdict
        )
    assert verdicts.count("good") <= 1


def test_inverted_answers_of_the_solver_are_turned():
    """An object larger than the rest of the frame: the second-largest part is then the background."""
    photo = np.full((96, 128, 3), 20, np.uint8)
    photo[:, :100] = 200
    coarse = np.zeros((96, 128), bool)
    coarse[:, :96] = True
    mask, agreement = refined(coarse, photo)
    assert overlap(mask, photo[..., 0] > 100) > 0.95
    assert agreement > 0.9


def test_a_coarse_mask_stays_where_the_photo_says_nothing_of_it():
    photo = np.full((96, 128, 3), 77, np.uint8)
    coarse = np.zeros((96, 128), bool)
    coarse[:4, :4] = True
    mask, agreement = refined(coarse, photo)
    assert agreement < 0.5
    assert (mask == coarse).all()


def test_large_photos_are_refined_at_a_smaller_size():
    photo = np.full((900, 1300, 3), 20, np.uint8)
    photo[300:600, 400:900] = 200
    coarse = np.zeros((900, 1300), bool)
    coarse[280:610, 420:910] = True
    mask, _ = refined(coarse, photo)
    assert mask.shape == coarse.shape
    assert overlap(mask, photo[..., 0] > 100) > 0.97


def test_measures():
    mask = np.zeros((10, 20), bool)
    mask[0, :10] = True
    assert border_contact(mask) == pytest.approx(11 / 60)  # a corner counts for both of its sides
    assert overlap(mask, mask) == 1
    assert overlap(mask, ~mask) == 0 == overlap(mask & False, mask & False)
