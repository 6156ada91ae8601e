"""Reproductions of the paper's tables and figures: lists, plans and errors; and each item at tiny scale, end to end."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from robustvit.cli.main import main
from robustvit.common.errors import UserError
from robustvit.common.intervals import Interval
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import MaskRecord, write_manifest
from robustvit.data.mask_files import read_mask
from robustvit.evaluation.on_sets.outcomes import Outcomes
from robustvit.evaluation.records.record import Record, write_record
from robustvit.evaluation.records.reported import REPORTED, reported_table
from robustvit.evaluation.records.setting import RunSetting, setting_of
from robustvit.evaluation.records.table import table
from robustvit.evaluation.sets.class_tables import imagenet_wnids, unique_imagenet_names
from robustvit.experiments.paper.evaluating import Evaluator, known_records
from robustvit.experiments.paper.imagenet_s import MERGED, find_imagenet_s, write_list
from robustvit.experiments.paper.outlook import Speed
from robustvit.experiments.paper.plan import ITEMS, METHOD_OPTIONS, Run, make_plan
from robustvit.experiments.paper.scales import PAPER, SCALES, TINY, ReproductionScale
from robustvit.experiments.paper.show_images import Shown, choose_images
from robustvit.experiments.paper.show_plots import reported_change
from robustvit.experiments.paper.show_tables import seed_rows
from robustvit.experiments.paper.showing import show
from robustvit.experiments.paper.stand_in import STANDS_FOR, stand_in
from robustvit.experiments.paper.tiny_sets import write_tiny_sets
from robustvit.experiments.paper.training import _masks_folder, _with_found_masks, options_of_run, train_runs
from robustvit.experiments.paper.workspace import Workspace
from robustvit.experiments.reproduce import reproduce
from robustvit.masks.make import MadeMasks
from robustvit.models.classifier import Classifier
from robustvit.models.recipes import CARDS

PAPER_ITEMS = [
    *(f"table{number}" for number in (1, 2, 3, 4, 8, 9, 10, 11, 12)),
    *(f"figure{number}" for number in (1, 2, 3, 4, 6, 7)),
    "appendix-a",
    "appendix-j",
]


def write_imagenet_s(root: Path, classes: list[str], photos: int = 4) -> Path:
    """Photos of 8 x 8 pixels; written last to first, so that the file system's order is not that of the names."""
    folder = root / "ImageNetS919"
    for wnid in reversed(classes):
        for kind in ("train-semi", "train-semi-segmentation"):
            (folder / kind / wnid).mkdir(parents=True)
        for number in reversed(range(photos)):
            Image.new("RGB", (8, 8), (number, 9, 9)).save(folder / "train-semi" / wnid / f"{wnid}_{number}.JPEG")
            mask = Image.new("RGB", (8, 8))
            mask.paste((44, 1, 0), (2, 2, 6, 6))  # class 300
            mask.paste((232, 3, 0), (0, 0, 8, 1))  # 1000, ignored
            mask.save(folder / "train-semi-segmentation" / wnid / f"{wnid}_{number}.png")
    return root


@pytest.fixture(scope="module")
def imagenet_s(tmp_path_factory):
    merged = [*MERGED, *MERGED.values()]
    plain = [wnid for wnid in imagenet_wnids() if wnid not in merged][:12]
    return find_imagenet_s(write_imagenet_s(tmp_path_factory.mktemp("s"), [*plain, *merged])), plain


def test_the_merged_classes_are_ten_of_imagenet():
    assert len({*MERGED, *MERGED.values()}) == 10
    assert {*MERGED, *MERGED.values()} <= set(imagenet_wnids())


