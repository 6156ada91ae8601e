"""Audits of models of several labels a photo, and audits that another metric than accuracy decides."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.drawn_photos import CLASSES, write_photos_of_several
from helpers.grouped_photos import list_sites, write_sites
from helpers.small_models import tiny_network
from robustvit import UserError, audit, load_model
from robustvit.audits.by_metric import CHANCES, join_variants, metric_beyond, metric_changes, metric_means
from robustvit.audits.summary import beyond_chances
from robustvit.evaluation.measured_intervals import predictions_of
from robustvit.evaluation.metrics import METRICS, Predictions
from robustvit.models.save import save_model

FAST = {"swaps": 1, "budget": "quick", "worst": 2}


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Photos of one or two of three shapes, with a mask for each, and a model of random weights."""
    folder = tmp_path_factory.mktemp("several")
    listed, masks = write_photos_of_several(folder, 18)
    made = load_model(tiny_network(3), head="multi-label", class_names=list(CLASSES))
    nn.init.normal_(made.network.head.weight, std=2.0, generator=torch.Generator().manual_seed(1))
    model = save_model(made, folder / "model")
    return {"model": str(model), "images": str(listed), "masks": str(masks)}


@pytest.fixture(scope="module")
def audited(several, tmp_path_factory):
    page = tmp_path_factory.mktemp("page") / "look.html"
    return audit(**several, baseline=several["model"], out=str(page), **FAST)


def test_several_labels_are_audited_by_mean_average_precision(audited):
    record = json.loads(audited.record.read_text())
    assert record["metric"] == "average-precision"
    rows = record["measures"]
    for kind in ("ordinary", "mixed-same", "mixed-other", "cost", "only-bg-t"):
        row = rows[f"average-precision/{kind}"]
        assert row["model"]["low"] <= row["model"]["mean"] <= row["model"]["high"]
        assert row["difference"]["mean"] == 0  # the baseline is the same model
    assert record["chance"]["average-precision/mixed-same"]["model"]["chance"] > 0
    assert "Not measured" not in record["verdict"]["model"]["sentence"]
    assert set(record["classes"]) == set(CLASSES)
    assert any("+" in photo["class"] for photo in record["photos"])
    assert any("one class per photo" in note for note in record["notes"])
    page = audited.page.read_text()
    assert "which decides" in page
    assert "Average precision of each class" in page


def test_the_average_precision_of_each_class_is_that_of_scikit_learn(audited):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    found = audited.found.model
    for label, row in found.by_label.items():
        for kind in ("ordinary", "mixed-other", "only-bg-t"):
            one = predictions_of(join_variants(found.photos), kind, only=[label])
            slow = sklearn_metrics.average_precision_score(
                one.targets[:, 0], one.scores[:, 0], sample_weight=one.weight
            )
            assert row[kind].mean == pytest.approx(slow, abs=1e-12)
    means = [row["mixed-other"].mean for row in found.by_label.values()]
    assert found.by_metric["mixed-other"].mean == pytest.approx(np.mean(means), abs=1e-12)


def test_the_cost_is_the_difference_of_both_kinds_of_background_on_the_same_photos(audited):
    photos = audited.found.model.photos
    both = [one for one in photos if {"mixed-same", "mixed-other"} <= {s.kind for s in one.plain.swapped}]
    found = metric_means(both, "average-precision")
    assert found["cost"].mean == pytest.approx(found["mixed-same"].mean - found["mixed-other"].mean, abs=1e-12)
    assert found["cost"].count == len(both)
    assert metric_changes(both, both, "average-precision")["cost"].difference.mean == 0


def test_a_background_takes_over_an_answer_of_several_labels_if_one_of_its_own_is_added(audited):
    for photo in audited.found.model.photos:
        for one in photo.tried:
            assert not set(one.others) & set(photo.plain.labels)
            taken = [at for at in one.others if one.answer.scores[at] > 0.5 and photo.plain.scores[at] <= 0.5]
            assert photo.taken(one) == taken
            assert one.answer.right == pytest.approx(min(one.answer.scores[at] for at in photo.plain.labels))


def test_what_is_not_measured_of_several_labels_is_refused_by_name(several, tmp_path):
    out = str(tmp_path / "look.html")
    for option in ({"insert": several["images"]}, {"shifted": 4}, {"groups_out": str(tmp_path / "g.csv")}):
        with pytest.raises(UserError, match="expected"):
            audit(**several, out=out, **option)
    unmasked = {name: value for name, value in several.items() if name != "masks"}
    with pytest.raises(UserError, match="TokenCut marks one object per photo"):
        audit(**unmasked, out=out)
    assert not (tmp_path / "look.html").exists()
    found = audit(**unmasked, out=out, without_masks=True, **FAST)
    assert found.found.model.by_metric["ordinary"].mean > 0


@pytest.mark.parametrize("metric", ["balanced-accuracy", "macro-f1", "auroc", "average-precision", "worst-group"])
def test_the_verdict_of_an_audit_follows_the_metric(metric, tmp_path):
    write_sites(tmp_path, {"north": 2, "south": 3})
    found = audit(model=tiny_network(3), images=str(list_sites(tmp_path)), metric=metric,
                  out=str(tmp_path / "look.html"), **FAST)  # fmt: skip
    record = json.loads(found.record.read_text())
    assert record["summary"]["metric"] == metric
    row = record["measures"][f"{metric}/cost"]["model"]
    assert row["low"] <= row["mean"] <= row["high"]
    assert f"{metric}/ordinary" in record["summary"]["measures"]
    assert "which decides" in found.page.read_text()
    listed = {row["measure"]: row["value"] for row in found.frame_rows()}
    assert listed[f"{metric}/cost"].mean == row["mean"]


def test_a_change_of_the_cost_says_that_it_is_of_accuracy_where_the_worst_group_decides(tmp_path):
    write_sites(tmp_path, {"north": 6, "south": 6})
    found = audit(model=tiny_network(3), baseline=tiny_network(3), images=str(list_sites(tmp_path)),
                  metric="worst-group", out=str(tmp_path / "look.html"), **FAST)  # fmt: skip
    change = json.loads(found.record.read_text())["change"]
    assert "wrong background in accuracy over all photos" in change


def test_chance_is_what_the_same_answers_get_at_random(audited):
    photos = audited.found.model.photos
    rng = np.random.default_rng(0)
    one = predictions_of(join_variants(photos))
    orders = [rng.permutation(len(one.labels)) for _ in range(400)]
    for metric, tolerance in (("macro-f1", 0.02), ("auroc", 0.01), ("average-precision", 0.01)):
        drawn = np.mean([METRICS[metric].derive(replace(one, scores=one.scores[at])).value for at in orders])
        chance = metric_beyond(photos, metric, metric_means(photos, metric), beyond_chances(photos))["ordinary"].chance
        assert chance == pytest.approx(drawn, abs=tolerance)


@pytest.mark.parametrize("metric", ["balanced-accuracy", "macro-f1"])
def test_chance_of_one_class_a_photo_is_that_of_shuffled_answers(metric):
    rng = np.random.default_rng(0)
    labels, answers = rng.choice(3, 300, p=[0.6, 0.3, 0.1]), rng.integers(-1, 3, 300)
    drawn = np.mean([METRICS[metric].derive(Predictions(labels, rng.permutation(answers))).value for _ in range(400)])
    assert CHANCES[metric](Predictions(labels, answers)) == pytest.approx(drawn, abs=0.01)
