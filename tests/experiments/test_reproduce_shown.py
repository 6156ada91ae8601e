"""What a reproduction shows once its runs are evaluated, beside the results of earlier calls."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.reproductions import write_imagenet_s
from robustvit.common.errors import UserError
from robustvit.common.intervals import Interval
from robustvit.data.manifest import MaskRecord, write_manifest
from robustvit.evaluation.records.described import RunSetting, setting_of
from robustvit.evaluation.records.record import Record, write_record
from robustvit.evaluation.records.reported import REPORTED, reported_table
from robustvit.evaluation.records.table import table
from robustvit.experiments.paper.evaluating import Evaluator
from robustvit.experiments.paper.imagenet_s import find_imagenet_s
from robustvit.experiments.paper.plan import (
    ITEMS,
    TINY,
    Run,
    make_plan,
)
from robustvit.experiments.paper.show import show
from robustvit.experiments.paper.show_plots import reported_change
from robustvit.experiments.paper.training import _list_found_masks, _make_masks_folder
from robustvit.experiments.paper.workspace import Workspace
from robustvit.masks.make import MadeMasks


def write_results(workspace: Workspace, run: Run, sets, share: float = 0.5) -> None:
    """Records of a model that was evaluated, without a model."""
    evaluator = Evaluator(workspace, make_plan("table1", TINY, models=["vit-b"], masks="human"))
    weights = hashlib.sha256(run.name.encode()).hexdigest()
    workspace.out.mkdir(exist_ok=True)
    workspace.remember_weights(run, weights)
    model = evaluator._describe_run(run) | {"source": workspace.name_of(run), "weights": weights, "classes": 1000}
    number = Interval(share, share - 0.1, share + 0.1, 20)
    measures = ("top1", "top5", "pixel_accuracy", "miou", "map")
    names = [*measures, *(f"{part}_{name}" for part in ("seen", "unseen") for name in ("top1", "top5"))]
    for name in sets:
        record = Record(
            name, "paper", model, {}, 20, 20, True, [], dict.fromkeys(names, number), {}, {}, {}, {}, [], ""
        )
        write_record(record, workspace.records)


def shown(workspace: Workspace, what: str, models: list[str], masks: str = "human") -> list[Path]:
    """What a call shows once its runs are evaluated."""
    plan = make_plan(what, TINY, models=models, masks=masks)
    for run in plan.runs:
        write_results(workspace, run, plan.sets)
    return show(Evaluator(workspace, plan))


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "out", tmp_path / "out" / "data", TINY)


@pytest.mark.parametrize("what", [item for item in ITEMS if item in REPORTED])
def test_a_table_keeps_the_models_of_earlier_calls(workspace, what):
    first, second = list(dict.fromkeys(row.model for row in reported_table(what).rows))[:2]
    (before, *_) = shown(workspace, what, [first])
    old = [line for line in before.read_text(encoding="utf-8").splitlines() if "measured, paper" in line]
    (after, *_) = shown(workspace, what, [second])
    lines = after.read_text(encoding="utf-8").splitlines()
    assert old
    assert [line for line in old if line not in lines] == []
    assert any(f"stand-in for {second}" in line for line in lines)
    assert shown(workspace, what, [first])[0].read_text(encoding="utf-8").splitlines() == lines, "whichever came last"


@pytest.mark.parametrize("what", ["table1", "table2"])
def test_annotated_and_tokencut_rows_stand_side_by_side(workspace, what):
    shown(workspace, what, ["vit-b"])
    text = shown(workspace, what, ["vit-b"], "tokencut")[0].read_text(encoding="utf-8")
    for method in ("gradmask", "rrr", "robustvit", "robustvit-tokencut"):
        assert f"vit-b-{method}-seed0-5x3" in text
    assert shown(workspace, what, ["vit-b"])[0].read_text(encoding="utf-8") == text


def test_tables_leave_out_what_a_figure_varies(workspace):
    """Figure 7's runs on other numbers of photos and classes are no rows of tables, nor are the seeds of table 8."""
    shown(workspace, "figure7", ["vit-b"])
    shown(workspace, "table8", ["vit-b"])
    for file in shown(workspace, "table1", ["vit-b"]):
        text = file.read_text(encoding="utf-8")
        assert "seed0-5x3" in text
        assert "5x1" not in text
        assert "3x3" not in text
        assert "seed1" not in text
    by_records = table("table1", records=str(workspace.records))
    assert "seed0-5x3" in by_records
    assert "5x1" not in by_records
    assert "results are recorded" in by_records
    assert "RobustViT, 1 photo of each of 5 classes" in table("all", records=str(workspace.records))