def test_lists_are_the_first_classes_and_photos_by_name(imagenet_s):
    found, plain = imagenet_s
    lists = found.lists(Run("vit-b", "robustvit", 0, 3, 5))
    assert [row[2] for row in lists.train] == [wnid for wnid in sorted(plain)[:5] for _ in range(3)]
    assert [row[0].name for row in lists.train[:3]] == [f"{sorted(plain)[0]}_{number}.JPEG" for number in range(3)]
    assert [row[2] for row in lists.validation] == sorted(plain)[5:]
    assert all(photo.stem == mask.stem == f"{wnid}_0" for photo, mask, wnid in lists.validation)


def test_a_seed_draws_the_classes_and_nothing_else(imagenet_s):
    found, plain = imagenet_s
    expected = sorted(plain)
    random.Random(3).shuffle(expected)
    run = Run("vit-b", "robustvit", 3, 2, 5)
    lists = found.lists(run)
    assert lists.classes == sorted(expected[:5])
    assert {row[2] for row in lists.validation} == set(expected[5:])
    assert lists == found.lists(run)
    assert len(lists.train) == 10


def test_lists_are_what_finetune_reads(imagenet_s, tmp_path):
    found, _ = imagenet_s
    lists = found.lists(Run("vit-b", "robustvit", 0, 3, 5))
    write_list(lists.train, tmp_path / "list.csv")
    photos = find_photos(tmp_path / "list.csv")
    assert [(p.image.name, p.class_name) for p in photos] == [(row[0].name, row[2]) for row in lists.train]
    mask = read_mask(photos[0].mask, "imagenet-s")
    expected = np.zeros((8, 8))
    expected[2:6, 2:6] = 1
    assert np.array_equal(mask, expected)


def test_another_edition_of_imagenet_s_is_refused(imagenet_s):
    with pytest.raises(UserError, match="expected 914 classes besides the ten merged ones"):
        imagenet_s[0].check(PAPER)


def test_a_mask_without_its_photo_is_named(tmp_path):
    root = write_imagenet_s(tmp_path, ["n01440764", "n01443537"])
    (root / "ImageNetS919/train-semi/n01440764/n01440764_0.JPEG").unlink()
    with pytest.raises(UserError, match=r"expected the photo of .*n01440764_0\.png"):
        find_imagenet_s(root).lists(Run("vit-b", "robustvit", 0, 1, 1))


def test_every_item_of_the_paper_has_a_plan():
    assert set(ITEMS) == set(PAPER_ITEMS)
    for what in ITEMS:
        plan = make_plan(what, PAPER, models=None, masks="human")
        assert plan.runs
        assert len(set(plan.runs)) == len(plan.runs)
        assert all(run.method in METHOD_OPTIONS for run in plan.runs if run.trained)
        assert all(plan.original(run) in plan.runs for run in plan.runs)


@pytest.mark.parametrize("what", [item for item in ITEMS if item in REPORTED])
def test_a_tables_plan_has_every_row_reported(what):
    plan = make_plan(what, PAPER, models=None, masks="human")
    wanted = {(row.model, row.method) for row in reported_table(what).rows if row.method != "robustvit-tokencut"}
    assert {(run.card, run.method) for run in plan.runs} == wanted
    assert set(plan.sets) == {column.set for column in reported_table(what).columns}
    seeds = {run.seed for run in plan.runs if run.trained}
    assert seeds == (set(range(5)) if what in ("table8", "table9") else {0})


def test_papers_numbers_are_in_the_plan():
    run = next(one for one in make_plan("table1", PAPER, models=["vit-b"], masks="human").runs if one.trained)
    assert (run.classes, run.samples, PAPER.epochs, PAPER.available - run.classes) == (500, 3, 50, 414)
    workspace = Workspace(Path("out"), Path("data"), PAPER)
    run_without = Run("deit-b", "robustvit-without-eq1", 2, 3, 500)
    options = options_of_run(workspace, run_without, (Path("a.csv"), Path("b.csv")))
    from robustvit.experiments.sweeps.finetune_options import effective_options

    settled = effective_options(options, "here")
    assert (settled["lr"], settled["temperature"], settled["normalization"]) == (8e-7, 0.65, "paper")
    assert (settled["epochs"], settled["batch_size"], settled["weight_decay"], settled["select"]) == (
        50,
        8,
        1e-4,
        "loss",
    )
    assert (settled["background"], settled["foreground"], settled["seed"]) == (0.0, 0.3, 2)


