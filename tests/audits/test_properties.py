"""Properties of files that tell a class: each planted one is named, and shuffled classes give few false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from robustvit.audits import properties
from robustvit.audits.properties import PROPERTIES, TELLING, _auroc, _nearness, audit_properties, photo_properties

NAMES = ["cat", "dog", "cow"]


def draw(rng):
    small = rng.integers(40, 215, (8, 8, 3), dtype=np.uint8)
    noise = rng.normal(0, 8, (96, 96, 3))
    return Image.fromarray((np.asarray(Image.fromarray(small).resize((96, 96))) + noise).clip(0, 255).astype(np.uint8))


def redden(image):
    bands = zip(image.split(), (1, 0.6, 0.6), strict=True)
    return Image.merge("RGB", [band.point(lambda value, factor=factor: int(value * factor)) for band, factor in bands])


def write(folder, plant, count=16):
    """Photos of three classes that differ in nothing, but for what ``plant`` does to those of the first."""
    rng, found = np.random.default_rng(0), []
    for index in range(3 * count):
        name = NAMES[index % 3]
        image, options = draw(rng), {"quality": 85}
        if name == "cat":
            image, options = plant(image, options)
        image.save(folder / f"{index}.jpg", **options)
        found.append((folder / f"{index}.jpg", name))
    return found


PLANTED = {
    "jpeg": lambda image, options: (image, {"quality": 30}),
    "aspect": lambda image, options: (image.crop((0, 0, 96, 80)), options),
    "brightness": lambda image, options: (image.point(lambda value: value // 2), options),
    "saturation": lambda image, options: (ImageOps.grayscale(image).convert("RGB"), options),
    "sharpness": lambda image, options: (image.filter(ImageFilter.GaussianBlur(3)), options),
    "frame": lambda image, options: (ImageOps.expand(image.crop((6, 6, 90, 90)), 6), options),
    "red": lambda image, options: (redden(image), options),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_property_is_named(tmp_path, planted):
    photos = write(tmp_path, PLANTED[planted])
    found = audit_properties(np.array([photo_properties(path) for path, _ in photos]), [name for _, name in photos])
    assert found.p <= 0.05
    assert found.accuracy > found.chance + 0.1
    assert (planted, "cat") in [(one.property, one.class_name) for one in found.telling]
    assert all(one.surely >= TELLING for one in found.telling)


def test_a_class_whose_photos_are_all_alike_is_named_though_it_has_neither_more_nor_less():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, len(PROPERTIES)))
    column = list(PROPERTIES).index("aspect")
    values[::3, column] = 0.0  # square, others are upright or wide
    found = audit_properties(values, NAMES * 20)
    (told,) = found.telling
    assert (told.property, told.class_name, told.amount) == ("aspect", "cat", "alike")
    assert told.surely > 0.95


def test_nearness_leaves_the_photo_itself_out():
    rng = np.random.default_rng(1)
    values, inside = rng.normal(size=30), rng.random(30) < 0.4
    plain = []
    for at in range(30):
        others = [values[index] for index in range(30) if inside[index] and index != at]
        plain.append(-abs(values[at] - np.median(others)))
    assert _nearness(values, inside).tolist() == pytest.approx(plain)


def test_photos_that_differ_in_nothing_give_few_false_alarms():
    rng, named, small = np.random.default_rng(0), 0, 0
    for trial in range(12):
        found = audit_properties(rng.normal(size=(60, len(PROPERTIES))), NAMES * 20, seed=trial)
        assert abs(found.chance - 1 / 3) < 0.06
        named += bool(found.telling)
        small += found.p <= 0.05
    assert named == 0
    assert small <= 3  # 0.6 expected; more than 3 of 12 in 1 of 450 such tests


def test_the_area_under_the_curve_is_the_share_of_pairs():
    rng = np.random.default_rng(3)
    scores, positive = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert _auroc(scores, positive) == pytest.approx(np.mean(pairs))


def test_few_photos_are_not_judged():
    assert audit_properties(np.zeros((12, len(PROPERTIES))), ["a"] * 11 + ["b"]) is None


@pytest.mark.parametrize("sizes", [(10, 10), (20, 20), (20, 40)])
def test_chance_seldom_calls_a_class_alike(monkeypatch, sizes):
    monkeypatch.setattr(properties, "_cross_validate", lambda *_: 0.5)  # takes most of the time
    rng, alarms = np.random.default_rng(2), 0
    names = ["cat"] * sizes[0] + ["dog"] * sizes[1]
    for _ in range(40):
        found = audit_properties(rng.normal(size=(len(names), len(PROPERTIES))), names)
        alarms += any(one.alike for one in found.telling)
    assert alarms <= 1, "8 of 40 if ten photos of a class were enough"
