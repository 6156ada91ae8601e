"""Every guidance method in the one finetuning loop: what it leaves behind, resumes, refuses and changes."""

from __future__ import annotations

import inspect
import json
import shutil
from functools import cache

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file

from helpers.drawn_photos import CLASSES, without_classes, write_photos
from helpers.small_models import tiny_network
from robustvit import UserError, finetune, guided_loss, report
from robustvit.cli import main as cli
from robustvit.common.verdict_files import read_verdict
from robustvit.data.photo import Photo
from robustvit.data.selection import balance_classes
from robustvit.explanation.methods import measuring_method
from robustvit.guidance.registry import GUIDANCE, guidance_options, method_options
from robustvit.guidance.robustvit import MapGuidance
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

FAST = {"lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 3, "validation_per_class": 3, "tracker": "none"}
every_guidance = pytest.mark.parametrize("name", GUIDANCE)
HEAD = ("last-layer", "dfr")  # train nothing but the last layer


def fitting(settings, name):
    """Settings without those that a method has no use for."""
    return {option: value for option, value in settings.items() if option not in GUIDANCE[name].unused}


@pytest.fixture(scope="module")
def data(model_folder, photos):
    return {"model": str(model_folder), "images": str(photos[0]), "masks": str(photos[1])}


@pytest.fixture
def settings(data):
    return data | FAST


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """The folder of a run of one epoch with a method, not to be written to."""
    folder = tmp_path_factory.mktemp("trained")

    @cache
    def run(name):
        finetune(out=str(folder / name), guidance=name, **fitting(data | FAST | {"epochs": 1}, name))
        return folder / name

    return run


@every_guidance
def test_runs_resume_bit_for_bit_and_name_the_method(settings, tmp_path, trained, name):
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    found = finetune(out=str(whole), guidance=name, **fitting(settings | {"epochs": 2}, name))
    shutil.copytree(trained(name), halved)
    finetune(out=str(halved), guidance=name, resume=True, **fitting(settings | {"epochs": 2}, name))
    for file in ("last/model.safetensors", "best/model.safetensors", "metrics.jsonl", "after.json", "verdict.json"):
        assert (whole / file).read_bytes() == (halved / file).read_bytes(), file
    assert found.verdict.guidance == name
    assert read_verdict(whole / "verdict.json") == found.verdict
    swapped = any("trained on photos with swapped backgrounds" in note for note in found.verdict.notes)
    assert swapped == bool(GUIDANCE[name]().trained_on), "what was trained must not pass for another shift"
    assert f"guidance: {name}" in str(found)
    page = report(str(whole)).read_text()
    assert f"with {name}" in page
    assert GUIDANCE[name].source[:20] in page
    assert ("Optimizing Relevance Maps" in page) == (name == "robustvit")
    config = yaml.safe_load((whole / "config.yaml").read_text())
    assert config["guidance"] == name
    for option in guidance_options():
        assert config[option] is None or option in method_options(name), option
    other = "gradmask" if name != "gradmask" else "rrr"
    with pytest.raises(UserError, match="guidance="):
        finetune(out=str(whole), guidance=other, epochs=2, resume=True, **settings)
    if name == "dfr":
        assert (config["lr"], config["epochs"], config["select"]) == (None, None, None), "no steps, no rate"
        assert any("fitted on 12 photos, none of which judges" in note for note in found.verdict.notes)


@every_guidance
def test_the_weights_change_that_should(trained, model_folder, name):
    before = load_file(model_folder / "model.safetensors")
    after = load_file(trained(name) / "last" / "model.safetensors")
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert {"head.weight", "head.bias"} <= changed
    assert ("blocks.0.attn.qkv.weight" in changed) == (name not in HEAD)
    if name in HEAD:
        assert changed == {"head.weight", "head.bias"}
        assert yaml.safe_load((trained(name) / "config.yaml").read_text())["train"] == "head"


def test_second_term_makes_another_model_than_cross_entropy(settings, tmp_path, trained):
    weights = {}
    for name in ("cross-entropy", "gradmask", "rrr"):
        weights[name] = load_file(trained(name) / "last" / "model.safetensors")["blocks.0.attn.qkv.weight"]
    assert not torch.equal(weights["gradmask"], weights["cross-entropy"])
    assert not torch.equal(weights["rrr"], weights["cross-entropy"])
    finetune(out=str(tmp_path / "off"), guidance="gradmask", relevance_weight=0.0, epochs=1, **settings)
    off = load_file(tmp_path / "off" / "last" / "model.safetensors")["blocks.0.attn.qkv.weight"]
    assert torch.equal(off, weights["cross-entropy"]), "what the released scripts amount to"


@pytest.mark.parametrize("name", sorted(set(GUIDANCE) - {"robustvit"}))
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_convolutional_networks_and_half_precision(tmp_path, photos, name, precision):
    torch.manual_seed(0)
    small = {"input_size": (3, 64, 64)}  # half precision is slow on many a CPU
    network = timm.create_model("test_resnet", num_classes=3, pretrained_cfg_overlay=small)
    folder = save_model(Classifier(network, class_names=CLASSES), tmp_path / "model")
    held = 2 if name == "dfr" else 1  # of which one judges
    found = finetune(
        model=str(folder), images=str(photos[0]), masks=str(photos[1]), out=str(tmp_path / "run"), guidance=name,
        precision=precision, relevance="grad_cam" if issubclass(GUIDANCE[name], MapGuidance) else None,
        **fitting(FAST | {"epochs": 1, "samples_per_class": 1, "validation_per_class": held}, name),
    )  # fmt: skip
    assert found.verdict.of("miou") is not None, "relevance is measured somehow"
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert np.isfinite(row["train_loss"])
    if name in HEAD:
        before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "run" / "last"))
        changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
        assert {key.split(".")[0] for key in changed} == {"fc"}, "not even statistics change"


