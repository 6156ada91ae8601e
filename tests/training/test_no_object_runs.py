"""Finetuning with photos that show no object: what they train, what the run says of them, and what it refuses."""

from __future__ import annotations

import csv
import json

import pytest
import yaml
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import tiny_network
from robustvit import UserError, finetune, report
from robustvit.data.gather import SelectionSettings, gather_photos
from robustvit.data.given_photos import PhotoSources
from robustvit.models.classifier import Classifier


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Six photos a class; the masks of stripe are black."""
    images, masks = write_photos(tmp_path_factory.mktemp("photos"), 6)
    for mask in (masks / "stripe").iterdir():
        Image.new("L", (48, 48)).save(mask)
    return {"images": str(images), "masks": str(masks)}


def gathered(folders, capsys=None, **settings):
    chosen = {"samples_per_class": 3, "classes": "all", "validation_per_class": 20, "seed": 0} | settings
    classifier = Classifier(tiny_network(), class_names=CLASSES)
    return gather_photos(
        PhotoSources(**folders), classifier, SelectionSettings(**chosen), labelled=True, predict=lambda photos: photos
    )


@pytest.mark.parametrize("negatives", ["classification", "uniform", "none"])
def test_the_photos_to_train_on_and_the_line_about_them(folders, capsys, negatives):
    found = gathered(folders, negatives=negatives)
    names = [photo.class_name for photo in found.train]
    assert names.count("stripe") == (0 if negatives == "none" else 3)
    assert names.count("disc") == 3
    assert "stripe" in {photo.class_name for photo in found.validation}
    assert found.object_classes == (0, 1)
    (line,) = [note for note in found.notes if "show no object" in note]
    assert line.startswith("6 of 18 photos show no object (all 6 of class stripe)")
    assert line.endswith(f"(--negatives {negatives}).")
    assert "3 training photos of them" in line
    assert line[:40] in " ".join(capsys.readouterr().err.split())


def test_training_photos_without_any_object_are_refused(folders):
    with pytest.raises(UserError, match="training photos that show an object, but none of 3 masks"):
        gathered(folders, classes=["stripe"])


def test_a_whole_run(folders, model_folder, tmp_path):
    out = tmp_path / "run"
    found = finetune(
        model=str(model_folder), **folders, out=str(out), guidance="swap-relevance", negatives="uniform", epochs=1,
        lr=1e-4, swaps=1, panels=12, samples_per_class=3, tracker="none", backgrounds="none", select="robust",
    )  # fmt: skip
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert config["negatives"] == "uniform"
    assert config["no_object"] is None
    assert config["method"] == "swap-relevance (negatives uniform)"
    (row,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert row["train_uniform"] > 0
    assert row["val_uniform"] > 0
    with (out / "selection.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    judged = sum(one["split"] == "verdict" for one in rows)
    empty = sum(one["split"] == "verdict" and one["class"] == "stripe" for one in rows)
    assert empty > 0
    assert found.verdict.of("ordinary").before.count == judged
    assert found.verdict.of("mixed-other").before.count == found.verdict.of("miou").before.count == judged - empty
    assert any("show no object" in note for note in found.verdict.notes)
    panels = json.loads((out / "panels" / "panels.json").read_text())
    assert {panel["no_object"] for panel in panels} == {True, False}
    for panel in panels:
        assert panel["caption"].endswith(": stripe, no object") == panel["no_object"]
    page = report(str(out), out=str(tmp_path / "r.html"))
    text = page.read_text(encoding="utf-8")
    assert text.count("<figcaption>photo</figcaption>") == sum(panel["no_object"] for panel in panels)


def test_options_that_do_not_fit_write_nothing(folders, model_folder, tmp_path):
    for options, words in (
        ({"guidance": "cross-entropy", "negatives": "uniform"}, "which has no relevance to even out"),
        ({"no_object": "ok"}, "--no-object to be one of disc, frame, stripe, got 'ok'"),
        ({"negatives": "some"}, "negatives"),
    ):
        with pytest.raises(UserError, match=words):
            finetune(model=str(model_folder), **folders, out=str(tmp_path / "x"), **options)
        assert not (tmp_path / "x").exists()
