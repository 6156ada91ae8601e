"""Runs that know groups: worst-group tables, each way to train with groups, and a group that is left out."""

from __future__ import annotations

import csv
import json

import pytest

from helpers.grouped_photos import list_sites, write_sites
from robustvit import UserError, evaluate, finetune, report
from robustvit.cli import main as cli
from robustvit.evaluation.group_report import read_groups
from robustvit.training.mistakes import repeat_mistakes

FAST = {
    "epochs": 1, "lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 6, "guidance": "cross-entropy",
    "backgrounds": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    place = tmp_path_factory.mktemp("sites")
    write_sites(place, {"north": 10, "south": 6})
    return list_sites(place)


def run(model_folder, sites, out, **options):
    return finetune(model=f"local-dir:{model_folder}", images=str(sites), out=str(out), **FAST | options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_folder, sites):
    out = tmp_path_factory.mktemp("runs") / "dro"
    return out, run(model_folder, sites, out, group_method="dro", select="worst-group", epochs=2)


def test_a_run_measures_every_group_and_records_it(finished, sites):
    out, found = finished
    raw = json.loads((out / "groups.json").read_text())
    assert raw["training"] == {"north": 30, "south": 18}
    assert {row["group"] for row in raw["rows"]} == {"north", "south"}
    assert read_groups(raw) == found.groups
    worst = min(row.measures["ordinary"].mean for row in found.groups.rows)
    assert found.groups.after.worst.mean == worst
    shares = [row.training for row in found.groups.rows]
    means = [row.measures["ordinary"].mean for row in found.groups.rows]
    expected = sum(s * m for s, m in zip(shares, means, strict=True)) / sum(shares)
    assert found.groups.after.weighted.mean == pytest.approx(expected)
    assert "worst group" in str(found)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["val_worst_group"] <= 1 for row in rows)
    with (out / "selection.csv").open() as file:
        assert {row["group"] for row in csv.DictReader(file)} == {"north", "south"}


def test_the_report_shows_the_groups(finished, tmp_path):
    page = report(str(finished[0]), out=str(tmp_path / "report.html")).read_text()
    assert "<h2>By group</h2>" in page
    assert "worst group" in page
    assert "weighted by the training set" in page
    assert page.count("<svg") >= 2


def test_evaluate_weighs_groups_by_the_run_and_draws_them(finished, sites, tmp_path):
    other = tmp_path / "other"
    write_sites(other, {"north": 6, "south": 6}, seed=5)
    out = tmp_path / "measures.json"
    found = evaluate(model=str(finished[0]), images=str(list_sites(other)), baseline="original", swaps=0, out=str(out))
    assert [row.training for row in sorted(found.groups.rows, key=lambda row: row.group)] == [30, 18]
    assert found.groups.before is not None
    assert "worst" in found.groups.changes
    assert json.loads(out.read_text())["groups"]["after"]["worst_group"] == found.groups.after.worst_group
    assert {path.name for path in tmp_path.glob("*-groups.*")} == {"measures-groups.png", "measures-groups.svg"}
    assert "by group" in str(found)


