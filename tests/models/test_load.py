"""Loading models from wherever they are, and reading weights without running anything in them."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from helpers.drawn_photos import CLASSES
from helpers.hostile import Evil
from helpers.small_models import SIZE, tiny_network
from robustvit import Classifier, UserError, classes, evaluate, explain, load_model
from robustvit.models.recipes import CARDS, model_card
from robustvit.models.save import save_model
from robustvit.models.state_dicts import read_checkpoint


def same_weights(a, b) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_classifier_normalises_and_owns_its_preprocessing(network):
    classifier = load_model(network)
    images = torch.rand(2, 3, SIZE, SIZE)
    assert torch.equal(classifier(images), network((images - classifier.mean) / classifier.std))
    assert classifier.preprocessing.input_size == (SIZE, SIZE)
    assert not classifier.training
    assert load_model(classifier) is classifier


def test_saved_model_is_a_drop_in_timm_model(tmp_path):
    network = tiny_network()
    folder = save_model(Classifier(network, class_names=CLASSES), tmp_path / "best")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert same_weights(timm.create_model(f"local-dir:{folder}", pretrained=True), network)
    loaded = load_model(f"local-dir:{folder}")
    assert same_weights(loaded.network, network)
    assert loaded.class_names == CLASSES
    assert loaded.preprocessing == Classifier(network).preprocessing
    assert same_weights(load_model(folder).network, network)
    assert same_weights(load_model(tmp_path).network, network), "a run folder stands for its best/"


def test_paper_normalization_survives_saving(tmp_path):
    network = timm.create_model("deit_tiny_patch16_224", num_classes=3, img_size=32, depth=1)
    own, paper = load_model(network), load_model(network, normalization="paper")
    assert own.preprocessing.mean == pytest.approx((0.485, 0.456, 0.406))
    assert paper.preprocessing.mean == paper.preprocessing.std == (0.5, 0.5, 0.5)
    assert paper.preprocessing.crop_share == 0.875
    assert load_model(save_model(paper, tmp_path / "m")).preprocessing == paper.preprocessing


def test_saving_replaces_whole_and_leaves_nothing_beside(tmp_path, network):
    classifier = load_model(network)
    save_model(classifier, tmp_path / "last")
    with torch.no_grad():
        network.head.bias += 1
    save_model(classifier, tmp_path / "last")
    assert torch.equal(load_file(tmp_path / "last" / "model.safetensors")["head.bias"], network.head.bias)
    assert os.listdir(tmp_path) == ["last"]


@pytest.mark.parametrize("form", ["safetensors", "pth", "pth.tar", "wrapped"])
def test_checkpoints_of_every_form(tmp_path, network, form):
    state = network.state_dict()
    path = tmp_path / f"weights.{form}"
    if form == "safetensors":
        save_file(state, path)
    elif form == "pth":
        torch.save(state, path)
    elif form == "pth.tar":  # as the authors' scripts wrote it
        options = argparse.Namespace(lr=1e-6)
        wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, "state_dict": wrapped, "best_acc1": torch.tensor(80.0), "args": options}, path)
    else:
        torch.save({"model": {f"network.{name}": tensor for name, tensor in state.items()}}, path)
    fresh = tiny_network()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    assert same_weights(load_model(fresh, checkpoint=path).network, network)


def test_head_size_comes_from_the_checkpoint(tmp_path):
    network = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    save_file(network.state_dict(), tmp_path / "seven.safetensors")
    loaded = load_model("vit_tiny_patch16_224", checkpoint=tmp_path / "seven.safetensors")
    assert loaded.num_classes == 7
    assert same_weights(loaded.network, network)


def test_position_embedding_is_resampled(tmp_path, network):
    save_file(network.state_dict(), tmp_path / "small.safetensors")
    large = load_model(tiny_network(img_size=2 * SIZE), checkpoint=tmp_path / "small.safetensors")
    assert large.network.pos_embed.shape[1] == 1 + 4 * (SIZE // 8) ** 2
    assert torch.isfinite(large(torch.rand(1, 3, 2 * SIZE, 2 * SIZE))).all()


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, monkeypatch, network, legacy):
    monkeypatch.chdir(tmp_path)
    if legacy:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil("trapped")}))
    else:
        torch.save({"state_dict": network.state_dict(), "extra": Evil("trapped")}, "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth"):
        load_model(network, checkpoint="evil.pth")
    assert not (tmp_path / "trapped").exists()


def test_a_head_that_the_weights_lack_is_not_made_up(model_folder):
    with pytest.raises(UserError, match="head of 3 classes, not 5"):
        load_model(model_folder, num_classes=5)


def test_last_epoch_of_a_run_has_no_verdict(tmp_path, model_folder, capsys):
    shutil.copytree(model_folder, tmp_path / "last")
    (tmp_path / "config.yaml").write_text("robustvit: 0.1.0\n")
    load_model(f"local-dir:{tmp_path / 'last'}")
    assert "has no verdict" in capsys.readouterr().err


def test_bad_checkpoints_are_one_line_each(tmp_path, network):
    save_file(timm.create_model("resnet10t", num_classes=3).state_dict(), tmp_path / "other.safetensors")
    save_file({**network.state_dict(), "head.bias": torch.zeros(4)}, tmp_path / "shape.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:100])
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"note": "nothing"}, tmp_path / "empty.pth")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, word in (
        ("missing.pth", "found none"),
        ("other.safetensors", "another architecture"),
        ("shape.safetensors", "head.bias"),
        ("cut.safetensors", "cut off"),
        ("text.pth", "text.pth"),
        ("empty.pth", "state dict"),
    ):
        with pytest.raises(UserError, match=word) as caught:
            load_model(network, checkpoint=tmp_path / name)
        assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_unknown_sources_suggest_what_exists(tmp_path):
    for source, word in (
        ("vit_bas_patch16_224", "vit_base_patch16_224"),
        ("vit_base_patch16_224.augreg_in21k_ft_in1", "augreg_in21k_ft_in1k"),
        ("runs/none", "runs/none"),
        (f"local-dir:{tmp_path}", "config.json"),
        ("vit-l", "--checkpoint"),
    ):
        with pytest.raises(UserError, match=word):
            load_model(source)


@pytest.mark.parametrize("source", ["vit_tiny_patch16_224.augreg_in21k_ft_in1k", "hf-hub:nobody/nothing"])
def test_without_a_network_the_error_names_a_way_out(source, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot fetch .*--checkpoint FILE or --model FOLDER"):
        load_model(source)


@pytest.mark.parametrize("accepted", [True, False, None])
def test_a_refused_model_says_so_when_it_is_loaded(tmp_path, model_folder, capsys, accepted):
    folder = shutil.copytree(model_folder, tmp_path / "best")
    verdict = {"accepted": accepted, "sentence": "No improvement: keep the original.", "comparisons": [], "notes": []}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    load_model(tmp_path)
    said = "keep the original" in " ".join(capsys.readouterr().err.split())
    assert said == (accepted is not True)


def test_broken_model_folder(tmp_path, model_folder):
    folder = shutil.copytree(model_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architecture": "vit_unheard_of"}))
    with pytest.raises(UserError, match="local-dir"):
        load_model(folder)


def test_imagenet_models_know_their_classes():
    assert load_model("vit_tiny_patch16_224", pretrained=False).name_of(281) == "tabby"


def test_cards_hold_the_papers_settings():
    assert CARDS == ("ar-b", "ar-l", "ar-s", "deit-b", "deit-s", "vit-b", "vit-l")
    rates = {name: model_card(name).lr for name in CARDS}
    assert rates == {
        "vit-b": 3e-6, "vit-l": 9e-7, "ar-s": 2e-6, "ar-b": 6e-7, "ar-l": 9e-7, "deit-s": 1e-6, "deit-b": 8e-7,
    }  # fmt: skip
    assert [model_card(name).temperature for name in ("vit-b", "deit-s", "deit-b")] == [1, 0.55, 0.65]
    assert all(timm.is_model(model_card(name).timm_name.split(".")[0]) for name in CARDS)
    with pytest.raises(UserError, match="vit-b"):
        model_card("vit-x")


def test_read_checkpoint_keeps_names(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth").keys() == network.state_dict().keys()


def test_commands_take_a_classifier_from_python(network, photos, tmp_path):
    classifier = Classifier(network, class_names=CLASSES)
    images, masks = map(str, photos)
    photo = str(next(photos[0].glob("*/*.png")))
    shown = explain([photo], model=classifier, out=str(tmp_path / "shown"))
    assert [name for name, _ in shown[0].top["model"]]
    other = explain([photo], model=tiny_network(), baseline=classifier, out=str(tmp_path / "both"))
    assert set(other[0].top) == {"before", "after"}
    assert "VisionTransformer" in str(classifier)
    for call in (
        lambda: evaluate(model=classifier, images=images, masks=masks, baseline="original"),
        lambda: evaluate(model=classifier, on="imagenet-a", root=str(tmp_path)),
        lambda: classes(model=classifier, baseline=network, images=images, out=str(tmp_path / "classes.html")),
    ):
        with pytest.raises(UserError, match="got a Classifier"):
            call()
