"""Backgrounds that no photo has: textures, your own folder, how they are dealt, what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.drawn_photos import CLASSES
from robustvit import UserError
from robustvit.data.backgrounds import Backgrounds, PastedPhotos, check_backgrounds, deal_backgrounds
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.find_photos import find_photos
from robustvit.models.classifier import Preprocessing

SMALL = Preprocessing(input_size=(32, 32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 4), st.integers(0, 9))
def test_backgrounds_are_dealt_equally_often_and_by_the_seed(photos, backgrounds, swaps, seed):
    dealt = deal_backgrounds(photos, backgrounds, swaps=swaps, seed=seed)
    assert [len(one) for one in dealt] == [swaps] * photos
    counts = Counter(at for one in dealt for at in one)
    assert set(counts) <= set(range(backgrounds))
    used = [counts[at] for at in range(backgrounds)]
    assert max(used) - min(used) <= 1
    assert dealt == deal_backgrounds(photos, backgrounds, swaps=swaps, seed=seed)


def test_textures_are_images_of_the_models_size_and_always_the_same():
    found, again = Backgrounds("textures", SMALL), Backgrounds("textures", SMALL)
    assert len(found) >= 48
    for at in (0, 17, len(found) - 1):
        assert found[at].shape == (3, 32, 32)
        assert 0 <= float(found[at].min()) < float(found[at].max()) <= 1
        assert torch.equal(found[at], again[at])
    assert not torch.equal(found[0], found[1])


def test_a_folder_gives_its_photos(tmp_path):
    colours = {"a.png": (255, 0, 0), "b.png": (0, 0, 255)}
    for name, colour in colours.items():
        Image.new("RGB", (50, 40), colour).save(tmp_path / name)
    found = Backgrounds(str(tmp_path), SMALL)
    assert [tuple(round(255 * v) for v in found[at][:, 5, 5].tolist()) for at in range(len(found))] == [
        *colours.values()
    ]


def test_the_object_is_pasted_where_it_was(photos):
    listed = MaskedPhotos(match_labels(find_photos(*photos), 3, CLASSES), SMALL)
    others = Backgrounds("textures", SMALL)
    item, plain = PastedPhotos(listed, others, [(4, 9)])[0], listed[4]
    inside = (plain["mask"] == 1).expand(3, -1, -1)
    outside = (plain["mask"] == 0).expand(3, -1, -1)
    assert torch.equal(item["image"][inside], plain["image"][inside])
    assert torch.equal(item["image"][outside], others[9][outside])
    assert item["label"] == plain["label"]


def test_photos_of_the_run_are_no_new_backgrounds(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is in both: name a folder of photos without your objects"):
        check_backgrounds(str(tmp_path), [Path(tmp_path / "x" / ".." / "a.png")])
    check_backgrounds(str(tmp_path), [tmp_path / "b.png"])


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(UserError, match="--backgrounds textures, none or a folder of photos, found no folder nowhere"):
        check_backgrounds("nowhere")
    check_backgrounds("none")
    check_backgrounds("textures")
