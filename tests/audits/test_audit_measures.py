"""What an audit measures, against slow plain implementations."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import SIZE, tiny_network
from robustvit import UserError
from robustvit.audits.audited_photo import AuditedPhoto, PhotoAnswer, Tried
from robustvit.audits.background_choice import choose_pastings, choose_tries, fit_photos
from robustvit.audits.background_groups import group_photos, usual_photos
from robustvit.audits.background_kinds import BackgroundKinds, background_features, find_backgrounds
from robustvit.audits.by_metric import metric_beyond, metric_means
from robustvit.audits.clusters import silhouette
from robustvit.audits.measures import audit_photos
from robustvit.audits.pictures import choose_worst
from robustvit.audits.placements import (
    GRIDS,
    LEAST_INSIDE,
    SIDE,
    measure_placements,
    shift_points,
    shift_values,
)
from robustvit.audits.summary import beyond_chances
from robustvit.data.cached_photos import CachedPhotos
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos, evaluation_transform, read_pair
from robustvit.data.find_photos import find_photos
from robustvit.data.photo import Photo
from robustvit.data.shifts.cutouts import cut_out, place, square_background
from robustvit.data.swaps import paste, tiled_background
from robustvit.evaluation.map_scores import pointing_hit
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.metrics import MOST_SCORED
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.explanation.features import patch_features
from robustvit.models.classifier import Classifier, Preprocessing


@pytest.fixture
def classifier():
    # Photos are taken pixel for pixel, so that a mask holds its object exactly.
    return Classifier(tiny_network(), preprocessing=Preprocessing((SIZE, SIZE), crop_share=1.0), class_names=CLASSES)


@pytest.fixture
def held(tmp_path, classifier):
    images, masks = write_photos(tmp_path, 3)
    photos = match_labels(find_photos(images, masks), 3, CLASSES)
    return CachedPhotos(photos, classifier.preprocessing)


def test_held_photos_are_the_same_to_the_bit_and_read_once(held, classifier, monkeypatch):
    soft = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    np.save(held.photos[0].mask.with_suffix(".npy"), soft)
    photos = [
        Photo(held.photos[0].image, held.photos[0].mask.with_suffix(".npy"), "disc", 0),
        *held.photos[1:],
    ]
    squeezed = Preprocessing((32, 32), crop_share=0.9)
    plain, kept = MaskedPhotos(photos, squeezed), CachedPhotos(photos, squeezed)
    kept.read()
    monkeypatch.setattr(MaskedPhotos, "__getitem__", lambda *_: pytest.fail("read again"))
    found = [kept[index] for index in range(len(kept))]
    monkeypatch.undo()
    for item, wanted in zip(found, (plain[index] for index in range(len(plain))), strict=True):
        assert item.keys() == wanted.keys()
        assert torch.equal(item["image"], wanted["image"])
        assert torch.equal(item["mask"], wanted["mask"])
        assert item["mask"].dtype == torch.float32
        assert [item[name] for name in ("label", "index", "kept")] == [wanted[n] for n in ("label", "index", "kept")]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_photo_is_named_in_one_line(held, workers):
    held.photos[4].image.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read .*001\.png: it is not an image") as caught:
        held.read(workers)
    assert "\n" not in str(caught.value)


def test_measuring_held_photos_gives_what_measuring_photos_gives(held, classifier):
    plain = MaskedPhotos(held.photos, classifier.preprocessing)
    assert measure(classifier, held, MeasureSettings(seed=3)) == measure(classifier, plain, MeasureSettings(seed=3))


def test_pointing_game_against_its_definition():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, 1, 5, 7, generator=generator)
    maps[4] = 0
    masks = torch.rand(6, 1, 5, 7, generator=generator)
    hits = pointing_hit(maps, masks).tolist()
    for one, mask, hit in zip(maps, masks, hits, strict=True):
        values, inside = one.flatten().tolist(), mask.flatten().tolist()
        assert hit == float(max(values) > 0 and inside[values.index(max(values))] > 0.5)
    assert hits[4] == 0
    assert 0 < sum(hits) < 6


def test_tries_are_of_other_classes_in_turn_and_none_twice():
    labels = [0] * 4 + [1] * 5 + [2] * 2
    usable = [True] * 11
    usable[4] = False
    pairs = choose_tries(labels, range(11), usable, 6, seed=1)
    assert pairs == choose_tries(labels, range(11), usable, 6, seed=1)
    assert pairs != choose_tries(labels, range(11), usable, 6, seed=2)
    for index in range(11):
        donors = [donor for own, donor in pairs if own == index]
        assert len(donors) == len(set(donors)) == 6
        assert 4 not in donors
        counts = Counter(labels[donor] for donor in donors)
        assert labels[index] not in counts
    assert {Counter(labels[d] for i, d in pairs if i == 0)[c] for c in (1, 2)} == {4, 2}  # class 2 has two only
    assert choose_tries([0, 0], [0, 1], [True, True], 3, seed=0) == []


@pytest.mark.parametrize("sizes", [(40, 40, 40), (60, 30), (3, 50, 20)])
def test_tries_and_placements_use_the_backgrounds_of_a_class_evenly(sizes):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    usable = [index % 7 != 0 for index in range(len(labels))]
    able = [index for index in range(len(labels)) if index % 11 != 0]  # the others lend, and ask for nothing
    pairs = choose_tries(labels, able, usable, 2, seed=3)
    pastings = choose_pastings(labels, able, usable, 30, seed=3)
    assert {index for index, _ in pairs} == set(able)
    for drawn in ([donor for _, donor in pairs], [one.donors[0] for one in pastings]):
        lent = Counter(drawn)
        for label in range(len(sizes)):
            own = [lent[i] for i in range(len(labels)) if usable[i] and labels[i] == label]
            assert max(own) - min(own) <= 1
        assert not any(lent[i] for i in range(len(labels)) if not usable[i])


def test_everything_measured_on_a_photo_one_by_one(held, classifier):
    classifier.train()
    found = audit_photos(classifier, held, MeasureSettings(swaps=1, seed=5, batch_size=4), tries=4)
    assert classifier.training
    classifier.eval()
    able, usable = fit_photos(held)
    assert able == list(range(9))
    assert all(usable)
    labels = [photo.label for photo in found]
    pairs = choose_tries(labels, able, usable, 4, 5)
    with torch.no_grad():
        for index, photo in enumerate(found):
            item = held[index]
            image, mask = item["image"], item["mask"]
            rows, columns = np.nonzero(mask[0].numpy() > 0.5)
            boxed = image.clone()
            boxed[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 0
            variants = {
                "only-fg": image * mask,
                "no-fg": image * (1 - mask),
                "only-bg-b": boxed,
                "only-bg-t": tiled_background(image, mask),
            }
            for name, shown in variants.items():
                said = int(classifier(shown[None]).argmax())
                assert photo.answers[name].predicted == said
                assert photo.values[name] == float(said == item["label"])
            assert photo.values["uniform"] == pytest.approx(float(mask.mean()))
            assert photo.values["cost"] == photo.values["mixed-same"] - photo.values["mixed-other"]
            assert photo.values["gap"] == photo.values["mixed-same"] - photo.values["mixed-rand"]
            donors = [donor for own, donor in pairs if own == index]
            assert [one.donor for one in photo.tried] == donors
            turned, worst = [], (2.0, -1)
            for donor, one in zip(donors, photo.tried, strict=True):
                lender = held[donor]
                shown = paste(image, mask, tiled_background(lender["image"], lender["mask"]))
                said = classifier(shown[None]).softmax(dim=1)[0]
                assert one.answer.predicted == int(said.argmax())
                assert one.answer.right == pytest.approx(float(said[item["label"]]), abs=1e-5)
                worst = min(worst, (float(said[item["label"]]), donor))
                turned.append(int(said.argmax()) == labels[donor] and int(said.argmax()) != photo.plain.predicted)
            assert photo.values["turned"] == sum(turned) / 4
            assert photo.values["vulnerable"] == float(any(turned))
            assert photo.most_harmful.donor == worst[1]


def test_batches_of_any_size_give_the_same_answers(held, classifier):
    one, many = (audit_photos(classifier, held, MeasureSettings(swaps=1, batch_size=size), tries=2) for size in (1, 7))
    for a, b in zip(one, many, strict=True):
        assert {k: s.predicted for k, s in a.answers.items()} == {k: s.predicted for k, s in b.answers.items()}
        assert [(t.donor, t.answer.predicted) for t in a.tried] == [(t.donor, t.answer.predicted) for t in b.tried]
        assert a.values == pytest.approx(b.values, abs=1e-4)


def test_placed_objects_one_by_one(held, classifier):
    able, usable = fit_photos(held)
    labels = [photo.label for photo in held.photos]
    pastings = choose_pastings(labels, able, usable, 4, seed=2)
    assert len(pastings) == 4
    assert Counter(labels[one.index] for one in pastings).most_common()[0][1] == 2
    assert all(labels[donor] != labels[one.index] for one in pastings for donor in one.donors)
    other = Classifier(tiny_network(depth=2), preprocessing=Preprocessing((SIZE, SIZE), crop_share=0.8))
    answers = measure_placements([classifier, other], held, pastings, MeasureSettings(batch_size=5))
    for model, said in zip((classifier, other), answers, strict=True):
        transform = evaluation_transform(model.preprocessing)
        for pasting in pastings[:2]:
            photo, mask = read_pair(held.photos[pasting.index])
            lender, cover = read_pair(held.photos[pasting.donors[0]])
            pixels = torch.from_numpy(np.array(lender)).permute(2, 0, 1)
            tiled = tiled_background(pixels, cover).permute(1, 2, 0).numpy()
            background = square_background(Image.fromarray(tiled), SIDE)
            for placement in {point for grid in GRIDS.values() for point in grid}:
                image, inside = place(cut_out(photo, mask[0].numpy()), background, placement)
                assert (placement in said[pasting.index].right) == (inside >= LEAST_INSIDE)
                with torch.no_grad():
                    predicted = int(model(transform(image)[None]).argmax())
                assert said[pasting.index].right[placement] == (predicted == labels[pasting.index])
    values = shift_values(answers[0])
    for (_, placement), accuracy in shift_points(answers[0]).items():
        right = [one.right[placement] for one in answers[0].values() if placement in one.right]
        assert accuracy.mean == pytest.approx(sum(right) / len(right))
    for index, one in answers[0].items():
        assert values[index]["size"] == pytest.approx(np.mean([one.right[p] for p in GRIDS["size"] if p in one.right]))
        assert one.background == next(pasting.donors[0] for pasting in pastings if pasting.index == index)


def test_objects_are_placed_on_backgrounds_given(held, classifier, tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (60, 40), "gray").save(tmp_path / f"{name}.png")
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    pastings = choose_pastings([0, 1, 2] * 3, range(9), [True] * 9, 100, 0, files)
    assert len(pastings) == 9
    assert sorted(Counter(one.file for one in pastings).values()) == [4, 5], "each file as often as the other"
    (answers,) = measure_placements([classifier], held, pastings, MeasureSettings())
    by_file = {one.file: {answers[p.index].background for p in pastings if p.file == one.file} for one in pastings}
    assert sorted(by_file.values(), key=min) == [{0}, {1}]
    files[0].write_bytes(b"no image")
    with pytest.raises(UserError, match="not an image"):
        measure_placements([classifier], held, pastings, MeasureSettings())


def plain_silhouette(points, labels):
    values = []
    for i, own in enumerate(labels):
        apart: dict[int, list[float]] = {}
        for j, other in enumerate(labels):
            if j != i:
                apart.setdefault(other, []).append(float(np.linalg.norm(points[i] - points[j])))
        if own not in apart:
            values.append(0.0)
            continue
        a = np.mean(apart.pop(own))
        b = min(np.mean(distances) for distances in apart.values())
        values.append((b - a) / max(a, b))
    return float(np.mean(values))


def test_silhouette_against_its_definition():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 3))
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2, 5])
    assert silhouette(points, labels) == pytest.approx(plain_silhouette(points, labels.tolist()), abs=1e-12)
    assert silhouette(points, np.zeros(12, dtype=int)) == 0
    assert silhouette(np.ones((4, 2)), np.array([0, 0, 1, 1])) == 0


def test_kinds_of_background_are_found_and_named_by_size():
    rng = np.random.default_rng(1)
    centres = np.array([[0, 0], [9, 0], [0, 9], [9, 9.0]])
    truth = np.repeat([0, 1, 2, 3], [5, 9, 7, 6])
    features = centres[truth] + rng.normal(scale=0.3, size=(27, 2))
    features = np.vstack([features, [[np.nan, np.nan]]])
    found = find_backgrounds(features, seed=3)
    assert found.count == 4
    assert max(found.silhouettes, key=found.silhouettes.get) == 4
    assert found.members[-1] is None
    names = {1: 0, 2: 1, 3: 2, 0: 3}
    assert found.members[:-1] == [names[one] for one in truth]
    assert found == find_backgrounds(features, seed=3)
    assert find_backgrounds(features, count=2).count == 2
    nearest = min(range(5), key=lambda i: np.linalg.norm(features[i] - features[:5].mean(axis=0)))
    assert found.typical(range(5), 1) == [nearest]


def test_backgrounds_that_are_all_alike_are_one_kind():
    assert find_backgrounds(np.ones((6, 3))).members == [0] * 6
    assert find_backgrounds(np.full((2, 3), np.nan)).members == [None, None]


def test_features_of_backgrounds_do_not_depend_on_the_object(held, classifier):
    found = background_features(classifier, held, MeasureSettings(batch_size=4))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(9))
    item = held[2]
    tiled = tiled_background(item["image"], item["mask"])
    patches = patch_features(classifier, tiled[None])[0]
    total = torch.zeros(patches.shape[-1], dtype=torch.float64)
    for row, column in itertools.product(range(6), range(6)):
        if not item["mask"][0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].any():
            total += patches[row, column].double()
    assert found[2] == pytest.approx((total / total.norm()).numpy(), abs=1e-5)
    photo, mask = (np.array(Image.open(place)) for place in (held.photos[2].image, held.photos[2].mask))
    photo[mask > 0] = (255, 0, 255)
    Image.fromarray(photo).save(held.photos[2].image)
    again = background_features(classifier, CachedPhotos(held.photos, classifier.preprocessing), MeasureSettings())
    assert again == pytest.approx(found, abs=1e-5)


def test_groups_and_the_usual_background():
    names = ["cat"] * 8 + ["dog"] * 7
    kinds = BackgroundKinds([0] * 6 + [1] * 2 + [1] * 5 + [0] + [None], [0.0] * 15, {})
    right = [1.0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1]
    groups = group_photos(kinds, names, right, before=[0.0] * 15)
    assert [(g.class_name, g.background, len(g.photos), g.fair) for g in groups] == [
        ("dog", 1, 5, True),
        ("cat", 0, 6, True),
        ("cat", 1, 2, False),
        ("dog", 0, 1, False),
    ]
    assert groups[0].accuracy.mean == pytest.approx(3 / 5)
    assert groups[0].difference.mean == pytest.approx(3 / 5)
    assert usual_photos(kinds, names) == [True] * 6 + [False] * 2 + [True] * 5 + [False, None]


def answered(label, predicted, energy, uniform, turned=False):
    photo = AuditedPhoto(PhotoMeasure("x", label, predicted, 0.9), {"energy": energy, "uniform": uniform})
    photo.tried = [Tried(3, 1, PhotoAnswer(1 if turned else label, 0.9, 0.1))]
    return photo


def test_worst_photos_by_the_stated_rule():
    photos = [
        answered(0, 0, 0.01, 0.5),  # right and never taken over: not shown
        answered(0, 2, 0.4, 0.4),
        answered(0, 0, 0.1, 0.4, turned=True),
        answered(0, 1, 0.1, 0.1, turned=True),  # not taken over: it was the answer before
        answered(0, 2, 0.3, 0.4),
    ]
    assert choose_worst(photos, 10) == [2, 4, 1, 3]
    assert choose_worst(photos, 1) == [2]
    assert not photos[3].turned


def test_a_large_head_scores_the_classes_of_the_photos_on_backgrounds_alone_too(held):
    names = [*CLASSES, *(f"other {number}" for number in range(MOST_SCORED))]
    large = Classifier(
        tiny_network(len(names)), preprocessing=Preprocessing((SIZE, SIZE), crop_share=1.0), class_names=names
    )
    found = audit_photos(large, held, MeasureSettings(swaps=1), tries=2)
    for photo in found:
        kept = set(photo.plain.scores)
        assert kept == {one.label for one in found}
        assert all(set(answer.scores) == kept for answer in photo.answers.values())
    for metric in ("auroc", "average-precision"):
        assert "only-bg-t" in metric_beyond(found, metric, metric_means(found, metric), beyond_chances(found))
