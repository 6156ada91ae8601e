"""Checkpoints as training scripts write them: where the weights lie, under which names, and what lies beside them."""

from __future__ import annotations

import copy
import datetime
from collections import defaultdict
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from helpers.small_models import tiny_network, tiny_torchvision, tiny_transformers
from robustvit import UserError, load_model
from robustvit.models.heads import count_head_classes
from robustvit.models.state_dicts import fit_names, is_averaged, read_checkpoint


@pytest.fixture
def good(network):
    return network.state_dict()


@pytest.fixture
def noise(good):
    return {name: torch.randn_like(one) for name, one in good.items()}


def prefixed(state, prefix):
    return {f"{prefix}{name}": one for name, one in state.items()}


def loaded(content, path, network=None):
    """The weights that the tiny model has once a checkpoint with this content is loaded."""
    torch.save(content, path)
    blank = copy.deepcopy(tiny_network() if network is None else network)
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.zero_()
    return load_model(blank, checkpoint=path).network.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "ema", "ema_model", "averaged_model", "swa_state"])
def test_weights_and_their_average_are_asked_about(tmp_path, good, noise, name):
    path = tmp_path / "last.pth.tar"
    with pytest.raises(
        UserError, match=rf"weights \(state_dict\) and their average \({name}\): .*#{name} .*#state_dict"
    ):
        loaded({"epoch": 3, "state_dict": noise, name: good}, path)
    assert same(read_checkpoint(f"{path}#{name}"), good)
    assert torch.equal(read_checkpoint(f"{path}#state_dict")["cls_token"], noise["cls_token"])
    with pytest.raises(UserError, match=f"its entries with weights are: state_dict, {name}"):
        read_checkpoint(f"{path}#model")


def test_words_that_only_look_like_averages():
    assert not any(map(is_averaged, ("schema", "semantic.head", "scheme", "student", "module.", "state_dict")))
    assert all(map(is_averaged, ("model_ema", "ema.module.", "EMA", "teacher", "model-ema", "ema_model.")))


@pytest.mark.parametrize("place", ["model_ema", "model_state", "net", "weights.inner", "my_run", "ema.module"])
def test_weights_are_found_under_any_name(tmp_path, good, place, capsys):
    content = good
    for name in reversed(place.split(".")):
        content = {name: content}
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    content |= {"optimizer": optimizer, "best_acc1": torch.tensor(80.0), "step": torch.tensor([5])}
    assert same(loaded(content, tmp_path / "w.pth"), good)
    assert "average" not in capsys.readouterr().err, "there is nothing to choose"


def test_teacher_and_student_as_self_distillation_saves_them(tmp_path, good, noise):
    wrapped = prefixed(good, "module.")
    with pytest.raises(UserError, match=r"w\.pth#teacher .* or .*w\.pth#student"):
        loaded({"student": noise, "teacher": wrapped, "epoch": 1}, tmp_path / "w.pth")
    assert same(load_model(tiny_network(), checkpoint=f"{tmp_path / 'w.pth'}#teacher").network.state_dict(), good)


def test_of_several_state_dicts_none_is_guessed(tmp_path, good, noise, capsys):
    torch.save({"generator": good, "critic": noise}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"several state dicts, generator, critic: .* w\.pth#ENTRY"):
        read_checkpoint(tmp_path / "w.pth")
    assert torch.equal(read_checkpoint(f"{tmp_path / 'w.pth'}#critic")["cls_token"], noise["cls_token"])
    assert same(loaded({"best": noise, "model": good}, tmp_path / "usual.pth"), good)
    assert "model is used, not best" in " ".join(capsys.readouterr().err.split())


def test_without_weights_the_entries_are_named(tmp_path):
    torch.save({"epoch": 3, "args": {"lr": 0.1}}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"found none \(epoch, args\)"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "prefix", ["model.", "net.", "backbone.", "module.", "_orig_mod.module.", "model._orig_mod.", "a.b.c.d.e."]
)
def test_any_prefix_that_the_names_share_is_taken_off(tmp_path, good, prefix):
    assert same(loaded(prefixed(good, prefix), tmp_path / "w.pth"), good)