@pytest.mark.parametrize("method", ["sample", "reweight"])
def test_groups_change_what_is_trained(tmp_path, model_folder, sites, method):
    from safetensors.torch import load_file

    run(model_folder, sites, tmp_path / "with", group_method=method)
    run(model_folder, sites, tmp_path / "without")
    weights = [load_file(tmp_path / name / "last" / "model.safetensors") for name in ("with", "without")]
    assert any(not (weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_groups_and_relevance_guidance_train_together(tmp_path, model_folder, sites):
    found = run(model_folder, sites, tmp_path / "both", guidance="swap-relevance", group_method="dro")
    assert found.groups is not None


def test_a_resumed_run_ends_with_the_same_weights_of_groups(tmp_path, model_folder, sites, finished):
    import torch

    out = tmp_path / "resumed"
    whole = {"group_method": "dro", "select": "worst-group"}
    run(model_folder, sites, out, epochs=1, **whole)
    run(model_folder, sites, out, epochs=2, resume=True, **whole)
    states = [torch.load(place / "state.pt", weights_only=True) for place in (out, finished[0])]
    assert states[0]["weighting"] == states[1]["weighting"]
    assert states[0]["weighting"]["q"] != [0.5, 0.5]
    assert all(torch.equal(states[0]["model"][name], states[1]["model"][name]) for name in states[0]["model"])


def test_photos_without_masks_train_with_groups_where_no_mask_is_used(tmp_path, model_folder, sites):
    rows = [row.split(",") for row in sites.read_text().splitlines()]
    path = sites.with_name("no-masks.csv")
    path.write_text("\n".join(",".join([row[0], *row[2:]]) for row in rows) + "\n")
    found = run(model_folder, path, tmp_path / "without", group_method="reweight")
    assert found.groups is not None
    assert found.verdict.of("mixed-other") is None
    with pytest.raises(UserError, match="expected masks for the photos"):
        run(model_folder, path, tmp_path / "never", group_method="reweight", guidance="swap-relevance")


def test_jtt_finds_mistakes_and_repeats_them(tmp_path, model_folder, sites):
    out = tmp_path / "jtt"
    found = run(model_folder, sites, out, group_method="jtt", jtt_epochs=1, jtt_times=3)
    raw = json.loads((out / "mistakes.json").read_text())
    assert raw["of"] == 18
    assert raw["epochs"] == 1
    assert len(raw["photos"]) == len(raw["files"])
    assert any(note.startswith("Just Train Twice: after 1 epoch a first model got") for note in found.verdict.notes)
    assert not (out / "first-model").exists()


def test_mistakes_are_seen_that_many_times():
    assert repeat_mistakes(["a", "b", "c"], [1], 3) == ["a", "b", "c", "b", "b"]
    assert repeat_mistakes(["a", "b"], [], 20) == ["a", "b"]


def test_a_group_that_is_left_out_alone_judges(tmp_path, model_folder, sites):
    found = run(model_folder, sites, tmp_path / "out", leave_out="south")
    with (tmp_path / "out" / "selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["group"] for row in rows if row["split"] in ("train", "validation")} == {"north"}
    assert {row["group"] for row in rows if row["split"] == "verdict"} == {"south"}
    assert sum(row["split"] == "verdict" for row in rows) == 18
    assert any("Left out: south" in note for note in found.verdict.notes)


@pytest.mark.parametrize("guidance", ["last-layer", "dfr"])
def test_the_last_layer_is_trained_on_photos_balanced_by_group(tmp_path, model_folder, sites, guidance):
    options = {"guidance": guidance, "balance": "group"} | ({"epochs": None, "lr": None} if guidance == "dfr" else {})
    found = run(model_folder, sites, tmp_path / guidance, validation_per_class=16, **options)
    assert found.verdict.guidance == guidance
    assert found.groups is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group_method": "dro", "guidance": "robustvit"}, "--classification label"),
        ({"group_step": 0.1}, "--group-step with --group-method dro only"),
        ({"jtt_times": 3, "group_method": "dro"}, "--jtt-times with --group-method jtt only"),
        ({"group_method": "dro", "guidance": "dfr", "epochs": None, "lr": None}, "--balance group"),
        ({"leave_out": "east"}, "one of north, south"),
    ],
)
def test_options_on_groups_that_cannot_work_are_refused(tmp_path, model_folder, sites, options, said):
    with pytest.raises(UserError, match=said):
        run(model_folder, sites, tmp_path / "never", **options)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("options", [{"group_method": "sample"}, {"select": "worst-group"}, {"leave_out": "x"}])
def test_photos_without_groups_are_refused_where_groups_are_needed(tmp_path, model_folder, photos, options):
    images, masks = photos
    with pytest.raises(UserError, match="--group-by"):
        run(model_folder, images, tmp_path / "never", masks=str(masks), **options)
    assert not (tmp_path / "never").exists()


def test_folders_by_site_are_groups_on_the_command_line(sites, model_folder, capsys):
    images = str(sites.parent / "images")
    code = cli.main(
        ["evaluate", "--model", f"local-dir:{model_folder}", "--images", images, "--group-by", "{site}/{class}",
         "--swaps", "0", "--json"]
    )  # fmt: skip
    assert code == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert {row["group"]: row["photos"] for row in groups["rows"]} == {"north": 30, "south": 18}
    assert groups["after"]["worst_group"] == groups["rows"][0]["group"]
