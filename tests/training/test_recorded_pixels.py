"""A run on photos of 12 bits with a model of one channel: the scale is chosen, said, recorded, and used ever after."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import tiny_network
from robustvit import UserError, audit, evaluate, explain, export, finetune, load_model
from robustvit.cli.main import main
from robustvit.common.range_option import Scale
from robustvit.common.verdict_files import read_verdict
from robustvit.data.pixels import Pixels
from robustvit.data.read_photos import read_photo
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

FAST = {"epochs": 1, "lr": 3e-4, "swaps": 1, "panels": 1, "samples_per_class": 3, "tracker": "none"}
NOTE = "18 photos of more than 8 bits: 0 is black and 4095 white (--range 12)."


def as_12_bits(folder, top):
    """Turn drawn photos into grey ones of 12 bits in 16; the first pixel of each has the number ``top``."""
    for path in folder.rglob("*.png"):
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        values[0, 0] = top
        Image.fromarray(values).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("deep")
    model = save_model(Classifier(tiny_network(in_chans=1), class_names=CLASSES), place / "model")
    images, masks = write_photos(place, 6)
    as_12_bits(images, 4095)
    found = finetune(model=str(model), images=str(images), masks=str(masks), out=str(place / "run"), **FAST)
    return place, found


@pytest.fixture
def dim(tmp_path):
    """Photos of the same camera, none of which says by itself how many bits it has."""
    images, masks = write_photos(tmp_path / "dim", 2, seed=1)
    as_12_bits(images, 3000)
    return images, masks


def test_the_run_says_and_records_the_scale(trained):
    place, found = trained
    assert NOTE in " ".join(found.verdict.notes)
    assert NOTE in " ".join(read_verdict(place / "run" / "verdict.json").notes)
    config = yaml.safe_load((place / "run" / "config.yaml").read_text())
    assert (config["range"], config["pixels"]) == (None, {"range": "12"})
    assert load_model(place / "run").pixels.said == {"range": "12"}
    assert load_model(place / "model").pixels.said == {}
    assert load_model(place / "run").preprocessing.channels == 1


def test_other_photos_of_the_set_are_read_the_same_way(trained, dim, tmp_path, capsys):
    place, _ = trained
    images, masks = map(str, dim)
    with pytest.raises(UserError, match=r"up to 40\d\d|up to 3\d\d\d, .*say --range 12"):
        evaluate(model=str(place / "model"), images=images, masks=masks, swaps=1)
    out = tmp_path / "record.json"
    assert main(["evaluate", "--model", str(place / "run"), "--images", images, "--masks", masks, "--swaps", "1",
                 "--baseline", "original", "--out", str(out)]) == 0  # fmt: skip
    assert json.loads(out.read_text())["settings"]["range"] == "12"
    shown = explain([str(next(dim[0].rglob("*.png")))], model=str(place / "run"), out=str(tmp_path / "shown"))
    assert shown[0].picture.is_file()
    audit(model=str(place / "run"), images=images, masks=masks, out=str(tmp_path / "audit.html"), swaps=1)
    capsys.readouterr()
    evaluate(model=str(place / "run"), images=images, masks=masks, swaps=1, range="16")
    assert "the model was finetuned with --range 12: with --range 16 it sees other photos" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_app_reads_photos_as_the_model_was_trained(trained, dim):
    prediction = pytest.importorskip("robustvit.webapp.prediction")
    path = next(dim[0].rglob("*.png"))
    seen = prediction.Explorer({"run": load_model(trained[0] / "run")}).read(path).photo
    assert np.array_equal(np.asarray(seen), np.asarray(read_photo(path, pixels=Pixels(Scale.of_bits(12)))))


def test_an_exported_model_keeps_the_scale(trained, tmp_path):
    export(str(trained[0] / "run"), out=str(tmp_path / "shared"))
    assert load_model(tmp_path / "shared").pixels.said == {"range": "12"}


def test_a_run_is_resumed_on_its_own_scale(trained, tmp_path):
    place, found = trained
    shutil.copytree(place / "run", tmp_path / "run")
    options = {"images": str(place / "images"), "masks": str(place / "masks"), "out": str(tmp_path / "run")}
    assert finetune(model=str(place / "model"), resume=True, **options, **FAST).verdict.notes == found.verdict.notes
    with pytest.raises(UserError, match="was started with range=None, now it is '16'"):
        finetune(model=str(place / "model"), resume=True, range=16, **options, **FAST)


@pytest.mark.parametrize("wrong", [{"range": "x"}, {"bits": 3}, [1], {"range": ["a"]}])
def test_a_broken_record_of_the_scale_is_refused(trained, tmp_path, wrong):
    shutil.copytree(trained[0] / "run" / "best", tmp_path / "best")
    file = tmp_path / "best" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pixels": wrong}))
    with pytest.raises(UserError, match=r"config\.json says pixels .*fix or remove that entry"):
        load_model(tmp_path / "best")
