"""Shortcuts that the benchmark plants: into the photos of one class alone, and each changes them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.study.planted import named_by
from benchmarks.study.plants import PLANTS, SETS, plant_photos


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "cow"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(40, 200, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((160, 120)).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("name", list(PLANTS))
def test_one_class_alone_has_what_is_planted(photos, tmp_path, name):
    plant_photos(photos, tmp_path / "plain", {})
    boxes = plant_photos(photos, tmp_path / "planted", {"cow": name})
    for file in ("cat/0.jpg", "cow/0.jpg"):
        same = (tmp_path / "plain" / file).read_bytes() == (tmp_path / "planted" / file).read_bytes()
        assert same == file.startswith("cat")
    assert list(boxes) == (["cow/0.jpg", "cow/1.jpg"] if name == "object" else [])
    if boxes:
        left, top, width, height = boxes["cow/0.jpg"]
        both = [np.asarray(Image.open(tmp_path / kind / "cow/0.jpg"), dtype=float) for kind in ("plain", "planted")]
        changed = np.abs(both[0] - both[1]).max(axis=2) > 40
        assert changed[max(0, top) : top + height, max(0, left) : left + width].sum() > 0.9 * changed.sum()


def test_every_set_holds_plants_and_a_name_counts_for_the_own_class_only():
    assert {plant for planted in SETS.values() for plant in planted} <= set(PLANTS)
    row = {"name": "grey", "is_shortcut": True, "pulls_to": "cat", "excess": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    found = {"inserted": {"model": [row]}, "companions": [], "regions": [], "properties": None}
    assert named_by("grey", "cat", found) == ["put in: +20 [+10, +30]"]
    assert named_by("grey", "dog", found) == []
    assert named_by("blur", "cat", found) == []
