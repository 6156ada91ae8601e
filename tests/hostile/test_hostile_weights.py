"""Weights and model folders that are broken or made to harm; a test for each row of docs/reference/hostile-files.md."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from helpers.hostile import Evil, changed_model, refusal, said
from robustvit import load_model
from robustvit.models.state_dicts import read_checkpoint


def lying(path: Path, header: object, data: bytes = b"1234", length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def with_weights(model_folder: Path, folder: Path, **changes: torch.Tensor) -> Path:
    shutil.copytree(model_folder, folder)
    save_file(load_file(folder / "model.safetensors") | changes, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", ["w.pth", "w.pth.tar", "w.pt", "w.bin"])
def test_weights_that_run_code(tmp_path, model_folder, capsys, name):
    mark = tmp_path / "ran"
    with (tmp_path / name).open("wb") as file:
        pickle.dump({"state_dict": Evil(mark)}, file)
    assert "could run code" in refusal(lambda: read_checkpoint(tmp_path / name))
    torch.save({"model": Evil(mark)}, tmp_path / name)
    assert "could run code" in refusal(lambda: read_checkpoint(tmp_path / name))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ["--model", "vit_tiny_patch16_224", "--checkpoint", tmp_path / name, tmp_path / "a.png"]
    assert "could run code" in said(capsys, "explain", *words)
    assert not mark.exists()
    with (tmp_path / name).open("rb") as file:  # the file is what it claims to be
        pickle.loads(pickle.dumps(Evil(mark)))  # noqa: S301
    assert mark.exists()


def test_weights_pickle_named_safetensors(tmp_path):
    torch.save({"a": Evil(tmp_path / "ran")}, tmp_path / "w.safetensors")
    assert "broken or cut off" in refusal(lambda: read_checkpoint(tmp_path / "w.safetensors"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_weights_empty(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert "cannot read checkpoint" in refusal(lambda: read_checkpoint(tmp_path / name))


def test_weights_missing(tmp_path):
    assert "found none" in refusal(lambda: read_checkpoint(tmp_path / "w.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_cut_off(tmp_path, suffix):
    whole = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)({"head.weight": torch.ones(50, 50)}, whole)
    whole.write_bytes(whole.read_bytes()[:3000])
    assert "broken or cut off" in refusal(lambda: read_checkpoint(whole))


def test_weights_header_longer_than_the_file(tmp_path):
    path = lying(tmp_path / "w.safetensors", {}, length=2**62)
    assert "broken or cut off" in refusal(lambda: read_checkpoint(path))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1_000_000, 1_000_000], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4_000_000_000]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "X99", "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_weights_header_that_lies(tmp_path, entry):
    path = lying(tmp_path / "w.safetensors", {"head.weight": entry})
    assert "broken or cut off" in refusal(lambda: read_checkpoint(path))


def test_weights_in_the_same_bytes(tmp_path):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    path = lying(tmp_path / "w.safetensors", {"a": entry, "b": entry})
    assert "broken or cut off" in refusal(lambda: read_checkpoint(path))


def test_weights_without_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    assert "found none" in refusal(lambda: read_checkpoint(tmp_path / "w.pth"))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_of_nan_or_infinity(tmp_path, model_folder, photos, capsys, number):
    bias = torch.tensor([0.0, number, 0.0])
    folder = with_weights(model_folder, tmp_path / "m", **{"head.bias": bias})
    assert "head.bias" in refusal(lambda: load_model(str(folder)))
    words = ["finetune", "--model", folder, "--images", photos[0], "--masks", photos[1], "--out", tmp_path / "r"]
    assert "the weights are broken" in said(capsys, *words)
    assert not (tmp_path / "r").exists()


def test_weights_of_another_shape(tmp_path, model_folder):
    torch.save({"head.weight": torch.ones(3, 7)}, tmp_path / "w.pth")
    words = refusal(lambda: load_model(str(model_folder), checkpoint=tmp_path / "w.pth"))
    assert "another architecture" in words


def test_model_weights_too_many(tmp_path, model_folder):
    folder = with_weights(model_folder, tmp_path / "m", evil=torch.ones(1))
    assert "evil" in refusal(lambda: load_model(str(folder)))


def test_model_weights_cut_off(tmp_path, model_folder):
    folder = changed_model(model_folder, tmp_path / "m")
    whole = folder / "model.safetensors"
    whole.write_bytes(whole.read_bytes()[:900])
    assert "cannot load" in refusal(lambda: load_model(str(folder)))


def test_model_weights_missing(tmp_path, model_folder):
    folder = changed_model(model_folder, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    assert "cannot load" in refusal(lambda: load_model(str(folder)))


@pytest.mark.parametrize("settings", [{}, {"model_type": "vit"}])
def test_model_weights_that_run_code(tmp_path, model_folder, settings):
    folder = changed_model(model_folder, tmp_path / "m", **settings)
    (folder / "model.safetensors").unlink()
    torch.save(Evil(tmp_path / "ran"), folder / "pytorch_model.bin")
    refusal(lambda: load_model(str(folder)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_model_of_another_architecture(tmp_path, model_folder, name):
    folder = changed_model(model_folder, tmp_path / "m", architecture=name)
    assert "architecture that its config.json names" in refusal(lambda: load_model(str(folder)))


def test_model_of_another_size(tmp_path, model_folder):
    arguments = json.loads((model_folder / "config.json").read_text())["model_args"]
    folder = changed_model(model_folder, tmp_path / "m", model_args=arguments | {"depth": 2})
    assert 'Unexpected key(s) in state_dict: "blocks.2.' in refusal(lambda: load_model(str(folder)))


@pytest.mark.parametrize("name", ["../../evil", "os.system", "", "hf-hub:evil/evil"])
def test_model_of_an_unknown_architecture(tmp_path, model_folder, name):
    folder = changed_model(model_folder, tmp_path / "m", architecture=name)
    assert "cannot load" in refusal(lambda: load_model(str(folder)))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, "\0", '{"num_classes": "many"}'])
def test_model_config_broken(tmp_path, model_folder, text):
    folder = changed_model(model_folder, tmp_path / "m")
    (folder / "config.json").write_text(text)
    refusal(lambda: load_model(str(folder)))


def test_model_config_of_another_library(tmp_path, model_folder):
    folder = changed_model(model_folder, tmp_path / "m", library=["os", "system"])
    assert load_model(str(folder)).num_classes == 3  # only the names of our libraries mean anything


@pytest.mark.parametrize(
    "given", [{"mean": [0, 0, 0], "std": [0, 0, 0]}, {"crop_pct": -1}, {"std": [float("nan")] * 3}]
)
def test_model_preprocessing_that_divides_by_zero(tmp_path, model_folder, given):
    own = json.loads((model_folder / "config.json").read_text())["pretrained_cfg"]
    folder = changed_model(model_folder, tmp_path / "m", pretrained_cfg=own | given)
    assert "deviations above 0" in refusal(lambda: load_model(str(folder)))


def test_model_folder_with_code(tmp_path, model_folder, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question whether to run the code"))
    auto = {"AutoConfig": "evil.EvilConfig", "AutoModelForImageClassification": "evil.Evil"}
    folder = changed_model(model_folder, tmp_path / "m", model_type="evil", auto_map=auto, architectures=["Evil"])
    (folder / "evil.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    for name in (str(folder), f"transformers:{folder}"):
        refusal(lambda name=name: load_model(name))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"accepted": true}'])
def test_model_verdict_broken(tmp_path, model_folder, text):
    folder = changed_model(model_folder, tmp_path / "m")
    (folder / "verdict.json").write_text(text)
    assert "verdict.json" in refusal(lambda: load_model(str(folder)))


def test_model_class_names_that_are_no_text(tmp_path, model_folder):
    folder = changed_model(model_folder, tmp_path / "m", label_names=["<script>", 5, None])
    assert load_model(str(folder)).class_names == ("<script>", "5", "None")