def test_tokencut_rows_replace_the_others():
    plan = make_plan("table2", PAPER, models=["vit-b"], masks="tokencut")
    assert [run.method for run in plan.runs] == ["original", "robustvit-tokencut"]


def test_figure_7_varies_samples_and_classes():
    runs = [run for run in make_plan("figure7", PAPER, models=None, masks="human").runs if run.trained]
    assert {run.samples for run in runs if run.classes == 500} >= {1, 2, 3}
    assert {run.classes for run in runs if run.samples == 3} >= {100, 300, 500}


def test_reported_changes_follow_the_rows():
    """ViT-B on INet-A, classes seen: 14.8 to 22.9; AR-B 25.3 to 32.2; DeiT-B 11.7 to 15.2 (Table 10)."""
    expected = ((22.9 - 14.8) + (32.2 - 25.3) + (15.2 - 11.7)) / 3
    assert reported_change(["vit-b", "ar-b", "deit-b"], "imagenet-a", "seen") == pytest.approx(expected)
    assert reported_change(["vit-b"], "si-score/location", "unseen") == pytest.approx(38.6 - 32.0)
    assert reported_change(["vit-l"], "imagenet-a", "seen") is None


def outcomes(right: list[int], answers: list[int], confidence: list[float]) -> Outcomes:
    count = len(right)
    names, blank = np.array([f"{i}" for i in range(count)]), np.array([""] * count)
    classes = np.array([f"class {label}" for label in right])
    return Outcomes(names, classes, blank, np.full(count, -1), np.array(right)[:, None], np.array(answers),
                    np.ones(count, bool), np.array(confidence))  # fmt: skip


def test_images_are_the_first_of_each_class():
    right = [0, 0, 1, 1, 2, 2]
    before = outcomes(right, [0, 9, 9, 9, 2, 9], [0.5, 0.6, 0.9, 0.7, 0.2, 0.8])
    after = outcomes(right, [0, 0, 1, 1, 9, 9], [0.5] * 6)
    assert choose_images(before, after, "same", 5) == [0]
    assert choose_images(before, after, "corrected", 5) == [1, 2]
    assert choose_images(before, after, "corrected", 5, skip=1) == [2]
    assert choose_images(before, after, "broken", 5) == [4]
    assert choose_images(before, before, "wrong", 5) == [2, 5, 1]  # the surest first


def test_means_over_seeds():
    table = reported_table("table8")
    row = next(one for one in table.rows if one.spread and one.model == "vit-b")
    shares = (0.20, 0.23, 0.29)
    records = [
        Record("imagenet-a", "paper", {"card": "vit-b", "method": "robustvit", "weights": str(number)}, {}, 1, 1, True,
               [], {"top1": Interval(share, 0, 1, 1)}, {}, {}, {}, {}, [], "")
        for number, share in enumerate(shares)
    ]  # fmt: skip
    (found,) = seed_rows(row, table, records)
    cell = found.cells[1]
    mean = 100 * sum(shares) / 3
    deviation = (sum((100 * share - mean) ** 2 for share in shares) / 2) ** 0.5
    assert (cell.value, cell.spread, cell.difference) == pytest.approx((mean, deviation, mean - 23.6))
    assert found.cells[0].value is None
    assert seed_rows(row, table, records[:1]) == []
    assert cell.mark == ""
    (found,) = seed_rows(row, table, [*records[:2], replace(records[2], complete=False)])
    assert found.cells[1].mark == "†", "one run was measured on a part of the images"


