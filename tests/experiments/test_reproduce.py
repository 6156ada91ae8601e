"""Reproductions of the paper: mistakes, plans in a dry run, and calls that are killed or repeated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from helpers.reproductions import write_imagenet_s
from robustvit.cli.main import main
from robustvit.common.errors import UserError
from robustvit.experiments.paper.imagenet_s import find_imagenet_s
from robustvit.experiments.paper.outlook import Speed
from robustvit.experiments.paper.plan import (
    PAPER,
    SCALES,
    TINY,
    ReproductionScale,
    Run,
    make_plan,
)
from robustvit.experiments.paper.training import _make_masks_folder, train_runs
from robustvit.experiments.paper.workspace import Workspace
from robustvit.masks.make import MadeMasks


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tabel1"], "got 'tabel1': did you mean table1?"),
        (["table1"], "expected --root FOLDER with ImageNet-S"),
        (["table1", "--root", "nowhere"], "expected a folder of sets as --root, found none at nowhere"),
        (["table1", "--root", ".", "--models", "vit-x"], "got 'vit-x': did you mean vit-"),
        (["table4", "--root", ".", "--models", "vit-l"], "expected --models of table4 to be one of"),
        (["table1", "--root", "."], "timm no longer provides the weights of vit-l: give them with --checkpoint"),
        (["table1", "--root", ".", "--models", "vit-b"], "expected ImageNet-S below ."),
        (["table4", "--root", ".", "--masks", "tokencut"], "the paper shows table4 for annotated masks only"),
        (["table4", "--root", ".", "--scale", "tiny"], "--scale tiny draws its own scenes and takes no --root"),
        (["table4", "--scale", "large"], "expected --scale to be one of paper, tiny"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_missing_sets_are_named_before_anything_is_written(tmp_path, capsys, monkeypatch):
    root = write_imagenet_s(tmp_path / "root", ["n01440764", "n01443537", "n01484850"])
    small = ReproductionScale("paper", 2, 3, 3, 50)
    monkeypatch.setitem(SCALES, "paper", small)
    out = tmp_path / "out"
    assert main(["reproduce", "table2", "--root", str(root), "--out", str(out), "--models", "vit-b"]) == 2
    error = capsys.readouterr().err
    assert "3 sets missing: si-score/location (" in error
    assert "si-score/size" in error
    assert not out.exists()


def test_a_foreign_folder_is_refused(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["reproduce", "table4", "--scale", "tiny", "--out", str(tmp_path)]) == 2
    assert "was not written by robustvit reproduce" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_a_dry_run_says_what_is_missing_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("robustvit.experiments.paper.outlook.measure_speed", lambda model, run, warm: Speed(2.0, 0.1))
    monkeypatch.setattr(
        "robustvit.experiments.paper.outlook._build_architecture", lambda *_: torch.nn.Identity()
    )  # 8 s
    root = tmp_path / "root"
    root.mkdir()
    out = tmp_path / "out"
    command = ["reproduce", "table1", "--root", str(root), "--out", str(out), "--models", "vit-b,vit-l", "--dry-run"]
    assert main(command) == 0
    said = capsys.readouterr().out
    # 500 classes of 3 photos in steps of 8: 188 an epoch
    assert "vit-b-robustvit-seed0-500x3: 1,500 photos, 50 epochs, 9,400 steps, 414 photos" in said
    assert "MISSING: expected ImageNet-S below" in said
    assert "weights: MISSING for vit-l" in said
    assert "imagenet-a, 7,500 images: 0 of 6 models recorded" in said
    assert "github.com/hendrycks/natural-adv-examples" in said
    assert not out.exists()


def test_a_dry_run_counts_the_search_for_subsets(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("robustvit.experiments.paper.outlook.measure_speed", lambda model, run, warm: Speed(2.0, 0.1))
    monkeypatch.setattr("robustvit.experiments.paper.outlook._build_architecture", lambda *_: torch.nn.Identity())
    assert main(["reproduce", "appendix-a", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    # 5 photos, the own class and 5 others; 224 * 224 pixels by 100; three times 0.1 s for each of 503 passes
    assert "subsets: 30 searches of 502 steps, 1.3 h" in said
    assert "ImageNet-S" not in said, "nothing is finetuned"
    assert said.rstrip().endswith("about 1.3 h, without reading and writing files")


def test_masks_are_made_to_the_end_however_often_that_is_killed(tmp_path, monkeypatch):
    """A call that goes on writes the manifest of what there is first: it is no sign that all masks are made."""
    workspace = Workspace(tmp_path, tmp_path, ReproductionScale("paper", 1, 1, 1, 1))
    workspace.imagenet_s = find_imagenet_s(write_imagenet_s(tmp_path / "s", ["n01440764"]))
    calls = []

    def killed(photos, *, out, **options):
        calls.append(photos)
        Path(out).mkdir(exist_ok=True)
        (Path(out) / "manifest.csv").write_text("half of them")
        if len(calls) < 3:
            raise KeyboardInterrupt
        return MadeMasks(Path(out), Path(out) / "manifest.csv", [], [], 0, 0, 1.0)

    monkeypatch.setattr("robustvit.masks.make.make_masks", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            _make_masks_folder(workspace)
    for _ in range(2):
        assert _make_masks_folder(workspace) == tmp_path / "masks-tokencut"
    assert len(calls) == 3
    shutil.rmtree(tmp_path / "masks-tokencut")
    _make_masks_folder(workspace)
    assert len(calls) == 4, "whoever removes them wants them made again"


def test_other_weights_of_a_card_need_another_folder(tmp_path, monkeypatch):
    plan = make_plan("table3", PAPER, models=["vit-l"], masks="human")
    files = [tmp_path / "one.pth", tmp_path / "other.pth"]
    for file in files:
        file.write_text(file.name)
    one, other = (Workspace(tmp_path / "out", tmp_path, PAPER, str(file)) for file in files)
    one.check(plan)
    one.start(plan)
    one.check(plan)
    other.check(plan)  # nothing was made of the first: it may have been the wrong file
    one.remember_weights(plan.runs[0], "of one.pth")
    with pytest.raises(UserError, match="has results of other weights than"):
        other.check(plan)
    other.check(make_plan("table3", PAPER, models=["vit-b"], masks="human"))
    with pytest.raises(UserError, match="a file of weights as --checkpoint, got nowhere"):
        Workspace(tmp_path / "new", tmp_path, PAPER, "nowhere").check(plan)
    assert not (tmp_path / "new").exists()


def test_a_run_that_is_made_again_is_evaluated_again(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path, tmp_path, TINY)
    run, other = Run("vit-b", "robustvit", 0, 3, 5), Run("vit-b", "original", 0, 3, 5)
    workspace.remember_weights(run, "old")
    workspace.remember_weights(other, "kept")
    monkeypatch.setattr("robustvit.experiments.paper.training._write_lists", lambda *_: (tmp_path, tmp_path))
    monkeypatch.setattr("robustvit.experiments.paper.training.run_trial", lambda options, folder: "the disk is full")
    assert train_runs(workspace, [run])[1] == {run: "the disk is full"}
    assert workspace.known_weights() == {workspace.name_of(other): "kept"}, "no old numbers beside the failure"
    monkeypatch.setattr("robustvit.experiments.paper.training.run_trial", lambda options, folder: "")
    assert train_runs(workspace, [run, other]) == (1, {})
    assert workspace.known_weights() == {workspace.name_of(other): "kept"}
