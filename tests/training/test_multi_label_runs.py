"""Multi-label models from a list of photos to the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos_of_several
from helpers.small_models import tiny_network
from robustvit import UserError, classes, evaluate, faithfulness, finetune, load_model, report
from robustvit.evaluation.photo_measures import read_measures
from robustvit.models.save import save_model

FAST = {"epochs": 1, "lr": 3e-4, "swaps": 1, "panels": 1, "samples_per_class": 4}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of one or two of three shapes, a mask for each, and a list in columns of 0 and 1."""
    listed, masks = write_photos_of_several(tmp_path_factory.mktemp("several"), 24)
    return {"images": str(listed), "masks": str(masks)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = load_model(tiny_network(3), head="multi-label", class_names=list(CLASSES))
    return str(save_model(made, tmp_path_factory.mktemp("model") / "several"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos, model):
    out = tmp_path_factory.mktemp("run") / "run"
    return out, finetune(model=model, out=str(out), recipe=None, **photos, **FAST)


def test_a_run_measures_all_labels_and_can_be_loaded_and_resumed(run, photos, model):
    out, found = run
    assert load_model(out).head_kind == "multi-label"
    measured = read_measures(out / "after.json")
    assert all(set(one.scores) == {0, 1, 2} and one.labels is not None for one in measured)
    assert any(len(one.labels) == 2 for one in measured)
    assert any(one.swapped for one in measured)
    for one in measured:
        for swap in one.swapped:
            if swap.kind == "mixed-other":
                assert not set(one.labels) & set(measured[swap.donor].labels)
        assert ("energy" in one.values) == bool(one.labels)
    assert finetune(model=model, out=str(out), resume=True, recipe=None, **photos, **FAST).verdict == found.verdict
    rows = list(csv.DictReader((out / "selection.csv").open()))
    assert any(" " in row["labels"] for row in rows)


def test_a_run_is_judged_by_mean_average_precision(run):
    verdict = run[1].verdict
    assert verdict.of("average-precision/mixed-other") is not None
    assert verdict.of("average-precision/ordinary") is not None
    assert "average precision" in verdict.sentence


def test_a_run_is_evaluated_and_reported(run, photos, tmp_path):
    found = evaluate(model=str(run[0]), baseline="original", swaps=1, include_trained=True, **photos)
    assert found.verdict is not None
    assert "average precision" in str(found)
    page = tmp_path / "report.html"
    report(str(run[0]), out=str(page))
    assert "average precision" in page.read_text()


@pytest.mark.parametrize("guidance", ["cross-entropy", "energy", "swap-relevance", "swap-augmentation"])
def test_methods_for_several_labels_train(guidance, photos, model, tmp_path):
    finetune(model=model, out=str(tmp_path / "run"), guidance=guidance, **photos, **FAST | {"panels": 0})
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["train_loss"] is not None


@pytest.mark.parametrize("guidance", ["dfr", "last-layer", "rrr", "gradmask"])
def test_methods_for_one_class_are_refused_by_name(guidance, photos, model, tmp_path):
    settings = {name: value for name, value in FAST.items() if name not in ("epochs", "lr")}
    with pytest.raises(UserError, match="not a multi-label model"):
        finetune(model=model, out=str(tmp_path / "run"), guidance=guidance, **photos, **settings)
    assert not (tmp_path / "run").exists()


def test_classes_of_several_labels_are_compared_by_recall_and_average_precision(run, photos, model, tmp_path):
    out = tmp_path / "classes.html"
    found = classes(model=str(run[0]), baseline=model, out=str(out), images=photos["images"], include_trained=True)
    record = json.loads(found.record.read_text())
    shown = [line.split(",") for line in Path(photos["images"]).read_text().splitlines()[1:]]
    assert {row["name"]: row["images"] for row in record["classes"]} == {
        name: sum(int(row[1 + at]) for row in shown) for at, name in enumerate(CLASSES)
    }
    measured = evaluate(model=str(run[0]), baseline=model, swaps=0, include_trained=True, images=photos["images"])
    of_class = {one.name: one for one in measured.by_class.classes}
    for row in record["classes"]:
        assert row["after"]["mean"] == pytest.approx(of_class[row["name"]].recall.mean)
        assert row["difference"]["mean"] == pytest.approx(of_class[row["name"]].change.mean)
        after = row["average_precision"]["after"]["mean"]
        assert after == pytest.approx(of_class[row["name"]].average_precision.mean)
        change = row["average_precision"]["difference"]
        assert change["mean"] == pytest.approx(after - row["average_precision"]["before"]["mean"])
        assert change["low"] <= change["mean"] <= change["high"]
        assert change["mean"] == pytest.approx(of_class[row["name"]].average_precision_change.mean)
    assert "Recall changed" in found.sentence or "Nothing changed" in found.sentence
    assert "Average precision of every class" in out.read_text()
    assert f"{sum(row['images'] for row in record['classes'])} labels, 3 classes" in str(found)


def test_what_does_not_take_several_labels_says_so(photos, model):
    with pytest.raises(UserError, match="several labels a photo"):
        faithfulness(model=model, images=photos["images"])
    softmax = load_model(tiny_network(3), class_names=list(CLASSES))
    with pytest.raises(UserError, match=r"multi-label model \(--head\)"):
        evaluate(model=softmax, **photos)


def test_one_mask_for_all_guides_every_class_of_a_photo(photos, model, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for place in Path(photos["masks"]).rglob("*.png"):
        whole = np.array(Image.open(place)) | (
            np.array(Image.open(flat / place.name)) if (flat / place.name).is_file() else 0
        )
        Image.fromarray(whole).save(flat / place.name)
    found = finetune(
        model=model, images=photos["images"], masks=str(flat), out=str(tmp_path / "run"), **FAST | {"panels": 0}
    )
    assert found.verdict.of("energy") is not None
