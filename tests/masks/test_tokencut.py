"""TokenCut on features that are drawn by hand: one object, several, none, and masks drawn to the photo's edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy import ndimage

from plain.bilateral_solver import slow_solution
from robustvit.masks.confidence import border_contact, overlap
from robustvit.masks.tokencut.cut import CutJob, CutSettings, cut_objects, enlarge, refine_mask
from robustvit.masks.tokencut.normalized_cut import similar_patches

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
    found = cut_objects(work)
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
    single, found = cut_objects(one), cut_objects(both)
    assert single.measures["objects"] == 1
    assert found.measures["objects"] == 2
    assert overlap(found.mask > 0.5, truth > 0) > 0.9
    assert (found.mask >= single.mask).all()
    assert found.measures["share"] == pytest.approx((truth > 0).mean(), abs=0.03)


def test_nothing_stands_out():
    flat = CutJob(np.ones((*GRID, 12), np.float32), np.full((96, 128, 3), 90, np.uint8), CutSettings())
    found = cut_objects(flat)
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
            cut_objects(CutJob(features, rng.integers(0, 255, (96, 128, 3), np.uint8), CutSettings())).verdict
        )
    assert verdicts.count("good") <= 1


def test_inverted_answers_of_the_solver_are_turned():
    """An object larger than the rest of the frame: the second-largest part is then the background."""
    photo = np.full((96, 128, 3), 20, np.uint8)
    photo[:, :100] = 200
    coarse = np.zeros((96, 128), bool)
    coarse[:, :96] = True
    mask, agreement = refine_mask(coarse, photo)
    assert overlap(mask, photo[..., 0] > 100) > 0.95
    assert agreement > 0.9


def test_a_coarse_mask_stays_where_the_photo_says_nothing_of_it():
    photo = np.full((96, 128, 3), 77, np.uint8)
    coarse = np.zeros((96, 128), bool)
    coarse[:4, :4] = True
    mask, agreement = refine_mask(coarse, photo)
    assert agreement < 0.5
    assert (mask == coarse).all()


def test_large_photos_are_refined_at_a_smaller_size():
    photo = np.full((900, 1300, 3), 20, np.uint8)
    photo[300:600, 400:900] = 200
    coarse = np.zeros((900, 1300), bool)
    coarse[280:610, 420:910] = True
    mask, _ = refine_mask(coarse, photo)
    assert mask.shape == coarse.shape
    assert overlap(mask, photo[..., 0] > 100) > 0.97


def test_measures():
    mask = np.zeros((10, 20), bool)
    mask[0, :10] = True
    assert border_contact(mask) == pytest.approx(11 / 60)  # a corner counts for both of its sides
    assert overlap(mask, mask) == 1
    assert overlap(mask, ~mask) == 0 == overlap(mask & False, mask & False)


@pytest.mark.parametrize("size", [(31, 23), (7, 40), (1, 1), (14, 14)])
def test_enlarged_as_pytorch_takes_the_nearest(size):
    rng = np.random.default_rng(0)
    mask = rng.random(size) > 0.5
    for _ in range(40):
        wanted = tuple(int(x) for x in rng.integers(1, 700, 2))
        there = torch.from_numpy(mask[None, None].astype(np.float32))  # as on a GPU, whatever the type
        expected = torch.nn.functional.interpolate(there, size=wanted, mode="nearest")[0, 0].numpy() > 0.5
        assert (enlarge(mask, wanted) == expected).all()
    assert (enlarge(mask, (16 * size[0], 16 * size[1])) == np.kron(mask, np.ones((16, 16), bool))).all()


def paper(job):
    return replace(job, settings=CutSettings(protocol="paper"))


def slow_paper_mask(work):
    """What the authors' script does, step by step and dense: the coarse mask, and the refined one."""
    weights = np.where(similar_patches(work.features.reshape(-1, 12), 0.2), 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    vector = scipy.linalg.eigh(degrees - weights, degrees)[1][:, 1]
    part = vector > vector.sum() / len(vector)
    seed = np.argmax(np.abs(vector))
    labels, _ = ndimage.label((part if part[seed] else ~part).reshape(GRID))
    kept = torch.from_numpy((labels == labels.flat[seed]).astype(float))
    coarse = torch.nn.functional.interpolate(kept[None, None], size=work.photo.shape[:2], mode="nearest")[0, 0].numpy()
    filled = ndimage.binary_fill_holes(slow_solution(work.photo, coarse) > 0.5)
    labels, parts = ndimage.label(filled)
    sizes = [(labels == number).sum() for number in range(parts + 1)]
    return coarse > 0.5, labels == np.argsort(sizes)[-2]


def test_paper_protocol_equals_the_authors_script_step_by_step():
    work, _ = job([(3, 8, 5, 11)], CutSettings())
    found = cut_objects(paper(work))
    coarse, mask = slow_paper_mask(work)
    assert ((found.mask > 0.5) == mask).mean() > 0.999  # theirs is solved to the end here, ours by 25 iterations
    assert found.measures["agreement"] == pytest.approx((coarse & mask).sum() / (coarse | mask).sum(), abs=0.01)
    assert (found.verdict, found.reason) == ("good", "")


def test_paper_protocol_skips_where_coarse_and_refined_mask_differ():
    """The photo shows nothing of the object: the solver smooths the coarse mask away, and the frame is left."""
    work, _ = job([(3, 5, 3, 5)], CutSettings())
    found = cut_objects(paper(replace(work, photo=np.full_like(work.photo, 90))))
    assert found.verdict == "none"
    assert found.reason.startswith("IoU of coarse and refined mask below 0.5 (")
    assert found.measures["agreement"] < 0.5


@pytest.mark.parametrize(("side", "verdict"), [(20, "none"), (24, "good")])
def test_paper_protocol_counts_pixels_of_the_photo_itself(side, verdict):
    """400 pixels are too few, 576 are not, whatever the share of the frame is."""
    photo = np.zeros((96, 128, 3), np.uint8)
    photo[40 : 40 + side, 48 : 48 + side] = 220
    features = np.zeros((24, 32, 2), np.float32)
    features[..., 0] = 1
    features[10 : 10 + side // 4, 12 : 12 + side // 4] = (0, 1)
    found = cut_objects(CutJob(features, photo, CutSettings(protocol="paper")))
    assert found.verdict == verdict
    assert found.measures["share"] * photo[..., 0].size == pytest.approx(side**2)
    if verdict == "none":
        assert found.reason == "fewer than 520 pixels (400)"


def test_paper_protocol_refines_large_photos_at_their_own_size():
    photo = np.full((900, 1300, 3), 20, np.uint8)
    photo[301:600, 403:900] = 200
    features = np.zeros((45, 65, 2), np.float32)
    features[..., 0] = 1
    features[15:30, 20:45] = (0, 1)
    found = cut_objects(CutJob(features, photo, CutSettings(protocol="paper")))
    assert (found.mask == (photo[..., 0] > 100)).all(), "to the pixel, which no smaller size gives"
