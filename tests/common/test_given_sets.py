"""Sets of the library datasets as photos of a command, from Python."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import CLASSES, draw_photo
from helpers.small_models import tiny_network
from robustvit import UserError, evaluate, finetune
from robustvit.common.given_sets import is_given_set, name_given_set

datasets = pytest.importorskip("datasets")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    drawn = [(*draw_photo(rng, label), label) for label in (0, 1, 2) * 4]
    features = datasets.Features(
        {"image": datasets.Image(), "mask": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    rows = [{"image": photo, "mask": mask, "label": label} for photo, mask, label in drawn]
    return datasets.Dataset.from_list(rows, features=features)


def test_a_set_is_measured_as_its_folder_is(given, cache, tmp_path):
    given.save_to_disk(tmp_path / "folder")
    found = evaluate(model=tiny_network(3), images=given, swaps=1)
    same = evaluate(model=tiny_network(3), images=f"hf:{tmp_path / 'folder'}", swaps=1)
    assert len(found.photos) == 12
    assert found.measures == same.measures
    assert "mixed-other" in found.measures


def test_the_same_rows_have_the_same_name_in_every_call(given, cache):
    name = name_given_set(given, "images")
    assert name == name_given_set(given, "images") == name_given_set(given.to_iterable_dataset(), "images")
    assert name != name_given_set(given.select(range(6)), "images")
    assert len(list((cache / "sets").iterdir())) == 2  # nothing temporary is left


def test_a_run_on_a_set_can_be_resumed_with_it(given, cache, tmp_path):
    options = {"model": tiny_network(3), "images": given, "epochs": 1, "swaps": 1, "panels": 0, "samples_per_class": 2,
               "out": str(tmp_path / "run")}  # fmt: skip
    assert finetune(**options).verdict == finetune(**options, resume=True).verdict


def test_what_is_not_one_set_is_refused(given, cache):
    with pytest.raises(UserError, match="got the parts train, test: give one of them"):
        evaluate(model=tiny_network(3), images=datasets.DatasetDict({"train": given, "test": given}))
    with pytest.raises(UserError, match="it has no rows"):
        evaluate(model=tiny_network(3), images=given.select([]))
    assert not is_given_set("photos")
    assert not is_given_set([Image.new("RGB", (2, 2))])