def test_records_of_older_versions_tell_their_setting_by_the_runs_name():
    usual = {"source": "out/runs/vit-b-robustvit-seed0-500x3"}
    assert setting_of(usual) == RunSetting(0, 500, 3, True)
    varied = setting_of({"source": "out/runs/vit-b-robustvit-seed2-300x3/best"})
    assert (varied.seed, varied.usual, str(varied)) == (2, False, "3 photos of each of 300 classes")
    assert setting_of({"source": "runs/mine"}) is None
    assert (
        setting_of({"source": "renamed", "setting": {"seed": 0, "classes": 5, "samples": 1, "usual": False}}).samples
        == 1
    )


def test_figure_4_averages_over_the_models_of_all_calls(workspace):
    shown(workspace, "figure4", ["vit-b"])
    one = make_plan("figure3", TINY, models=["deit-b"], masks="human")  # evaluated on three sets only: counts not yet
    for run in one.runs:
        write_results(workspace, run, one.sets)
    files = shown(workspace, "figure4", ["ar-b"])
    with files[-1].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["models"] for row in rows)) == ["vit-b ar-b", "vit-b", "ar-b"]
    assert float(rows[0]["reported"]) == pytest.approx(reported_change(["vit-b", "ar-b"], "imagenet-val", "seen"))


def test_panels_keep_the_models_of_earlier_calls(workspace, monkeypatch):
    def rows(evaluator, original, guided):
        picture = np.zeros((8, 8, 3))
        shown = {"set": "imagenet-val", "image": f"{original.card}.png", "class": "goose", "outcome": "same"}
        yield shown, [("input", picture), ("ours", picture)]

    monkeypatch.setattr("robustvit.experiments.paper.show_images._list_rows", rows)
    first, *_ = shown(workspace, "figure2", ["deit-b"])
    before = first.read_bytes()
    drawn = shown(workspace, "figure2", ["vit-b"])
    assert first.read_bytes() == before
    assert [one["model"] for one in json.loads(drawn[-1].read_text())] == ["vit-b", "deit-b"]
    monkeypatch.setattr("robustvit.experiments.paper.show_images._list_rows", None)
    assert shown(workspace, "figure2", ["deit-b"])[0] == first, "drawn already"


def test_masks_of_older_versions_are_not_taken_for_the_authors(workspace):
    """They were cut with ViT-S/16; whoever has them keeps them, and the other items of the folder."""
    plan = make_plan("table2", TINY, models=["vit-b"], masks="tokencut")
    shown(workspace, "table2", ["vit-b"], "tokencut")
    workspace.found_masks.mkdir()
    (workspace.out / "reproduction.yaml").write_text("scale: tiny\n")
    (workspace.found_masks / "settings.json").write_text('{"method": "tokencut", "side": "seed"}')
    with pytest.raises(UserError, match="masks of an older version, which differ from those of the authors"):
        workspace.check(plan)
    human = make_plan("table2", TINY, models=["vit-b"], masks="human")
    workspace.check(human)
    assert "vit-b-robustvit-tokencut" not in shown(workspace, "table2", ["vit-b"])[0].read_text(encoding="utf-8")
    (workspace.found_masks / "settings.json").write_text('{"method": "tokencut", "protocol": "paper"}')
    workspace.check(plan)


def test_skipped_photos_are_counted(workspace, monkeypatch, tmp_path):
    """A class whose photos were skipped gives fewer, and that is said."""
    root = find_imagenet_s(write_imagenet_s(tmp_path / "s", ["n01440764", "n01443537"]))
    workspace.imagenet_s = root
    said = []

    def made(photos, *, out, protocol, **_):
        assert protocol == "paper"
        photos = sorted(Path(photos).glob("*/*.JPEG"))
        records = []
        for number, photo in enumerate(photos):
            skipped = number in (0, 1)
            mask = None if skipped else Path(out) / photo.parent.name / f"{photo.stem}.png"
            verdict, reason = ("none", f"fewer than 520 pixels ({number})") if skipped else ("good", "")
            records.append(MaskRecord(photo, mask, photo.parent.name, verdict, 0.5, reason, "tokencut", {}))
        Path(out).mkdir(parents=True)
        write_manifest(records, Path(out) / "manifest.csv")
        return MadeMasks(Path(out), Path(out) / "manifest.csv", records, [], 0, len(records), 1.0)

    monkeypatch.setattr("robustvit.masks.make.make_masks", made)
    monkeypatch.setattr("robustvit.experiments.paper.training.warn", said.append)
    (workspace.out / "stand-ins" / "vit-b").mkdir(parents=True)
    run = Run("vit-b", "robustvit-tokencut", 0, 3, 1)
    lists = _list_found_masks(workspace, run, _make_masks_folder(workspace))
    assert [photo.name for photo, _, _ in lists.train] == ["n01440764_2.JPEG", "n01440764_3.JPEG"]
    assert len(lists.validation) == 1
    assert said[0].startswith("TokenCut: 2 photos skipped, fewer than 520 pixels; ")
    assert said[1] == f"{run.name}: 1 photo fewer than 4: their classes have no more masks"
