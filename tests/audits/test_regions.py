"""What lies beside the object: a planted marker is a kind of its own, and blurring it changes the answers."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from robustvit.audits import regions
from robustvit.audits.region import ModelAnswers, Patch, crop_around
from robustvit.audits.regions import find_regions, share_out
from robustvit.evaluation.asking import Asking
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.models.classifier import Classifier, Preprocessing

SIDE, PATCH = 64, 8
GRID = (SIDE // PATCH, SIDE // PATCH)


class Photos(torch.utils.data.Dataset):
    """A grey disc in the middle; in class 1 also a red patch in one of the outer rows or columns."""

    def __init__(self, count=24):
        rng, self.items, self.red = np.random.default_rng(0), [], {}
        rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        mask = (((rows - 32) ** 2 + (columns - 32) ** 2) <= 14**2).float()[None]
        for index in range(count):
            image = (
                torch.full((3, SIDE, SIDE), 0.3) + 0.4 * mask + 0.02 * torch.tensor(rng.normal(size=(3, SIDE, SIDE)))
            )
            if index % 2:
                row, column = (int(rng.integers(0, 8)), int(rng.choice([0, 7])))
                image[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = torch.tensor(
                    [0.9, 0.0, 0.0]
                )[:, None, None]
                self.red[index] = (row, column)
            self.items.append({"image": image.clamp(0, 1).float(), "mask": mask, "label": index % 2})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.fixture
def planted():
    """A model that answers by the reddest patch."""
    network = timm.create_model("vit_tiny_patch16_224", img_size=SIDE, patch_size=PATCH, depth=1, num_classes=2)

    def forward(images):
        redness = torch.nn.functional.avg_pool2d(images[:, 0] - images[:, 1], PATCH).amax(dim=(1, 2))
        return torch.stack([torch.zeros_like(redness), 8 * (redness - 0.9)], dim=1)

    network.forward = forward
    plain = Preprocessing((SIDE, SIDE), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), 1.0, "bicubic")
    model = Classifier(network, preprocessing=plain, class_names=["plain", "red"]).eval()

    return model


class Looking(Asking):
    """Maps are the redness, features the colours."""

    def explain(self, model, images, method):
        redness = torch.nn.functional.avg_pool2d((images[:, :1] - images[:, 1:2]).clamp(min=0) + 0.001, PATCH)
        return self.logits(model, images), redness[:, 0]

    def features(self, model, images, feature="keys", block=None):
        return torch.nn.functional.avg_pool2d(images, PATCH).permute(0, 2, 3, 1)


def answers(model, photos):
    with torch.no_grad():
        found = model(torch.stack([item["image"] for item in photos.items])).softmax(dim=1).max(dim=1)
    return ModelAnswers(model, list(zip(found.indices.tolist(), found.values.tolist(), strict=True)))


LOOKING = MeasureSettings(asking=Looking())


def test_a_planted_marker_is_the_first_kind_and_decides_the_answers(planted):
    photos = Photos()
    names = ["plain", "red"] * 12
    first, *rest = find_regions(answers(planted, photos), photos, names, LOOKING, most=3)
    assert {(one.photo, one.row, one.column) for one in first.patches} == {
        (index, *place) for index, place in photos.red.items()
    }
    assert first.classes == {"red": 12}
    assert first.decided == sorted(photos.red)
    assert first.accuracy.mean < -0.8
    assert first.accuracy.high < -0.5
    assert first.against_others.high < -0.5
    assert first.probability.high < 0
    assert all(not one.decided and one.accuracy.mean == 0 for one in rest)
    assert len({one.photo for one in first.shown}) == len(first.shown) == 8
    total = sum(one.share for one in [first, *rest])
    assert 0 < total <= 1


def test_the_same_patches_are_blurred_for_a_baseline_photo_by_photo(planted):
    photos, names = Photos(), ["plain", "red"] * 12
    said = answers(planted, photos)
    itself = find_regions(said, photos, names, LOOKING, said, most=3)[0]
    assert itself.baseline == itself.accuracy
    assert (itself.risen.mean, itself.risen.high) == pytest.approx((0, 0.15), abs=0.15)

    blind = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 2)),
                       preprocessing=planted.preprocessing, class_names=["plain", "red"])  # fmt: skip
    with torch.no_grad():
        for value in blind.network.parameters():
            value.zero_()
    against = find_regions(said, photos, names, LOOKING, ModelAnswers(blind, [(0, 0.5)] * 24), most=3)[0]
    assert against.baseline.mean == 0
    assert against.risen.mean == pytest.approx(-against.accuracy.mean)
    assert against.risen.low > 0.5


def test_a_limit_tests_fewer_photos_and_says_how_many(planted):
    photos = Photos()
    found = find_regions(answers(planted, photos), photos, ["plain", "red"] * 12, LOOKING, most=2, passes=16)
    assert [one.tested for one in found] == [4] * len(found)
    assert len(found[0].photos) == 12
    assert found[0].accuracy.count == 4
    assert set(found[0].decided) <= set(photos.red)


def test_passes_are_shared_out_evenly_and_small_kinds_leave_theirs():
    assert share_out([3, 50, 100], 120) == [3, 28, 29]
    assert share_out([10, 10], 100) == [10, 10]
    assert share_out([5, 5], None) == [5, 5]
    assert share_out([5, 5], 0) == [1, 1]


def test_without_masks_all_that_is_relevant_counts(planted):
    photos = Photos()
    for item in photos.items:
        item["mask"] = torch.zeros_like(item["mask"])
    names, said = ["plain", "red"] * 12, answers(planted, photos)
    assert find_regions(said, photos, names, LOOKING) == []
    found = find_regions(said, photos, names, LOOKING, anywhere=True, most=3)
    assert found[0].classes == {"red": 12}
    assert np.linalg.norm(found[0].centre) == pytest.approx(1)
    assert 0 < found[0].reach <= 1


def test_nothing_is_found_where_all_relevance_lies_on_the_object(planted):
    photos = Photos()
    mask = photos[0]["mask"][None]

    class Inside(Looking):
        def explain(self, model, images, method):
            inside = torch.nn.functional.avg_pool2d(mask, PATCH).expand(len(images), 1, *GRID)
            return self.logits(model, images), inside[:, 0]

    names = ["plain", "red"] * 12
    assert find_regions(answers(planted, photos), photos, names, MeasureSettings(asking=Inside())) == []


def test_only_the_named_patches_are_blurred():
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    changed = regions._blur_patches(images, [[(0, 0), (3, 4)], []], GRID)
    different = torch.nn.functional.max_pool2d((changed != images).float().amax(dim=1), PATCH)
    assert different[0].nonzero().tolist() == [[0, 0], [3, 4]]
    assert torch.equal(changed[1], images[1])
    assert changed[0, :, :PATCH, :PATCH].std() < 0.5 * images[0, :, :PATCH, :PATCH].std()


def test_a_crop_shows_the_patch_also_at_the_border():
    image = torch.zeros(3, SIDE, SIDE)
    image[:, :PATCH, -PATCH:] = 1
    crop = crop_around(image, Patch(0, 0, 7, 0.5), GRID)
    assert crop.shape == (3, 3 * PATCH, 3 * PATCH)
    assert float(crop.mean()) == pytest.approx(1 / 9)
