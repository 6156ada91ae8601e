"""The segmentation test's scores, against plain ones in float64, torchmetrics, scikit-learn and the authors' values."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.drawn_photos import CLASSES
from helpers.small_models import tiny_network
from robustvit import UserError, relevance
from robustvit.common.intervals import Interval
from robustvit.data.find_photos import find_photos
from robustvit.evaluation.calibration import calibration_error
from robustvit.evaluation.map_scores import map_iou
from robustvit.evaluation.on_sets.segmentation_scores import (
    map_average_precision,
    pixel_counts,
    segmentation_difference,
    segmentation_scores,
    segmentation_test,
)
from robustvit.models.classifier import Classifier

GOLDEN = Path(os.environ.get("ROBUSTVIT_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
FILES = sorted(GOLDEN.glob("reference_seed*.npz"))


@pytest.fixture(scope="module")
def metrics():
    """torchmetrics, whose import takes seconds: not in every process that collects tests."""
    return pytest.importorskip("torchmetrics")


def plain_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """From the definition: every threshold in turn, from the highest."""
    found, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        hits = float(labels[above].sum())
        found += (hits / labels.sum() - recall) * hits / above.sum()
        recall = hits / labels.sum()
    return found


def both_channels(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = values.astype(np.float32)
    return np.concatenate([(1 - values).ravel(), values.ravel()]), np.concatenate([~mask.ravel(), mask.ravel()])


def examples(kind: str, count: int = 6, size: int = 17) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(count, 1, size, size, generator=generator)
    masks = torch.rand(count, 1, size, size, generator=generator) < 0.3
    if kind == "tied":
        maps = (4 * maps).round() / 4
    elif kind == "constant":
        maps = torch.full_like(maps, 0.25)
    elif kind == "zero":
        maps = torch.zeros_like(maps) * -1.0
    elif kind == "binary":
        maps = (maps > 0.6).float()
    elif kind == "small":
        maps = maps**30
    elif kind == "empty masks":
        masks = torch.zeros_like(masks)
    elif kind == "full masks":
        masks = torch.ones_like(masks)
    return maps, masks


KINDS = ("random", "tied", "constant", "zero", "binary", "small", "empty masks", "full masks")


@pytest.mark.parametrize("kind", KINDS)
def test_average_precision_is_that_of_the_definition(kind, metrics):
    theirs = metrics.functional.classification.binary_average_precision
    maps, masks = examples(kind)
    found = map_average_precision(maps, masks)
    assert found.shape == (6,)
    assert found.dtype == np.float64
    for value, one, mask in zip(found, maps.numpy(), masks.numpy(), strict=True):
        scores, labels = both_channels(one, mask)
        assert value == pytest.approx(plain_average_precision(scores.astype(np.float64), labels), abs=1e-12)
        reference = theirs(torch.from_numpy(scores), torch.from_numpy(labels).int())
        assert value == pytest.approx(float(reference), abs=1e-5), "torchmetrics sums in float32"


def test_average_precision_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    for kind in KINDS:
        maps, masks = examples(kind, size=60)
        for value, one, mask in zip(map_average_precision(maps, masks), maps.numpy(), masks.numpy(), strict=True):
            scores, labels = both_channels(one, mask)
            assert value == pytest.approx(metrics.average_precision_score(labels, scores), abs=1e-12)


def test_average_precision_is_the_metric_classes(metrics):
    maps, masks = examples("tied")
    metric = metrics.classification.BinaryAveragePrecision()
    values = []
    for one, mask in zip(maps, masks, strict=True):
        metric.update(torch.cat([1 - one, one]), torch.cat([~mask, mask]).int())
        values.append(float(metric.compute()))
        metric.reset()
    assert np.abs(map_average_precision(maps, masks) - values).max() < 1e-5


def test_iou_of_maps_of_photos_is_the_libraries_to_the_bit(metrics):
    from torchmetrics.functional.segmentation import mean_iou

    for kind in KINDS:
        maps, masks = examples(kind)
        cut = (maps > maps.mean(dim=(2, 3), keepdim=True)).squeeze(1).long()
        expected = mean_iou(cut, masks.squeeze(1).long(), num_classes=2, input_format="index")
        assert torch.equal(map_iou(maps, masks.float()), expected), kind


@pytest.mark.parametrize("kind", ["random", "on the borders", "certain"])
def test_calibration_of_a_set_is_the_libraries_to_the_bit(kind, metrics):
    theirs = metrics.functional.classification.binary_calibration_error
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 30, 400):
        confidence = torch.rand(count, generator=generator)
        if kind != "random":
            confidence = (15 * confidence).round() / 15 if kind == "on the borders" else confidence.round()
        correct = (torch.rand(count, generator=generator) < confidence).long()
        right = correct.numpy() == 1
        assert calibration_error(confidence.numpy(), right).mean == float(
            theirs(confidence, correct, n_bins=15, norm="l1")
        )


def test_average_precision_of_perfect_and_opposite_maps():
    masks = examples("random")[1]
    assert (map_average_precision(masks.float(), masks) == 1).all()
    assert (map_average_precision(1 - masks.float(), masks) == 0.5).all(), "at the lowest threshold everything is found"
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        maps = examples("random")[0].to(dtype)
        assert (map_average_precision(maps, masks) == map_average_precision(maps.float(), masks)).all()


def test_average_precision_one_by_one_and_with_more_threads():
    maps, masks = examples("small")
    together = map_average_precision(maps, masks)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert (map_average_precision(maps, masks) == together).all()
    finally:
        torch.set_num_threads(threads)
    assert [map_average_precision(maps[i : i + 1], masks[i : i + 1])[0] for i in range(6)] == together.tolist()


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1, float("inf")])
def test_average_precision_refuses_what_is_no_map(wrong):
    maps, masks = examples("random")
    maps[3, 0, 2, 2] = wrong
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        map_average_precision(maps, masks)


def plain_counts(values: np.ndarray, mask: np.ndarray) -> list[int]:
    found = [0, 0, 0, 0]
    mean = values.astype(np.float64).mean()
    for value, inside in zip(values.ravel().tolist(), mask.ravel().tolist(), strict=True):
        found[(0 if inside else 1) if value > mean else (3 if inside else 2)] += 1
    return found


@pytest.mark.parametrize("kind", ["random", "tied", "zero", "binary", "empty masks"])
def test_pixels_are_counted(kind, metrics):
    maps, masks = examples(kind)
    found = pixel_counts(maps, masks)
    assert found.tolist() == [plain_counts(*pair) for pair in zip(maps.numpy(), masks.numpy(), strict=True)]
    assert (pixel_counts(maps, masks.long()) == found).all()
    cut = maps > maps.double().mean(dim=(1, 2, 3), keepdim=True)
    count = metrics.functional.classification.binary_stat_scores
    reference = count(cut.flatten(1).int(), masks.flatten(1).int(), multidim_average="samplewise")
    assert (found == reference[:, :4].numpy()).all()
    assert (pixel_counts(maps[:1], masks[:1]) == found[:1]).all()


def test_scores_are_pooled_over_the_set(metrics):
    maps, masks = examples("random", count=40)
    counts, precisions = pixel_counts(maps, masks), map_average_precision(maps, masks)
    scores = segmentation_scores(counts, precisions)
    cut = maps > maps.double().mean(dim=(1, 2, 3), keepdim=True)
    iou = metrics.classification.BinaryJaccardIndex()
    ious = [float(iou(a.int(), b.int())) for a, b in ((cut, masks), (~cut, ~masks))]
    assert scores.miou.mean == pytest.approx(sum(ious) / 2, abs=1e-6)
    assert scores.pixel_accuracy.mean == pytest.approx(float((cut == masks).double().mean()), abs=1e-12)
    assert scores.map.mean == pytest.approx(precisions.mean(), abs=1e-12)
    for number in scores.numbers.values():
        assert 0 <= number.low < number.mean < number.high <= 1
        assert number.count == 40
    assert scores.numbers == segmentation_scores(counts, precisions).numbers
    assert "mIoU" in str(scores)


def test_intervals_are_those_of_a_plain_bootstrap():
    rng = np.random.default_rng(5)
    counts, precisions = rng.integers(1, 90, (30, 4)), rng.random(30)
    means = []
    for _ in range(3000):
        drawn = rng.integers(0, 30, 30)
        right, false, away, missed = counts[drawn].sum(axis=0)
        means.append([
            (right + away) / (right + false + away + missed),
            (right / (right + false + missed) + away / (away + false + missed)) / 2,
            precisions[drawn].mean(),
        ])  # fmt: skip
    expected = np.percentile(means, [2.5, 97.5], axis=0)
    found = segmentation_scores(counts, precisions).numbers.values()
    assert np.abs(np.array([[n.low for n in found], [n.high for n in found]]) - expected).max() < 0.015


def test_one_image_and_a_side_that_is_nowhere():
    scores = segmentation_scores(np.array([[0, 0, 9, 0]]), np.array([1.0]))
    assert scores.numbers == dict.fromkeys(("pixel_accuracy", "miou", "map"), Interval(1.0, 1.0, 1.0, 1))


def test_differences_are_paired():
    rng = np.random.default_rng(1)
    before = segmentation_scores(rng.integers(1, 90, (30, 4)), rng.random(30) / 2)
    after = segmentation_scores(before.counts, before.precisions + 0.25)
    found = segmentation_difference(before, after)
    assert found["map"].mean == pytest.approx(0.25)
    assert found["map"].low == pytest.approx(found["map"].high)
    assert found["miou"] == Interval(0.0, 0.0, 0.0, 30)
    with pytest.raises(UserError, match="same images"):
        segmentation_difference(before, segmentation_scores(before.counts[:3], before.precisions[:3]))


@pytest.mark.skipif(not FILES, reason="no golden values beside this checkout")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scores_equal_the_authors(path):
    golden = np.load(path)
    maps, masks = torch.from_numpy(golden["relevance_predicted"]), torch.from_numpy(golden["masks"])
    scores = segmentation_scores(pixel_counts(maps, masks), map_average_precision(maps, masks))
    assert np.abs(np.array([number.mean for number in scores.numbers.values()]) - golden["seg_metrics"]).max() < 1e-6


@pytest.fixture
def model():
    return Classifier(tiny_network(), class_names=CLASSES)


def test_a_model_is_tested_on_photos(model, photos):
    found = find_photos(*photos)[:7]
    model.train()
    scores = segmentation_test(model, found, batch_size=7)
    assert model.training
    assert all(module.training for module in model.modules())
    assert len(scores.precisions) == 7
    for batch_size, workers in ((1, 0), (3, 1)):
        again = segmentation_test(model, found, batch_size=batch_size, workers=workers)
        assert (again.counts == scores.counts).all()
        assert np.abs(again.precisions - scores.precisions).max() < 1e-5
    assert all(0 < number.mean < 1 for number in scores.numbers.values())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_map_is_the_one_of_the_predicted_class(model, photos):
    from robustvit.evaluation.on_sets.segmented_photos import SegmentedPhotos

    found = find_photos(*photos)[:4]
    items = list(SegmentedPhotos(found, model.preprocessing.input_size))
    images, masks = (torch.stack([item[key] for item in items]) for key in ("image", "mask"))
    maps = relevance(model.eval(), images, model(images).argmax(dim=1)).detach()
    scores = segmentation_test(model, found)
    assert (scores.counts == pixel_counts(maps, masks)).all()
    assert np.abs(scores.precisions - map_average_precision(maps, masks)).max() < 1e-6


def test_maps_that_are_no_numbers_are_refused_and_the_model_is_left_as_it_was(model, photos, monkeypatch):
    found = find_photos(*photos)[:5]

    def broken(network, images, **_):
        maps = torch.zeros(len(images), 1, *images.shape[-2:])
        maps[-1, 0, 0, 0] = float("nan")
        return maps

    monkeypatch.setattr("robustvit.evaluation.on_sets.segmentation_scores.relevance", broken)
    model.train()
    with pytest.raises(UserError, match=f"{found[1].image} holds NaN") as caught:
        segmentation_test(model, found, batch_size=2)
    assert "\n" not in str(caught.value)
    assert model.training
    assert model.network.training


def test_mistakes(model, photos):
    images, _ = photos
    with pytest.raises(UserError, match="expected a mask for every photo"):
        segmentation_test(model, find_photos(images))
    with pytest.raises(UserError, match="got none"):
        segmentation_test(model, [])
    with pytest.raises(UserError, match="--batch-size"):
        segmentation_test(model, find_photos(*photos), batch_size=0)
    with pytest.raises(UserError, match="relevance method"):
        segmentation_test(model, find_photos(*photos), method="luck")
    with pytest.raises(UserError, match=r"gtsegs_ijcv\.mat"):
        segmentation_test(model, images)


def test_a_convolutional_network_by_another_method(photos):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    from robustvit.models.classifier import Preprocessing

    model = Classifier(network, preprocessing=Preprocessing(input_size=(32, 32)))
    scores = segmentation_test(model, find_photos(*photos)[:3], method="input_gradient")
    assert len(scores.precisions) == 3