def test_what_measures_where_no_relevance_guides():
    assert measuring_method(None, tiny_network()) == "gae"
    assert measuring_method(None, timm.create_model("test_resnet", num_classes=3)) == "grad_cam"
    assert measuring_method(None, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))) in (
        "grad_cam",
        "input_gradient",
    )


MISTAKES = {
    "option of another method": ({"guidance": "gradmask", "foreground": 0.0}, "--foreground with --guidance gradmask"),
    "switch of another method": ({"guidance": "rrr", "second_order": True}, "--second-order"),
    "relevance of another method": ({"guidance": "cross-entropy", "relevance": "gae"}, "--relevance"),
    "balance of another method": ({"balance": "class"}, "--balance with --guidance robustvit"),
    "unknown method": ({"guidance": "grad-mask"}, "robustvit, swap-relevance, energy"),
    "weights of dfr": ({"guidance": "dfr", "train": "all"}, "--train head"),
    "weights of the last layer": ({"guidance": "last-layer", "train": "all"}, "--train head"),
    "steps of dfr": ({"guidance": "dfr"}, "expected no --lr with --guidance dfr"),
    "share": ({"guidance": "swap-augmentation", "swap_share": 2.0}, "--swap-share"),
    "weight below zero": ({"guidance": "rrr", "relevance_weight": -1.0}, "--relevance-weight"),
    "nothing to train": ({"relevance_weight": 0.0, "classification_weight": 0.0}, "nothing would be trained"),
    "balance": ({"guidance": "dfr", "balance": "photos"}, "class, background"),
    "temperature": ({"guidance": "gradmask", "temperature": 0.0}, "temperature"),
    "no weight reached": ({"train": "head", "classification_weight": 0.0}, "another --train"),
    "no weight reached, no gradient": (
        {"train": "head", "classification_weight": 0.0, "relevance": "rollout"},
        "another --train",
    ),
    "unknown recipe": ({"recipe": "cfd"}, "vit-l, recommended, paper, cft"),
    "recipe without a model": ({"recipe": "cft", "model": None}, "--model"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_write_nothing(settings, tmp_path, case):
    options, words = MISTAKES[case]
    with pytest.raises(UserError, match=words) as caught:
        finetune(out=str(tmp_path / "run"), epochs=1, **settings | options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Once(torch.autograd.Function):
    """Something that has no second derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


def test_a_model_without_second_derivative_is_refused_before_anything_is_written(settings, tmp_path):
    class Odd(torch.nn.Module):
        num_classes = 3

        def __init__(self):
            super().__init__()
            self.body = timm.create_model("test_resnet", num_classes=3)

        def forward(self, images):
            return self.body(Once.apply(images))

    network = Odd()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError, match="Odd cannot be guided by gradmask"):
        finetune(out=str(tmp_path / "run"), guidance="gradmask", epochs=1, **settings | {"model": network})
    assert list(tmp_path.iterdir()) == []
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_photos_without_classes_need_labels(settings, tmp_path, photos):
    images, masks = without_classes(photos, tmp_path / "flat", "00*.png")
    with pytest.raises(UserError, match="expected a class"):
        finetune(
            out=str(tmp_path / "run"), guidance="gradmask",
            **settings | {"images": images, "masks": masks},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_every_option_of_a_method_is_one_of_the_command():
    parameters = inspect.signature(finetune).parameters
    for option in guidance_options():
        assert parameters[option].default in (None, False), "whether it was set must be told from its default"


def test_command_line_knows_rival_methods(capsys, settings, tmp_path):
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    code = cli.main(["finetune", *words, f"--out={tmp_path / 'run'}", "--guidance", "last-layer", "--balance", "class",
                     "--epochs", "1"])  # fmt: skip
    assert code == 0
    assert "guidance: last-layer" in capsys.readouterr().out
    code = cli.main(["finetune", *words, f"--out={tmp_path / 'no'}", "--guidance", "last-layer", "--second-order"])
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1
    assert "--second-order" in said
    code = cli.main(["finetune", *words, f"--out={tmp_path / 'no'}", "--target", "nobody"])
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1
    assert "nobody" in said
    assert not (tmp_path / "no").exists()


# Balanced photos


def test_balance_classes_keeps_as_many_as_the_smallest_class_has():
    photos = [
        Photo(f"{name}{i}", class_name=name) for name, count in (("a", 4), ("b", 2), ("c", 3)) for i in range(count)
    ]
    assert [photo.image for photo in balance_classes(photos)] == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert balance_classes([]) == []


def test_last_layer_trains_on_equally_many_photos_of_every_class(settings, tmp_path):
    images, masks = write_photos(tmp_path / "data", 6)
    for folder in (images, masks):
        for number in (3, 4, 5):
            (folder / "frame" / f"{number:03d}.png").unlink()
    given = settings | {"images": str(images), "masks": str(masks), "epochs": 1}
    counts = {}
    for name in ("cross-entropy", "last-layer"):
        found = finetune(out=str(tmp_path / name), guidance=name, **given)
        rows = (tmp_path / name / "selection.csv").read_text().splitlines()
        counts[name] = [sum(row.startswith(f"train,{kind},") for row in rows) for kind in CLASSES]
        balanced = "Classes were balanced: trained on 2 photos of each"
        assert any(balanced in note for note in found.verdict.notes) == (name == "last-layer")
    assert counts == {"cross-entropy": [3, 2, 3], "last-layer": [2, 2, 2]}


@pytest.mark.parametrize("guidance", ["robustvit", "rrr", "last-layer"])
def test_runs_of_older_versions_are_resumed_and_shown(settings, tmp_path, guidance):
    """Their settings lack the rate, the normalization and the number of classes; the last layer was called dfr."""
    given = settings | {"guidance": guidance}
    del given["lr"]
    finetune(out=str(tmp_path / "r"), epochs=1, **given)
    path = tmp_path / "r" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config |= {"lr": None, "normalization": None, "num_classes": None}
    if guidance == "rrr":
        config["relevance_weight"] = None
    config["guidance"] = "dfr" if guidance == "last-layer" else guidance
    path.write_text(yaml.safe_dump(config))
    page = report(str(tmp_path / "r")).read_text()
    assert f"with {guidance}" in page
    assert f"<dt>lr</dt><dd>{1e-3 if guidance == 'last-layer' else 2e-6}</dd>" in page
    with pytest.raises(UserError, match="lr="):
        finetune(out=str(tmp_path / "r"), epochs=2, resume=True, lr=0.1, **given)
    finetune(out=str(tmp_path / "r"), epochs=2, resume=True, **given)
    assert yaml.safe_load(path.read_text())["lr"] == (1e-3 if guidance == "last-layer" else 2e-6)


def test_one_call_from_python():
    network, images = tiny_network(), torch.rand(2, 3, 48, 48)
    masks = (images[:, :1] > 0.5).float()
    guided = guided_loss(network, images, masks, torch.tensor([0, 1]), guidance="rrr", relevance_weight=1e-3)
    guided.loss.backward()
    assert network.patch_embed.proj.weight.grad.any()
    with pytest.raises(UserError, match="relevance_weight"):
        guided_loss(network, images, masks, torch.tensor([0, 1]), guidance="rrr", foreground=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--classification-weight", "0"], ["--guidance", "last-layer"], ["--guidance", "gradmask"]]
)
def test_several_processes(settings, tmp_path, options, server):
    """Weights that get no gradient must not leave other processes waiting."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = ["finetune", *words, "--device", "cpu", "--epochs", "2", "--out", tmp_path / "run", *options]
    assert server.run(command, 2) == 0, server.said()
    assert server.counted() == [2, 2]
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
