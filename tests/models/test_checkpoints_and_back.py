"""Checkpoints as people hold them, through a run and back: read, trained, saved, and the same answers once more."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from helpers.small_models import SIZE, tiny_network, tiny_transformers
from robustvit import Layout, UserError, finetune, load_model, register_family, relevance
from robustvit.models import families
from robustvit.models.baseline import load_original

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
FAST = {"epochs": 1, "lr": 1e-12, "swaps": 1, "panels": 0, "validation_per_class": 2, "samples_per_class": 1}


def other_network(build=tiny_network):
    """A network with other weights than those that ``build`` gives."""
    network = build()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    return network


def prefixed(state, prefix):
    return {f"{prefix}{name}": one for name, one in state.items()}


def lightning(state, folder):
    import argparse

    content = {"state_dict": prefixed(state, "model."), "hyper_parameters": {"args": argparse.Namespace(lr=1)}}
    torch.save(content | {"pytorch-lightning_version": "2.6.6", "loops": {"fit_loop": {}}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def parallel(state, folder):
    torch.save({"model": prefixed(state, "module."), "optimizer": {}}, folder / "w.pth")
    return folder / "w.pth"


def compiled(state, folder):
    torch.save(prefixed(state, "_orig_mod."), folder / "w.pt")
    return folder / "w.pt"


def averaged(state, folder):
    content = {"state_dict": {name: one + 1 for name, one in state.items()}, "state_dict_ema": state}
    torch.save(content, folder / "last.pth.tar")
    return f"{folder / 'last.pth.tar'}#state_dict_ema"


def sharded(state, folder):
    names = list(state)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in files.items():
        save_file({name: state[name].contiguous() for name in held}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, held in files.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "model.safetensors.index.json"


def sharded_folder(state, folder):
    return sharded(state, folder).parent


def half(state, folder):
    save_file({name: one.bfloat16() for name, one in state.items()}, folder / "half.safetensors")
    return folder / "half.safetensors"


def trained(model, photos, out, **options):
    images, masks = map(str, photos)
    finetune(model=model, images=images, masks=masks, out=str(out), **(FAST | options))
    return out / "best"


@pytest.mark.parametrize("write", [lightning, parallel, compiled, averaged, sharded_folder, half])
def test_a_checkpoint_is_trained_and_loaded_again(write, model_folder, photos, tmp_path):
    network = other_network()
    checkpoint = str(write(network.state_dict(), tmp_path))
    expected, close = load_model(network)(IMAGES), 2e-2 if write is half else 1e-4
    assert not torch.allclose(load_model(model_folder)(IMAGES), expected, atol=close)
    best = trained(str(model_folder), photos, tmp_path / "run", checkpoint=checkpoint)
    assert torch.allclose(load_model(best)(IMAGES), expected, atol=close)
    assert load_file(best / "model.safetensors")["cls_token"].dtype == torch.float32
    assert torch.allclose(load_original(tmp_path / "run")(IMAGES), expected, atol=close)


@pytest.mark.parametrize("form", ["pytorch_model.bin", "sharded", "bfloat16"])
def test_a_folder_of_transformers_is_trained_and_loaded_again(form, photos, tmp_path, capsys):
    network = other_network(tiny_transformers)
    expected = load_model(network)(IMAGES)
    folder = tmp_path / "mine"
    (network.bfloat16() if form == "bfloat16" else network).save_pretrained(
        folder, max_shard_size="20KB" if form == "sharded" else "5GB"
    )
    if form == "pytorch_model.bin":
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("model-*.safetensors"))) == 0 or form == "sharded"
    best = trained(str(folder), photos, tmp_path / "run", mean="0.5", std="0.5", train="head")
    close = 2e-2 if form == "bfloat16" else 1e-4
    assert torch.allclose(load_model(best)(IMAGES), expected, atol=close)
    assert ("holds weights in bfloat16: they are computed, trained and saved in float32" in
            " ".join(capsys.readouterr().err.split())) == (form == "bfloat16")  # fmt: skip
    assert list(load_file(best / "model.safetensors")) == sorted(load_file_of(folder)), "under the names it came with"


def load_file_of(folder):
    if (folder / "pytorch_model.bin").is_file():
        return torch.load(folder / "pytorch_model.bin", weights_only=True)
    return {name: one for file in folder.glob("model*.safetensors") for name, one in load_file(file).items()}


class Mine(nn.Module):
    """A backbone with a custom head, as the page on loading models shows it."""

    def __init__(self):
        super().__init__()
        self.encoder = tiny_network(0)
        self.neck = nn.ModuleDict({"out": nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 3))})

    def forward(self, images):
        return self.neck["out"](self.encoder(images) * 2)


def test_a_backbone_with_a_head_of_ones_own_keeps_its_names(photos, tmp_path):
    network = other_network(Mine)
    torch.save({"state_dict": prefixed(network.state_dict(), "net.")}, tmp_path / "mine.ckpt")
    expected = load_model(network)(IMAGES)
    best = trained(Mine(), photos, tmp_path / "run", checkpoint=str(tmp_path / "mine.ckpt"))
    again = load_model(Mine(), checkpoint=best / "model.safetensors")
    assert torch.allclose(again(IMAGES), expected, atol=1e-4)
    plain = Mine()
    plain.load_state_dict(load_file(best / "model.safetensors"))  # without this package
    assert torch.allclose(load_model(plain)(IMAGES), expected, atol=1e-4)


def test_a_layout_of_a_few_lines_counts_for_a_head_of_ones_own(monkeypatch):
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))

    class Both(Mine):
        def forward(self, images):
            tokens = self.encoder.forward_features(images)
            return self.neck["out"](tokens[:, 0] + tokens[:, 1:].mean(dim=1))

    measured, target = load_model(Mine()), torch.tensor([0, 1])
    expected = relevance(measured, IMAGES, target)
    with pytest.raises(UserError, match="register_family can say so"):
        relevance(load_model(Both()), IMAGES, target)

    @register_family(Mine)
    def layout_of_mine(model):
        return Layout(blocks=model.encoder.blocks, patch_size=(8, 8), prefix_tokens=1, readout="class")

    assert torch.allclose(relevance(load_model(Mine()), IMAGES, target), expected, atol=1e-5)
    assert relevance(load_model(Both()), IMAGES, target).shape == (2, 1, SIZE, SIZE)


def test_what_an_index_may_name(tmp_path, model_folder):
    index = sharded(other_network().state_dict(), tmp_path)
    with pytest.raises(UserError, match=r"model-00001-of-00002\.safetensors is one of several files .* give its index"):
        load_model(model_folder, checkpoint=tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").rename(tmp_path / "gone")
    with pytest.raises(UserError, match=r"names 2 files of weights, model-00002-of-00002\.safetensors is missing"):
        load_model(model_folder, checkpoint=index)
    index.write_text(json.dumps({"weight_map": {"a": "../up.safetensors"}}))
    with pytest.raises(UserError, match="a file outside its folder"):
        load_model(model_folder, checkpoint=index)
    for text in ("[]", '{"weight_map": {"a": 3}}'):
        index.write_text(text)
        with pytest.raises(UserError, match="an index of weights with a weight_map"):
            load_model(model_folder, checkpoint=index)
    index.write_text(json.dumps({"weight_map": {"b": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(UserError, match="names the weights b, which none of its files holds"):
        load_model(model_folder, checkpoint=index)
    for name in ("a.pth", "b.pth"):
        (tmp_path / "two").mkdir(exist_ok=True)
        torch.save(tiny_network().state_dict(), tmp_path / "two" / name)
    with pytest.raises(UserError, match=r"expected one file of weights in .*, found 2 \(a\.pth, b\.pth\)"):
        load_model(model_folder, checkpoint=tmp_path / "two")


def test_an_older_run_took_the_average_of_a_checkpoint(model_folder, photos, tmp_path):
    network = other_network()
    name = averaged(network.state_dict(), tmp_path)
    trained(str(model_folder), photos, tmp_path / "run", checkpoint=name)
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("#state_dict_ema", ""))
    with pytest.raises(UserError, match="choose one with --checkpoint"):
        load_model(model_folder, checkpoint=name.partition("#")[0])
    assert torch.allclose(load_original(tmp_path / "run")(IMAGES), load_model(network)(IMAGES), atol=1e-4)


GPTQ = {"blocks.0.attn.qkv.qweight": torch.ones(3, 3, dtype=torch.int32), "head.weight": torch.ones(3, 24)}
FOUR_BITS = {"head.weight": torch.ones(36, 1, dtype=torch.uint8), "head.weight.absmax": torch.ones(2)}
EIGHT_BITS = {"head.weight": torch.ones(3, 24, dtype=torch.int8), "head.SCB": torch.ones(3), "norm.bias": torch.ones(3)}
FLOAT8 = {"head.weight": torch.ones(3, 24).to(torch.float8_e4m3fn), "norm.bias": torch.ones(3)}


@pytest.mark.parametrize("state", [GPTQ, FOUR_BITS, EIGHT_BITS, FLOAT8], ids=["gptq", "4 bits", "8 bits", "float8"])
def test_quantised_weights_are_refused_with_what_to_do(state, tmp_path, model_folder):
    save_file(state, tmp_path / "q.safetensors")
    with pytest.raises(UserError, match=r"holds quantised weights \(.*quantise the finetuned model afterwards"):
        load_model(model_folder, checkpoint=tmp_path / "q.safetensors")


def test_quantised_models_are_refused_with_what_to_do(tmp_path):
    folder = tmp_path / "q"
    tiny_transformers().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    for source in (str(folder), f"transformers:{folder}"):
        with pytest.raises(UserError, match=r"is quantised \(bitsandbytes\): finetuning needs the weights"):
            load_model(source)
    with pytest.warns(match="deprecated"):
        small = torch.ao.quantization.quantize_dynamic(tiny_network(), {nn.Linear}, torch.qint8)
    with pytest.raises(UserError, match=r"VisionTransformer is quantised .*: finetuning needs"):
        load_model(small)
    Linear4bit = type("Linear4bit", (nn.Linear,), {"__module__": "bitsandbytes.nn.modules"})
    network = tiny_network()
    network.head = Linear4bit(24, 3)
    with pytest.raises(UserError, match=r"is quantised \(its bitsandbytes\.nn\.modules\.Linear4bit\)"):
        load_model(network)


class Plain(nn.Module):
    """A backbone whose features go straight into a custom head, as most people write it."""

    def __init__(self):
        super().__init__()
        self.backbone = tiny_network(0)
        self.fc = nn.Sequential(nn.Linear(24, 8), nn.GELU(), nn.Linear(8, 3))

    def forward(self, images):
        return self.fc(self.backbone(images))


@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod."])
def test_a_head_straight_behind_a_backbone_is_read_under_its_own_names(photos, tmp_path, prefix):
    network = other_network(Plain)
    state = prefixed(network.state_dict(), prefix) | ({"criterion.weight": torch.ones(3)} if prefix else {})
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    expected = load_model(network)(IMAGES)
    assert torch.allclose(load_model(Plain(), checkpoint=tmp_path / "last.ckpt")(IMAGES), expected, atol=1e-5)
    if prefix == "model.":
        best = trained(Plain(), photos, tmp_path / "run", checkpoint=str(tmp_path / "last.ckpt"))
        again = load_model(Plain(), checkpoint=best / "model.safetensors")
        assert torch.allclose(again(IMAGES), expected, atol=1e-4)