def test_weights_beside_the_model_are_left_out_and_named(tmp_path, good, capsys):
    content = prefixed(good, "model._orig_mod.") | {"criterion.weight": torch.ones(3), "metric.total": torch.ones(1)}
    assert same(loaded({"state_dict": content}, tmp_path / "w.ckpt"), good)
    assert "left out: criterion.weight, metric.total" in " ".join(capsys.readouterr().err.split())


def test_an_average_inside_the_names(tmp_path, good, noise):
    content = prefixed(noise, "online_model.") | prefixed(good, "ema_model.") | {"initted": torch.tensor(True)}
    with pytest.raises(UserError, match=r"their average \(ema_model\): .*w\.pth#ema_model .*w\.pth#online_model"):
        loaded(content, tmp_path / "w.pth")
    assert same(load_model(tiny_network(), checkpoint=f"{tmp_path / 'w.pth'}#ema_model").network.state_dict(), good)
    torch.save(noise | prefixed(good, "ema.module."), tmp_path / "two.pth")
    assert same(load_model(tiny_network(), checkpoint=f"{tmp_path / 'two.pth'}#ema").network.state_dict(), good)
    with pytest.raises(UserError, match=r"several models, left\., right\."):
        fit_names(prefixed(noise, "left.") | prefixed(good, "right."), good, "w.pth")


def test_averaged_model_of_torch(tmp_path, network, good):
    averaged = AveragedModel(network)
    assert same(loaded(averaged.state_dict(), tmp_path / "w.pth"), good)
    assert same(loaded({"model": averaged.state_dict(), "n": 3}, tmp_path / "nested.pth"), good)


def test_a_checkpoint_that_lightning_wrote(tmp_path, network, good, capsys):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self, where):
            super().__init__()
            self.save_hyperparameters()
            self.model = network
            self.loss = nn.CrossEntropyLoss(weight=torch.ones(3))

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    module = Module(where=Path("runs") / "mine")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_steps=0, default_root_dir=tmp_path, **quiet)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    capsys.readouterr()
    blank = tiny_network()
    nn.init.zeros_(blank.head.weight)
    assert same(load_model(blank, checkpoint=tmp_path / "last.ckpt").network.state_dict(), good)
    assert "loss.weight" in capsys.readouterr().err
    assert count_head_classes(read_checkpoint(tmp_path / "last.ckpt")) == 3


def test_a_head_under_another_name_is_the_head(tmp_path, good, capsys):
    bare = {name: one for name, one in good.items() if not name.startswith("head.")}
    head = {"weight": good["head.weight"], "bias": good["head.bias"]}
    for name, rest in (("head.1.", bare), ("fc.", prefixed(bare, "backbone.")), ("linear.", prefixed(bare, "a."))):
        assert same(loaded(rest | prefixed(head, name), tmp_path / "w.pth"), good), name
        assert f"{name[:-1]} is used as the head" in " ".join(capsys.readouterr().err.split())
    two = {"fc.0.weight": torch.ones(8, 24), "fc.0.bias": torch.ones(8), "fc.2.weight": torch.ones(3, 8)}
    with pytest.raises(UserError, match=r"it lacks head\.weight \(1 more difference\); name the model"):
        loaded(prefixed(bare, "backbone.") | two, tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ({"head.weight": 7}, 7),
        ({"model.head.weight": 7, "model.norm.weight": None, "criterion.weight": None}, 7),
        ({"backbone.blocks.0.weight": 4, "fc.weight": 7}, 7),
        ({"head.1.weight": 7}, 7),
        ({"head.0.weight": 64, "head.3.weight": 7}, 7),
        ({"module.heads.head.weight": 7}, 7),
        ({"overhead.weight": 7}, None),
        ({"student.head.weight": 7, "teacher.head.weight": 8}, None),
    ],
)
def test_head_size_in_a_state_dict(names, classes):
    state = {name: torch.ones(3) if rows is None else torch.ones(rows, 4) for name, rows in names.items()}
    assert count_head_classes(state) == classes


