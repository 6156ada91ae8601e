"""What is measured of photos without an object: the answer, and what their backgrounds do to others."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from helpers.drawn_photos import write_photos
from helpers.small_models import tiny_network
from robustvit import evaluate
from robustvit.audits.background_choice import fit_photos
from robustvit.audits.measures import audit_photos
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.data.swaps import paste
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.models.classifier import Classifier

CLASSES = ("bad", "good")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Four photos of parts with an object, and four of good ones without."""
    images, masks = write_photos(tmp_path_factory.mktemp("parts"), 4, classes=CLASSES)
    for mask in (masks / "good").iterdir():
        Image.new("L", (48, 48)).save(mask)
    return images, masks


@pytest.fixture(scope="module")
def model():
    return Classifier(tiny_network(num_classes=2), class_names=CLASSES)


@pytest.fixture(scope="module")
def listed(folders, model):
    return match_labels(find_photos(*folders), 2, model.class_names)


def test_objects_are_put_on_their_whole_frame(listed, model):
    data = MaskedPhotos(listed, model.preprocessing)
    found = measure(model, data, MeasureSettings(swaps=2))
    assert [set(one.values) for one in found[4:]] == [{"ordinary"}] * 4
    for index, one in enumerate(found[:4]):
        assert {"mixed-other", "mixed-same", "mixed-rand", "miou", "energy"} < set(one.values)
        others = [swap for swap in one.swapped if swap.kind == "mixed-other"]
        assert len(others) == 2
        for swap in others:
            assert swap.donor >= 4
            item = data[index]
            with torch.no_grad():
                logits = model(paste(item["image"], item["mask"], data[swap.donor]["image"])[None])
            assert swap.predicted == int(logits.argmax())
    lent = [swap.donor for one in found[:4] for swap in one.swapped if swap.kind == "mixed-other"]
    assert sorted(lent) == [4, 4, 5, 5, 6, 6, 7, 7]


def test_an_audit_takes_their_backgrounds_and_no_object_of_theirs(listed, model):
    photos = CachedPhotos(listed, model.preprocessing)
    assert fit_photos(photos) == ([0, 1, 2, 3], [True] * 8)
    found = audit_photos(model, photos, MeasureSettings(swaps=1), tries=3)
    assert [set(one.values) for one in found[4:]] == [{"ordinary"}] * 4
    for one in found[:4]:
        assert len({tried.donor for tried in one.tried}) == 3
        assert all(tried.lent == 1 for tried in one.tried)
        assert "only-fg" in one.values


def test_evaluate_counts_them_in_ordinary_accuracy_and_says_so(folders, model, capsys):
    images, masks = folders
    found = evaluate(model=model, images=str(images), masks=str(masks), swaps=1, backgrounds="none", device="cpu")
    assert found.measures["ordinary"].count == 8
    assert found.measures["mixed-other"].count == found.measures["miou"].count == 4
    assert any(note.startswith("4 of 8 photos show no object (all 4 of class good)") for note in found.notes)
    assert "show no object" in capsys.readouterr().err
    named = evaluate(
        model=model, images=str(images), masks=str(masks), swaps=1, backgrounds="none", device="cpu", no_object="good"
    )
    assert {name: one.mean for name, one in named.measures.items()} == {
        name: one.mean for name, one in found.measures.items()
    }


def test_the_segmentation_test_leaves_them_out(folders, model_folder, tmp_path, capsys):
    images, masks = folders
    options = {"model": str(model_folder), "on": "segmentation", "images": str(images), "masks": str(masks)}
    (record,) = evaluate(**options, records=str(tmp_path / "r"), device="cpu").records
    assert record.samples == 4
    assert "4 photos without an object left out of the segmentation test" in capsys.readouterr().err
