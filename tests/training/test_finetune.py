"""Finetuning runs: what they leave behind, that they resume bit for bit, and what they refuse."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from helpers.drawn_photos import CLASSES, without_classes, write_photos
from helpers.run_server import kill
from robustvit import UserError, finetune, load_model
from robustvit.common.verdict_files import read_verdict
from robustvit.evaluation.measure import measure
from robustvit.evaluation.photo_measures import read_measures
from robustvit.guidance.robustvit import RobustViT
from robustvit.models.baseline import load_original
from robustvit.training.epoch_choice import robust_score
from robustvit.training.schedule import Schedule

FAST = {"epochs": 3, "lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 4, "tracker": "none"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_folder, photos):
    out = tmp_path_factory.mktemp("runs") / "mine"
    images, masks = photos
    found = finetune(
        model=f"local-dir:{model_folder}",
        images=str(images),
        masks=str(masks),
        out=str(out),
        **FAST | {"panels": 1, "tracker": "tensorboard"},
    )
    return out, found


def test_a_run_leaves_everything_behind(finished, model_folder):
    out, found = finished
    names = {path.name for path in out.iterdir()}
    assert names == {
        "config.yaml", "versions.json", "selection.csv", "beginning.json", "metrics.jsonl", "state.pt", "best", "last",
        "before.json", "by_class.json", "after.json", "at_inference.json", "verdict.json", "panels", "tensorboard",
        ".lock",
    }  # fmt: skip
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["lr"] == 3e-4
    assert config["seed"] == 0
    assert "torch" in json.loads((out / "versions.json").read_text())
    assert read_verdict(out / "verdict.json") == found.verdict
    assert found.verdict.sentence in str(found)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["lr"] for row in rows] == pytest.approx([3e-4, 3e-4, 3e-4 * 0.85])
    kept = [row["epoch"] for row in rows if row["best"]][-1]
    assert rows[kept - 1]["val_loss"] == min(row["val_loss"] for row in rows)


@pytest.mark.parametrize("tracker", ["tensorboard", "none"])
def test_older_runs_resume_without_the_tracker_they_name(
    finished, tmp_path, model_folder, photos, monkeypatch, tracker
):
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    monkeypatch.setattr("robustvit.common.devices.get_available_trackers", list)
    data = {"images": str(photos[0]), "masks": str(photos[1])} | FAST | {"panels": 1, "tracker": tracker}
    assert finetune(model=f"local-dir:{model_folder}", out=str(out), resume=True, **data).verdict == finished[1].verdict


def test_missing_tracker_is_said_with_its_extra(tmp_path, model_folder, photos, monkeypatch):
    monkeypatch.setattr("robustvit.common.devices.get_available_trackers", list)
    data = {"images": str(photos[0]), "masks": str(photos[1])} | FAST | {"tracker": "tensorboard"}
    with pytest.raises(UserError, match=r"pip install 'robustvit\[tracking\]'"):
        finetune(model=f"local-dir:{model_folder}", out=str(tmp_path / "run"), **data)
    assert not (tmp_path / "run").exists()


def test_selection_is_what_was_trained_on(finished):
    out, _ = finished
    rows = list(csv.DictReader((out / "selection.csv").open()))
    train = {row["image"] for row in rows if row["split"] == "train"}
    chose, judged = ({row["image"] for row in rows if row["split"] == name} for name in ("validation", "verdict"))
    assert len(train) == 12
    assert not train & (chose | judged)
    assert {found.image for found in read_measures(out / "before.json")} == judged


def test_best_and_last_are_drop_in_timm_models(finished, model_folder):
    out, _ = finished
    for name in ("best", "last"):
        network = timm.create_model(f"local-dir:{out / name}", pretrained=True)
        weights = load_file(out / name / "model.safetensors")
        assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    original = load_file(model_folder / "model.safetensors")
    assert any(not torch.equal(original[key], value) for key, value in weights.items())
    assert load_model(out).class_names == CLASSES
    assert (out / "best" / "verdict.json").is_file(), "a model must carry its verdict, above all when it is refused"


def test_before_and_after_are_of_the_same_photos(finished):
    before, after = (read_measures(finished[0] / f"{when}.json") for when in ("before", "after"))
    assert [[s.donor for s in b.swapped] for b in before] == [[s.donor for s in a.swapped] for a in after]
    assert [b.image for b in before] == [a.image for a in after]


def test_panels_are_pictures(finished):
    panels = json.loads((finished[0] / "panels" / "panels.json").read_text())
    assert panels
    for panel in panels:
        (before, first), (after, second) = panel["before"], panel["after"]
        assert all("%)" in said for said in (before, after))
        for file in (panel["file"], first, second):
            with Image.open(finished[0] / "panels" / file) as picture:
                assert picture.width == picture.height >= 448, "larger than the model's input"
        assert panel["total"] >= 1


def same_file(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def test_same_seed_same_run_other_seed_other_run(finished, tmp_path, model_folder, photos):
    images, masks = photos
    for seed, same in ((0, True), (1, False)):
        out = tmp_path / str(seed)
        settings = FAST | {"seed": seed}
        finetune(model=str(model_folder), images=str(images), masks=str(masks), out=str(out), **settings)
        assert same_file(out / "last" / "model.safetensors", finished[0] / "last" / "model.safetensors") == same
        assert same_file(out / "metrics.jsonl", finished[0] / "metrics.jsonl") == same


@pytest.mark.slow
def test_killed_run_resumes_to_identical_weights(tmp_path, model_folder, photos, server):
    command = [
        "finetune", "--model", str(model_folder), "--images", str(photos[0]),
        "--masks", str(photos[1]), "--epochs", "6", "--lr", "3e-4", "--swaps", "1", "--panels", "0", "--select",
        "robust", "--tracker", "none",
    ]  # fmt: skip
    assert server.run([*command, "--out", tmp_path / "whole"]) == 0
    out = tmp_path / "killed"
    stopped = (out / "state.pt").is_file, lambda running: kill(running[0]), out
    assert server.interrupt([*command, "--out", out], *stopped) == [-signal.SIGKILL]
    assert not (out / "verdict.json").exists()
    assert server.run([*command, "--out", out, "--resume"]) == 0
    for name in ("best/model.safetensors", "last/model.safetensors", "metrics.jsonl", "after.json", "verdict.json"):
        assert same_file(out / name, tmp_path / "whole" / name), name


def test_flat_folder_without_labels(tmp_path, model_folder, photos):
    images, masks = without_classes(photos, tmp_path / "flat")
    found = finetune(
        model=str(model_folder), images=images, masks=masks, out=str(tmp_path / "run"),
        **FAST | {"target": "predicted", "epochs": 1},
    )  # fmt: skip
    assert any("no labels" in note for note in found.verdict.notes)
    assert found.verdict.of("ordinary").before.mean == 1.0


def test_the_note_on_labels_is_about_the_photos_that_judge(tmp_path, model_folder, photos):
    unlabelled = without_classes(photos, tmp_path / "flat")
    labelled = tuple(map(str, write_photos(tmp_path / "t", 3, seed=1)))
    options = FAST | {"model": str(model_folder), "target": "predicted", "epochs": 1, "skip_unmasked": True}
    for name, train, test in (("a", unlabelled, labelled), ("b", labelled, unlabelled)):
        found = finetune(
            images=train[0], masks=train[1], test_images=test[0], test_masks=test[1], out=str(tmp_path / name),
            **options | {"samples_per_class": 2},
        )  # fmt: skip
        assert any("no labels" in note for note in found.verdict.notes) == (test is unlabelled)


def test_measuring_takes_small_batches_where_training_does(tmp_path, model_folder, photos, monkeypatch):
    sizes = []

    def seen(model, photos, settings, **options):
        sizes.append(settings.batch_size)
        return measure(model, photos, settings, **options)

    monkeypatch.setattr("robustvit.training.run.measure", seen)
    for batch_size in (1, 16):
        options = FAST | {"epochs": 1, "batch_size": batch_size, "out": str(tmp_path / str(batch_size))}
        finetune(model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), **options)
    assert sizes == [4, 4, 32, 32]


def test_photos_that_judge_are_checked_before_anything_is_written(tmp_path, model_folder):
    images, masks = write_photos(tmp_path, 6)
    options = {"model": str(model_folder), "images": str(images), "masks": str(masks)}
    options |= FAST | {"samples_per_class": 2, "select": "robust", "epochs": 1}
    finetune(**options, out=str(tmp_path / "first"))
    rows = list(csv.DictReader((tmp_path / "first" / "selection.csv").open()))
    judged = next(Path(row["image"]) for row in rows if row["split"] == "verdict")
    judged.write_bytes(judged.read_bytes()[:100])
    with pytest.raises(UserError, match=judged.name):
        finetune(**options, out=str(tmp_path / "second"))
    assert not (tmp_path / "second").exists()


def test_half_the_classes_and_separate_test_photos(tmp_path, model_folder, photos):
    test = write_photos(tmp_path / "test", 4, seed=7)
    found = finetune(
        model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), test_images=str(test[0]),
        test_masks=str(test[1]), val_images=str(test[0]), val_masks=str(test[1]), classes=0.34, select="robust",
        out=str(tmp_path / "run"), second_order=True, classification="label", **FAST | {"epochs": 2},
    )  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "run" / "selection.csv").open()))
    assert len({row["class"] for row in rows if row["split"] == "train"}) == 1
    assert found.verdict.of("ordinary").difference.count == 12
    assert any("12 of the 12 photos that judge also chose the epoch" in note for note in found.verdict.notes)


@pytest.mark.parametrize("select", ["robust", "loss"])
def test_selection_and_verdict_use_different_photos(select, tmp_path, model_folder, photos):
    found = finetune(
        model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), out=str(tmp_path / "run"),
        **FAST | {"select": select, "epochs": 1},
    )  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "run" / "selection.csv").open()))
    parts = [{row["image"] for row in rows if row["split"] == name} for name in ("train", "validation", "verdict")]
    assert all(parts)
    assert not (parts[0] & parts[1])
    assert not (parts[0] & parts[2])
    assert not (parts[1] & parts[2])
    assert abs(len(parts[1]) - len(parts[2])) <= 3, "one of each class at most"
    (note,) = found.verdict.notes
    assert note.startswith(f"Of {len(parts[1] | parts[2])} photos held out, {len(parts[1])} are for validation")
    assert "--test-images" in note


def test_training_photos_cannot_be_held_out(tmp_path, model_folder, photos):
    same = {"images": str(photos[0]), "masks": str(photos[1])}
    for other in ("val", "test"):
        held_out = {f"{other}_images": same["images"], f"{other}_masks": same["masks"]}
        with pytest.raises(UserError, match="trained on and held out"):
            finetune(model=str(model_folder), out=str(tmp_path / "run"), **same, **held_out, **FAST)
    assert not (tmp_path / "run").exists()


def test_bf16_runs_and_stays_near_float32(tmp_path, model_folder, photos):
    losses = []
    for precision in ("no", "bf16"):
        out = tmp_path / precision
        finetune(
            model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), out=str(out), precision=precision,
            **FAST | {"epochs": 1, "samples_per_class": 2, "validation_per_class": 2},
        )  # fmt: skip
        losses.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["train_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"model": None}, "--model"),
        ({"recipe": "vit-z"}, "expected --recipe to be one of"),
        ({"lr": 0.0}, "--lr"),
        ({"epochs": 0}, "--epochs"),
        ({"select": "luck"}, "--select"),
        ({"guidance": "magic"}, "robustvit"),
        ({"classes": 9}, "--classes"),
        ({"masks": None}, "--masks"),
        ({"val_images": "photos"}, "--val-masks"),
        ({"images": "nowhere"}, "nowhere"),
        ({"temperature": -1.0}, "temperature"),
        ({"tracker": "paper"}, "--tracker"),
        ({"train": "nothing"}, "--train"),
        ({"seed": -1}, "--seed"),
        ({"workers": -1}, "--workers"),
        ({"weight_decay": -1.0}, "--weight-decay"),
        ({"lr": float("nan")}, "--lr"),
        ({"classes": []}, "--classes"),
        ({"select": "robust", "swaps": 0}, "--swaps"),
        ({"precision": "fp16", "device": "cpu"}, "bf16"),
        ({"num_classes": 5}, "head of 3 classes, not 5"),
        ({"model": "resnet10t", "num_classes": 3, "checkpoint": "RESNET"}, "ResNet"),
        ({"tracker": "comet_ml"}, "not installed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_write_nothing(tmp_path, model_folder, photos, options, word):
    settings = {"model": str(model_folder), "images": str(photos[0]), "masks": str(photos[1])} | FAST | options
    if settings.get("val_images"):
        settings["val_images"] = str(photos[0])
    if settings.get("checkpoint"):
        settings["checkpoint"] = str(model_folder / "resnet.pth")
        torch.save(timm.create_model("resnet10t", num_classes=3).state_dict(), settings["checkpoint"])
    with pytest.raises(UserError, match=word) as caught:
        finetune(out=str(tmp_path / "run"), **settings)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_output_folders_that_are_not_free(tmp_path, finished, model_folder, photos):
    settings = {"model": str(model_folder), "images": str(photos[0]), "masks": str(photos[1])} | FAST
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter.txt").write_text("words")
    with pytest.raises(UserError, match="was not written by robustvit finetune"):
        finetune(out=str(theirs), **settings)
    with pytest.raises(UserError, match="--resume"):
        finetune(out=str(finished[0]), **settings)
    with pytest.raises(UserError, match="found none"):
        finetune(out=str(tmp_path / "none"), resume=True, **settings)
    with pytest.raises(UserError, match=r"lr=0\.0003"):
        finetune(out=str(finished[0]), resume=True, **settings | {"model": f"local-dir:{model_folder}", "lr": 1.0})
    assert [path.name for path in theirs.iterdir()] == ["chapter.txt"]
    (theirs / "config.yaml").write_text("optimizer: adam\n")
    with pytest.raises(UserError, match="found none"):
        finetune(out=str(theirs), resume=True, **settings)
    with pytest.raises(UserError, match="is a file"):
        finetune(out=str(theirs / "chapter.txt" / "run"), **settings)
    assert list(tmp_path.iterdir()) == [theirs]


@pytest.mark.parametrize("what", ["truncated", "size", "full"])
def test_bad_files_are_named_before_anything_is_written(tmp_path, model_folder, what):
    images, masks = write_photos(tmp_path / "data", 4)
    photo, mask = images / "frame" / "002.png", masks / "frame" / "002.png"
    if what == "truncated":
        photo.write_bytes(photo.read_bytes()[:200])
    elif what == "size":
        Image.new("L", (9, 9), 255).save(mask)
    else:
        Image.new("L", (48, 48), 255).save(mask)
    with pytest.raises(UserError, match=r"frame/002\.png"):
        finetune(model=str(model_folder), images=str(images), masks=str(masks), out=str(tmp_path / "run"), **FAST)
    assert not (tmp_path / "run").exists()


def test_photos_that_changed_since_are_noticed_on_resume(tmp_path, model_folder):
    images, masks = write_photos(tmp_path / "data", 6)
    settings = {"model": str(model_folder), "images": str(images), "masks": str(masks), "out": str(tmp_path / "run")}
    finetune(**settings, **FAST | {"epochs": 1})
    selection = (tmp_path / "run" / "selection.csv").read_text()
    for kind in (images, masks):
        shutil.copy(kind / "disc" / "000.png", kind / "disc" / "new.png")
    with pytest.raises(UserError, match="the photos are not those"):
        finetune(**settings, resume=True, **FAST | {"epochs": 2})
    assert (tmp_path / "run" / "selection.csv").read_text() == selection


def test_more_epochs_take_the_old_verdict_back_first(finished, tmp_path, monkeypatch):
    out = shutil.copytree(finished[0], tmp_path / "run")
    config = yaml.safe_load((out / "config.yaml").read_text())
    said = {name: value for name, value in config.items() if name not in ("robustvit", "method", "pixels")}
    settings = said | {"out": str(out), "epochs": 4}
    with monkeypatch.context() as patch:
        patch.setattr("robustvit.training.run.train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finetune(resume=True, **settings)
    assert not (out / "verdict.json").exists()
    assert not (out / "best" / "verdict.json").exists()
    found = finetune(resume=True, **settings)
    assert read_verdict(out / "verdict.json") == read_verdict(out / "best" / "verdict.json") == found.verdict
    assert yaml.safe_load((out / "config.yaml").read_text())["epochs"] == 4
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_module_from_python_is_a_model_too(tmp_path, photos, network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    out = tmp_path / "run"
    finetune(model=network, images=str(photos[0]), masks=str(photos[1]), out=str(out), **FAST | {"epochs": 1})
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    with pytest.raises(UserError, match="given from Python"):
        load_original(out)
    assert load_model(out).class_names == CLASSES


def test_loss_that_is_no_number_stops_the_run(tmp_path, photos, network):
    options = {"images": str(photos[0]), "masks": str(photos[1]), **FAST}
    with pytest.raises(UserError, match="lower --lr"):
        finetune(model=network, out=str(tmp_path / "r"), **options | {"lr": 1e30})
    with torch.no_grad():
        network.head.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="the weights are broken"):
        finetune(model=network, out=str(tmp_path / "s"), **options)


def test_attention_only_training_changes_queries_and_keys(tmp_path, model_folder, photos):
    out = tmp_path / "run"
    settings = FAST | {"train": "attention", "lr": 1e-2, "epochs": 1}
    finetune(model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), out=str(out), **settings)
    before, after = load_file(model_folder / "model.safetensors"), load_file(out / "last" / "model.safetensors")
    for name, old in before.items():
        rows = 2 * len(old) // 3 if ".attn.qkv." in name else 0
        assert torch.equal(old[rows:], after[name][rows:]), name
        assert rows == 0 or not torch.equal(old[:rows], after[name][:rows]), name


def test_learning_rate_falls_every_second_epoch():
    schedule = Schedule(1.0)
    assert [schedule.rate(epoch) for epoch in range(5)] == pytest.approx([1, 1, 0.85, 0.85, 0.7225])


def test_robust_score_prefers_the_best_outcome_then_the_allowed_loss_then_the_gain():
    from robustvit.evaluation.photo_measures import PhotoMeasure

    def results(ordinary, shifted):
        return [
            PhotoMeasure(str(i), 0, 0, 1.0, {"ordinary": float(i < ordinary), "mixed-other": float(i < shifted)})
            for i in range(400)
        ]

    base = results(360, 200)
    # better; open cost within and beyond the allowance; nothing shown; lost for sure
    epochs = ((360, 290), (360, 280), (356, 300), (350, 320), (360, 202), (360, 199), (280, 400))
    scores = [robust_score(base, results(*pair), 2.0)["score"] for pair in epochs]
    assert scores == sorted(scores)
    row = robust_score(base, results(356, 300), 2.0)
    assert (row["val_ordinary"], row["val_mixed_other"]) == (0.89, 0.75)


def test_hub_recipe_without_a_network_says_so(tmp_path, photos, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="cannot fetch"):
        finetune(recipe="deit-s", images=str(photos[0]), masks=str(photos[1]), out=str(tmp_path / "run"))
    assert RobustViT().temperature == 1.0