def test_checkpoints_of_wrapped_models_of_other_libraries(tmp_path):
    for build in (tiny_transformers, tiny_torchvision):
        network = build()
        content = {"state_dict": prefixed(network.state_dict(), "model.") | {"loss.weight": torch.ones(3)}}
        assert same(loaded(content, tmp_path / "w.ckpt", network), network.state_dict())
    tiny_transformers().save_pretrained(tmp_path / "saved")
    stored = read_checkpoint(tmp_path / "saved" / "model.safetensors")  # under the names of files, not of the module
    content = prefixed(stored, "model.")
    assert same(loaded(content, tmp_path / "w.ckpt", tiny_transformers()), tiny_transformers().state_dict())


def test_safetensors_are_known_by_their_content(tmp_path, good):
    for name in ("W.SAFETENSORS", "model.safetensors.tmp", "w.bin", "w.ckpt"):
        save_file(good, tmp_path / name)
        assert same(read_checkpoint(tmp_path / name), good), name


def test_harmless_things_beside_the_weights(tmp_path, good):
    losses = defaultdict(list, {"train": [np.float64(0.5)]})
    content = {
        "state_dict": good,
        "best_acc": np.float32(0.9),
        "history": np.arange(3),
        "losses": losses,
        "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "hyper_parameters": {"out": Path("runs") / "mine", "windows": PureWindowsPath("C:/runs")},
        "generator": np.random.get_state(),
    }
    assert same(loaded(content, tmp_path / "w.ckpt"), good)


def test_what_could_run_code_is_named(tmp_path, network):
    torch.save({"model": network}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"VisionTransformer \(a whole model, .*\), which could run"):
        read_checkpoint(tmp_path / "w.pth")
    torch.save({"state_dict": {}, "split": np.vectorize(len)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="vectorize, which could run code"):
        read_checkpoint(tmp_path / "w.pth")


def test_files_that_hold_no_weights_of_pytorch_are_called_by_name(tmp_path, good):
    np.savez(tmp_path / "jax.npz", a=np.ones(3))
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.pt")
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    (tmp_path / "lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html></html>")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    for name, word in (
        ("jax.npz", "NumPy arrays"),
        ("script.pt", "TorchScript"),
        ("keras.h5", "Keras"),
        ("lfs.pth", "Git LFS"),
        ("page.pth", "web page"),
        ("config.json", "JSON"),
    ):
        with pytest.raises(UserError, match=f"{name} .*{word}"):
            read_checkpoint(tmp_path / name)
    adapter = {"base_model.model.blocks.0.attn.qkv.lora_A.weight": torch.ones(2, 2)}
    save_file(adapter, tmp_path / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"adapter \(LoRA\)"):
        load_model(tiny_network(), checkpoint=tmp_path / "adapter_model.safetensors")


def test_resampled_positions_are_said_and_the_right_size_is_offered(tmp_path, capsys):
    name = "vit_tiny_patch16_224"
    weights = load_model(name, pretrained=False, num_classes=3, preprocessing={"input_size": 64})
    torch.save(weights.network.state_dict(), tmp_path / "w.pth")
    capsys.readouterr()
    assert load_model(name, checkpoint=tmp_path / "w.pth").preprocessing.input_size == (224, 224)
    said = " ".join(capsys.readouterr().err.split())
    assert "of 4 x 4 patches, this model has 14 x 14: resampled; --input-size 64" in said
    kept = load_model(name, checkpoint=tmp_path / "w.pth", preprocessing={"input_size": 64})
    assert torch.equal(kept.network.pos_embed, weights.network.pos_embed)
    assert kept(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    assert not capsys.readouterr().err
