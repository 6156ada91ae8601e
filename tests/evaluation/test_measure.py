"""Measures photo by photo against plain second implementations."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.drawn_photos import CLASSES
from helpers.small_models import SIZE, tiny_network
from robustvit import Classifier, UserError, relevance
from robustvit.data.backgrounds import Backgrounds
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.data.photo import Photo
from robustvit.evaluation.map_scores import map_iou
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.photo_measures import Swapped, read_measures, write_measures
from robustvit.explanation.maps import energy_inside
from robustvit.explanation.methods import get_method


def plain_iou(values, mask):
    threshold = sum(values) / len(values)
    total = 0.0
    for side in (True, False):
        cut = [(v > threshold) == side for v in values]
        real = [(m > 0.5) == side for m in mask]
        both = sum(a and b for a, b in zip(cut, real, strict=True))
        either = sum(a or b for a, b in zip(cut, real, strict=True))
        total += both / either
    return total / 2


def test_iou_and_energy_equal_plain_loops():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(4, 1, 8, 6, dtype=torch.float64, generator=generator)
    masks = torch.rand(4, 1, 8, 6, dtype=torch.float64, generator=generator)
    for one, mask, iou, energy in zip(maps, masks, map_iou(maps, masks), energy_inside(maps, masks), strict=True):
        values, inside = one.flatten().tolist(), mask.flatten().tolist()
        assert float(iou) == pytest.approx(plain_iou(values, inside), abs=1e-6)
        plain = sum(v * m for v, m in zip(values, inside, strict=True)) / sum(values)
        assert float(energy) == pytest.approx(plain, abs=1e-12)


def test_energy_of_an_empty_map_is_zero():
    assert energy_inside(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).tolist() == [0.0]


@pytest.fixture
def classifier():
    return Classifier(tiny_network(), class_names=CLASSES)


@pytest.fixture
def dataset(photos, classifier):
    return MaskedPhotos(match_labels(find_photos(*photos), 3, CLASSES), classifier.preprocessing)


def test_measures_equal_one_photo_at_a_time(classifier, dataset):
    classifier.train()
    results = measure(classifier, dataset, MeasureSettings(swaps=2, batch_size=7))
    assert classifier.training, "the mode must be left as it was"
    classifier.eval()
    assert len(results) == 30
    for index in (0, 13, 29):
        item, found = dataset[index], results[index]
        said = classifier(item["image"][None]).softmax(dim=1)[0]
        assert found.predicted == int(said.argmax())
        assert found.probability == pytest.approx(float(said.max().detach()), abs=1e-5)
        assert found.values["ordinary"] == float(found.predicted == item["label"])
        heat = relevance(classifier, item["image"][None]).detach()
        values, mask = heat.flatten().tolist(), item["mask"].flatten().tolist()
        assert found.values["miou"] == pytest.approx(plain_iou(values, mask), abs=2e-3)
        for kind in ("mixed-same", "mixed-other", "mixed-rand"):
            ones = [one for one in found.swapped if one.kind == kind]
            assert len(ones) == 2
            right = []
            for one in ones:
                picture = SwappedPhotos(dataset, [(index, one.donor)])[0]["image"]
                assert int(classifier(picture[None]).argmax()) == one.predicted
                right.append(one.predicted == item["label"])
            assert found.values[kind] == np.mean(right)
        lent = {kind: [dataset.photos[one.donor].label for one in found.swapped if one.kind == kind] for kind in KINDS}
        assert lent["mixed-same"] == [item["label"]] * 2
        assert item["label"] not in lent["mixed-other"]


KINDS = ("mixed-same", "mixed-other", "mixed-rand")


def test_random_backgrounds_are_the_mixture_and_cost_no_answer(classifier, dataset, monkeypatch):
    shown = []
    monkeypatch.setattr(SwappedPhotos, "__getitem__", lambda self, at, real=SwappedPhotos.__getitem__: (
        shown.append(self.pairs[at]), real(self, at))[1])  # fmt: skip
    own = drawn = 0
    for seed in range(8):
        shown.clear()
        for index, found in enumerate(measure(classifier, dataset, MeasureSettings(swaps=3, seed=seed, maps=False))):
            same, other, rand = ([one for one in found.swapped if one.kind == kind] for kind in KINDS)
            assert len(same) == len(other) == len(rand) == 3
            for place, one in enumerate(rand):
                mine = dataset.photos[one.donor].label == dataset.photos[index].label
                assert one == replace(same[place] if mine else other[place], kind="mixed-rand")
                own, drawn = own + mine, drawn + 1
        assert len(shown) == 2 * 3 * 30
    # Three classes: the own one in a third of 720 draws, with a standard deviation of 12.6.
    assert drawn == 720
    assert abs(own - 240) < 50


def test_the_only_photo_of_a_class_has_other_backgrounds_alone(classifier, dataset):
    photos = [photo for photo in dataset.photos if photo.label]
    lone = [next(photo for photo in dataset.photos if photo.label == 0), *photos]
    found = measure(classifier, MaskedPhotos(lone, classifier.preprocessing), MeasureSettings(swaps=2, maps=False))[0]
    kinds = [one.kind for one in found.swapped]
    assert kinds == ["mixed-other"] * 2 + ["mixed-rand"] * 2
    assert "mixed-same" not in found.values
    assert found.values["mixed-rand"] == found.values["mixed-other"]


def test_measures_of_an_older_version_are_read(tmp_path):
    old = {"image": "a.png", "label": 0, "predicted": 1, "probability": 0.5,
           "values": {"ordinary": 0.0, "mixed-rand": 0.5},
           "swapped": [{"kind": "mixed-rand", "donor": 3, "predicted": 0, "probability": 0.4}]}  # fmt: skip
    (tmp_path / "before.json").write_text(json.dumps([old]))
    found = read_measures(tmp_path / "before.json")[0]
    assert found.values == old["values"]
    assert found.swapped == [Swapped("mixed-rand", 3, 0, 0.4)]


def test_swaps_are_seeded_and_batch_size_does_not_matter(classifier, dataset):
    def donors(**options):
        settings = MeasureSettings(maps=False, **options)
        return [[one.donor for one in found.swapped] for found in measure(classifier, dataset, settings)]

    assert donors(seed=1) == donors(seed=1, batch_size=4)
    assert donors(seed=1) != donors(seed=2)
    assert donors(swaps=0) == [[]] * 30


def test_what_does_not_apply_is_left_out(classifier, dataset):
    bare = [Photo(photo.image) for photo in dataset.photos[:3]]
    results = measure(classifier, MaskedPhotos(bare, classifier.preprocessing))
    assert [found.values for found in results] == [{}, {}, {}]
    labelled = [Photo(photo.image, label=0) for photo in dataset.photos[:3]]
    results = measure(classifier, MaskedPhotos(labelled, classifier.preprocessing))
    assert all(set(found.values) == {"ordinary"} for found in results)


def test_photos_without_masks_make_no_maps(classifier, photos, monkeypatch):
    made = []
    monkeypatch.setattr("robustvit.evaluation.asking.get_method", lambda name: made.append(name) or get_method(name))
    with_masks = match_labels(find_photos(*photos), 3, CLASSES)[:10]
    without = [replace(photo, mask=None) for photo in with_masks]
    seen = {
        name: measure(
            classifier, MaskedPhotos(listed, classifier.preprocessing), MeasureSettings(swaps=0, batch_size=5)
        )
        for name, listed in (("bare", without), ("masked", with_masks), ("mixed", without[:6] + with_masks[6:]))
    }
    assert len(made) == 0 + 2 + 1
    for bare, masked in zip(seen["bare"], seen["masked"], strict=True):
        assert set(bare.values) == {"ordinary"}
        assert bare.predicted == masked.predicted
        assert bare.probability == pytest.approx(masked.probability, abs=1e-6)
    assert ["miou" in one.values for one in seen["mixed"]] == [False] * 6 + [True] * 4


def test_one_class_has_no_random_background(classifier, dataset):
    one = MaskedPhotos([photo for photo in dataset.photos if photo.label == 0], classifier.preprocessing)
    assert {swap.kind for found in measure(classifier, one) for swap in found.swapped} == {"mixed-same"}


def test_round_trip(tmp_path, classifier, dataset):
    results = measure(classifier, dataset, MeasureSettings(maps=False))
    write_measures(results, tmp_path / "m.json")
    assert read_measures(tmp_path / "m.json") == results


def test_objects_lost_to_the_crop_are_not_swapped(classifier, tmp_path):
    from PIL import Image

    mask = np.zeros((SIZE, 4 * SIZE), np.uint8)
    mask[:, :10] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.new("RGB", (4 * SIZE, SIZE), "white").save(tmp_path / "p.png")
    photo = Photo(tmp_path / "p.png", tmp_path / "m.png", "disc", 0)
    found = measure(classifier, MaskedPhotos([photo, photo], classifier.preprocessing))[0]
    assert found.swapped == []
    assert set(found.values) == {"ordinary"}


def test_a_model_that_gives_no_numbers_is_refused(photos):
    network = tiny_network()
    with torch.no_grad():
        network.head.bias[0] = float("nan")
    model = Classifier(network, class_names=CLASSES).train()
    data = MaskedPhotos(match_labels(find_photos(*photos), 3, CLASSES), model.preprocessing)
    for maps in (True, False):
        with pytest.raises(UserError, match="NaN or infinity"):
            measure(model, data, MeasureSettings(maps=maps))
        assert model.training


def test_unseen_backgrounds_equal_one_photo_at_a_time(classifier, dataset):
    results = measure(classifier, dataset, MeasureSettings(swaps=2, backgrounds="textures", maps=False))
    others = Backgrounds("textures", dataset.preprocessing)
    classifier.eval()
    used = [one.donor for found in results for one in found.swapped if one.kind == "unseen"]
    assert len(used) == 2 * len(dataset)
    assert max(used.count(at) for at in used) <= -(-len(used) // len(others))
    for index in (0, 13, 29):
        item, right = dataset[index], []
        for one in (one for one in results[index].swapped if one.kind == "unseen"):
            pasted = item["mask"] * item["image"] + (1 - item["mask"]) * others[one.donor]
            assert int(classifier(pasted[None]).argmax()) == one.predicted
            right.append(one.predicted == item["label"])
        assert results[index].values["unseen"] == np.mean(right)


def test_unseen_backgrounds_change_no_other_measure(classifier, dataset):
    plain, more = (measure(classifier, dataset, MeasureSettings(maps=False, backgrounds=b)) for b in (None, "textures"))
    for one, other in zip(plain, more, strict=True):
        assert one.values == {name: value for name, value in other.values.items() if name != "unseen"}


def test_a_kind_alone_has_the_same_backgrounds(classifier, dataset):
    both = measure(classifier, dataset, MeasureSettings(maps=False))
    alone = measure(classifier, dataset, MeasureSettings(maps=False, kinds=("mixed-other",)))
    for one, other in zip(both, alone, strict=True):
        assert other.swapped == [swap for swap in one.swapped if swap.kind == "mixed-other"]
        assert "mixed-rand" not in other.values