def test_stand_ins_answer_as_the_embedded_model_under_the_papers_normalisation():
    from importlib.resources import as_file, files

    from robustvit.models.load import load_model

    with as_file(files("robustvit.data.embedded") / "model") as folder:
        small = load_model(f"local-dir:{folder}")
    one, other = stand_in("vit-b"), stand_in("deit-b")
    assert one.preprocessing.normalized("paper").mean == (0.5, 0.5, 0.5)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    places = [index for index, _ in STANDS_FOR.values()]
    with torch.no_grad():
        said = one.network((images - 0.5) / 0.5)
        assert torch.allclose(said[:, places], small(images), atol=1e-3)
        assert set(said.argmax(1).tolist()) <= set(places)
    assert not torch.equal(one.network.head.bias, other.network.head.bias)


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
    monkeypatch.setattr("robustvit.experiments.paper.outlook._architecture", lambda *_: torch.nn.Identity())  # 8 s
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
    monkeypatch.setattr("robustvit.experiments.paper.outlook._architecture", lambda *_: torch.nn.Identity())
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
            _masks_folder(workspace)
    for _ in range(2):
        assert _masks_folder(workspace) == tmp_path / "masks-tokencut"
    assert len(calls) == 3
    shutil.rmtree(tmp_path / "masks-tokencut")
    _masks_folder(workspace)
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


def test_models_without_sets_need_no_imagenet_s(tmp_path, monkeypatch):
    plan = make_plan("appendix-a", PAPER, models=["vit-b"], masks="human")
    monkeypatch.setattr("robustvit.experiments.paper.evaluating.load_model", lambda *_, **__: narrow_stand_in("vit-b"))
    found = Evaluator(Workspace(tmp_path / "out", tmp_path, PAPER), plan).model(plan.runs[0])
    assert found.seen == frozenset()


def test_rival_methods_have_no_temperature(tmp_path):
    """Equation 8 has none; the cards' is that of equation 4."""
    workspace = Workspace(tmp_path, tmp_path, PAPER)
    for method in ("gradmask", "rrr"):
        options = options_of_run(workspace, Run("deit-s", method, 0, 3, 500), (tmp_path, tmp_path))
        assert options["temperature"] == 1.0
    assert "temperature" not in options_of_run(workspace, Run("deit-s", "robustvit", 0, 3, 500), (tmp_path, tmp_path))


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


def narrow_stand_in(card: str) -> Classifier:
    """As ``stand_in``, with a small network that knows nothing, for a third of the time."""
    torch.manual_seed(CARDS.index(card))
    shape = {"img_size": 112, "patch_size": 14, "embed_dim": 48, "depth": 2, "num_heads": 3}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=1000, **shape)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(-20.0)
        for index, _ in STANDS_FOR.values():
            network.head.weight[index].normal_()
            network.head.bias[index] = 0
    return Classifier(network, class_names=unique_imagenet_names(), source=f"stand-in for {card}").eval()


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
        yield Shown(f"{original.card}.png", "imagenet-val", "same", "goose"), [("input", picture), ("ours", picture)]

    monkeypatch.setattr("robustvit.experiments.paper.show_images._rows", rows)
    first, *_ = shown(workspace, "figure2", ["deit-b"])
    before = first.read_bytes()
    drawn = shown(workspace, "figure2", ["vit-b"])
    assert first.read_bytes() == before
    assert [one["model"] for one in json.loads(drawn[-1].read_text())] == ["vit-b", "deit-b"]
    monkeypatch.setattr("robustvit.experiments.paper.show_images._rows", None)
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
    lists = _with_found_masks(workspace, run, _masks_folder(workspace))
    assert [photo.name for photo, _, _ in lists.train] == ["n01440764_2.JPEG", "n01440764_3.JPEG"]
    assert len(lists.validation) == 1
    assert said[0].startswith("TokenCut: 2 photos skipped, fewer than 520 pixels; ")
    assert said[1] == f"{run.name}: 1 photo fewer than 4: their classes have no more masks"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One folder for all items, which share their runs in it; removed at once, as it is large."""
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robustvit.experiments.paper.stand_in.stand_in", narrow_stand_in)
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
