"""Each item of the paper at tiny scale, end to end."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers.reproductions import PAPER_ITEMS, narrow_stand_in
from robustvit.cli.main import main
from robustvit.data.mask_files import read_mask
from robustvit.experiments.paper.evaluating import known_records
from robustvit.experiments.paper.imagenet_s import find_imagenet_s
from robustvit.experiments.paper.plan import (
    TINY,
    make_plan,
)
from robustvit.experiments.paper.tiny import STANDS_FOR, make_stand_in, write_tiny_sets
from robustvit.experiments.paper.workspace import Workspace
from robustvit.experiments.reproduce import reproduce


def test_stand_ins_answer_as_the_embedded_model_under_the_papers_normalisation():
    from importlib.resources import as_file, files

    from robustvit.models.load import load_model

    with as_file(files("robustvit.data.embedded") / "model") as folder:
        small = load_model(f"local-dir:{folder}")
    one, other = make_stand_in("vit-b"), make_stand_in("deit-b")
    assert one.preprocessing.normalized("paper").mean == (0.5, 0.5, 0.5)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    places = [index for index, _ in STANDS_FOR.values()]
    with torch.no_grad():
        said = one.network((images - 0.5) / 0.5)
        assert torch.allclose(said[:, places], small(images), atol=1e-3)
        assert set(said.argmax(1).tolist()) <= set(places)
    assert not torch.equal(one.network.head.bias, other.network.head.bias)


def test_tiny_sets_are_whole_or_not_there(tmp_path):
    pytest.importorskip("h5py")
    write_tiny_sets(tmp_path / "data")
    assert len(find_imagenet_s(tmp_path / "data").classes) == TINY.available
    assert os.listdir(tmp_path) == ["data"]


def state(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One folder for all items, which share their runs in it; removed at once, as it is large."""
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robustvit.experiments.paper.tiny.make_stand_in", narrow_stand_in)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_tiny_dry_run_writes_nothing(out):
    plan = reproduce("table4", scale="tiny", models="vit-b", out=str(out), dry_run=True).plan
    assert any("s a step of 8 photos" in line for line in plan)
    assert plan[-1].startswith("left to do: about")
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", PAPER_ITEMS)
def test_every_item_at_tiny_scale(what, out, capsys, monkeypatch):
    arguments = ["reproduce", what, "--scale", "tiny", "--models", "vit-b", "--out", str(out), "--device", "cpu"]
    assert main(arguments) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()[1:]]
    assert files
    assert all(path.is_file() for path in files)
    for path in files:
        if path.suffix in (".html", ".md", ".tex"):
            text = re.sub(r"<(svg|script|style).*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not re.search(r"\(\s*\)|\b(nan|None)\b", text), "an empty workspace"
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.convert("L").getextrema()[0] < picture.convert("L").getextrema()[1]
    before = state(out)
    monkeypatch.setattr("robustvit.explanation.subsets.subset.subset", None)  # takes hours on a CPU: not twice
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("0 runs finetuned, 0 results added")
    assert state(out) == before


@pytest.mark.slow
def test_subsets_of_other_weights_are_searched_anew(out, monkeypatch):
    panel = reproduce("appendix-a", scale="tiny", models="vit-b", out=str(out), device="cpu").files[0]
    path = panel.with_suffix(".json")
    kept = path.read_bytes()
    path.write_text(json.dumps(json.loads(kept) | {"weights": "of another model"}))
    monkeypatch.setattr(
        "robustvit.explanation.subsets.subset.subset", lambda photos, *, out, **_: Path(out).write_text("anew")
    )
    reproduce("appendix-a", scale="tiny", models="vit-b", out=str(out), device="cpu")
    assert panel.read_text() == "anew"
    assert not path.exists()
    monkeypatch.undo()
    reproduce("appendix-a", scale="tiny", models="vit-b", out=str(out), device="cpu")
    assert json.loads(path.read_text())["weights"] == json.loads(kept)["weights"]


@pytest.mark.slow
def test_a_tiny_table_has_what_was_measured(out):
    found = reproduce("table4", scale="tiny", models="vit-b", out=str(out), device="cpu")
    text = found.files[0].read_text(encoding="utf-8")
    assert "Tiny scale: measured with a stand-in model" in text
    assert "stand-in for vit-b" in text
    workspace = Workspace(out, out / "data", TINY)
    known = known_records(workspace)
    for run in make_plan("table4", TINY, models=["vit-b"], masks="human").runs:
        record = known[workspace.name_of(run), "imagenet-a"]
        assert (record.samples, record.complete, record.protocol) == (20, False, "paper")
        assert f"{100 * record.numbers['top1'].mean:.1f}" in text
        assert {"seen_top1", "unseen_top1"} <= set(record.numbers)
    config = (out / "runs/vit-b-robustvit-without-eq1-seed0-5x3/config.yaml").read_text(encoding="utf-8")
    assert "background: 0.0" in config
    with (out / "lists/seed0-5x3-train.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 15
    assert not (out / "runs/vit-b-robustvit-seed0-5x3/state.pt").exists()


@pytest.mark.slow
def test_figures_say_which_images_they_show(out):
    reproduce("figure1", scale="tiny", models="vit-b", out=str(out), device="cpu")
    rows = json.loads((out / "figure1/images.json").read_text(encoding="utf-8"))
    assert rows
    assert all(row["outcome"] == "wrong" and (out / "data" / row["image"]).is_file() for row in rows)


@pytest.mark.slow
def test_masks_by_tokencut(out, capsys):
    arguments = [
        "reproduce",
        "table2",
        "--scale",
        "tiny",
        "--models",
        "vit-b",
        "--masks",
        "tokencut",
        "--out",
        str(out),
    ]
    assert main([*arguments, "--device", "cpu"]) == 0
    assert (out / "masks-tokencut/manifest.csv").is_file()
    text = (out / "table2.md").read_text(encoding="utf-8")
    assert "vit-b-robustvit-tokencut-seed0-5x3" in text
    with (out / "masks-tokencut/seed0-5x3-train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        assert Path(row["image"]).stem == Path(row["mask"]).stem
        assert read_mask(row["mask"]).mean() >= 0.5 * 520 / 224**2  # soft masks count what is above one half


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_rest_is_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("robustvit.experiments.paper.training.run_trial", lambda options, folder: "the disk is full")
    arguments = ["reproduce", "table3", "--scale", "tiny", "--models", "ar-s", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "0 runs finetuned, 1 result added" in said
    assert "failed: ar-s-robustvit-seed0-5x3: the disk is full" in said
    assert "stand-in for ar-s" in (tmp_path / "out/table3.md").read_text(encoding="utf-8")
