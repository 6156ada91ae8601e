"""Adapters of peft: put on their model, merged or trained as they are, and saved as they came."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.small_models import SIZE, tiny_network, tiny_transformers
from robustvit import UserError, evaluate, finetune, load_model, relevance
from robustvit.models.baseline import load_original
from robustvit.models.load import load_by_options
from robustvit.models.options import ModelOptions
from robustvit.models.parameters import trainable
from robustvit.models.save import restore_weights, save_model
from robustvit.training.schedule import Schedule

IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
FAST = {"epochs": 1, "lr": 1e-2, "swaps": 1, "panels": 0, "validation_per_class": 2, "samples_per_class": 1}


def adapted(network, layers, head, **options):
    """A model of peft whose adapter changes what the network answers."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(1)
    settings = {"r": 2, "lora_alpha": 8, "target_modules": layers, "modules_to_save": head, "init_lora_weights": False}
    return peft.get_peft_model(network, peft.LoraConfig(**(settings | options))).eval()


@pytest.fixture
def timm_adapter(tmp_path, model_folder):
    """The folder of an adapter on the model of ``model_folder``, its answers, and the model of peft."""
    model = adapted(tiny_network(), ["qkv"], ["head"])
    model.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora", model(scaled(model_folder)).detach(), model


def scaled(folder):
    """The images as the network of a folder receives them."""
    classifier = load_model(folder)
    return (IMAGES - classifier.mean) / classifier.std


def close(one, other):
    return torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("file", ["", "adapter_model.safetensors"])
def test_an_adapter_is_merged_into_the_model_it_was_made_for(timm_adapter, model_folder, tmp_path, capsys, file):
    folder, expected, _ = timm_adapter
    classifier = load_model(model_folder, checkpoint=folder / file)
    assert close(classifier(IMAGES), expected)
    assert not close(load_model(model_folder)(IMAGES), expected)
    assert "is merged into the weights of VisionTransformer" in " ".join(capsys.readouterr().err.split())
    assert all(weight.requires_grad for weight in classifier.parameters()), "peft freezes what it is put on"
    assert close(load_model(save_model(classifier, tmp_path / "saved"))(IMAGES), expected)
    assert not (tmp_path / "saved" / "adapter").exists()


def test_an_adapter_kept_apart_gives_the_same_answers_and_maps(timm_adapter, model_folder, tmp_path):
    folder, expected, model = timm_adapter
    merged = load_model(model)
    of_folder = ModelOptions(checkpoint=str(folder))
    for kept in (
        load_by_options(model_folder, of_folder, keep_adapter=True),
        load_by_options(model, ModelOptions(), keep_adapter=True),
    ):
        assert close(kept(IMAGES), expected)
        for method in ("gae", "attnlrp", "grad_cam"):
            maps = [relevance(one, IMAGES, torch.tensor([0, 1]), method=method) for one in (kept, merged)]
            assert close(*maps), method
        with trainable(kept, "adapter") as chosen:
            assert len(chosen) == 3 * 2 + 2, "two matrices of each block, and the head"
            assert sum(weight.requires_grad for weight in kept.parameters()) == len(chosen)
        saved = save_model(kept, tmp_path / "saved")
        assert close(load_model(saved)(IMAGES), expected)
        with torch.no_grad():
            for weight in chosen:
                weight.zero_()
        restore_weights(kept, saved)
        assert close(kept(IMAGES), expected)
    assert close(model(scaled(model_folder)), expected), "what was given did not change"


def test_only_the_adapter_is_trained_and_comes_back_in_its_own_layout(timm_adapter, model_folder, photos, tmp_path):
    import peft

    folder, expected, _ = timm_adapter
    images, masks = map(str, photos)
    options = {"images": images, "masks": masks, "checkpoint": str(folder), "train": "adapter", **FAST}
    finetune(model=str(model_folder), out=str(tmp_path / "run"), **options)
    best = tmp_path / "run" / "best"
    after = load_model(best)(IMAGES)
    assert not close(after, expected), "it was trained"
    theirs = peft.PeftModel.from_pretrained(tiny_network(), best / "adapter").eval()
    assert close(theirs(scaled(model_folder)), after), "without this package"
    assert (
        load_file(best / "adapter" / "adapter_model.safetensors").keys()
        == load_file(folder / "adapter_model.safetensors").keys()
    )
    before, now = load_model(model_folder).network.state_dict(), load_model(best).network.state_dict()
    assert [name for name in now if not close(before[name], now[name])] == [
        *(f"blocks.{number}.attn.qkv.weight" for number in range(3)), "head.weight", "head.bias"
    ]  # fmt: skip
    assert close(load_original(tmp_path / "run")(IMAGES), expected)
    found = evaluate(model=str(tmp_path / "run"), baseline="original", images=images, masks=masks, include_trained=True)
    assert found.verdict is not None


def test_a_run_with_an_adapter_is_resumed(timm_adapter, photos, tmp_path):
    _, _, model = timm_adapter
    images, masks = map(str, photos)
    options = {"images": images, "masks": masks, "train": "adapter", **FAST, "model": model, "epochs": 2}
    finetune(out=str(tmp_path / "run"), **options)
    verdict = (tmp_path / "run" / "verdict.json").read_text()
    (tmp_path / "run" / "verdict.json").unlink()
    finetune(out=str(tmp_path / "run"), resume=True, **options)
    assert (tmp_path / "run" / "verdict.json").read_text() == verdict


def test_an_adapter_of_transformers_names_its_model(tmp_path, photos):
    base = tiny_transformers(num_labels=7)
    base.save_pretrained(tmp_path / "base")
    transformers = pytest.importorskip("transformers")
    network = transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path / "base", num_labels=3, ignore_mismatched_sizes=True
    )
    model = adapted(network, ["q_proj", "v_proj"], ["classifier"])
    model.save_pretrained(tmp_path / "lora")
    classifier = load_model(tmp_path / "lora", preprocessing={"mean": 0.5, "std": 0.5})
    assert classifier.num_classes == 3, "the head is the adapter's"
    assert close(classifier(IMAGES), model((IMAGES - 0.5) / 0.5).logits)
    again = load_model(save_model(classifier, tmp_path / "saved"))
    assert close(again(IMAGES), classifier(IMAGES))


def test_adapters_that_do_not_fit_are_refused_in_one_line(timm_adapter, model_folder, tmp_path):
    folder, _, _ = timm_adapter
    with pytest.raises(UserError, match=r"does not say which model it was made for: name that with --model"):
        load_model(folder)
    with pytest.raises(
        UserError, match=r"cannot put the adapter in .* on ViTForImageClassification \(.*name the model"
    ):
        load_model(tiny_transformers(), checkpoint=folder, preprocessing={"mean": 0.5, "std": 0.5})
    file = folder / "adapter_model.safetensors"
    state = load_file(file)
    save_file(dict(list(state.items())[1:]), file)
    with pytest.raises(UserError, match=r"does not fit its settings or the model: it lacks"):
        load_model(model_folder, checkpoint=folder)
    file.unlink()
    with pytest.raises(UserError, match=r"expected adapter_model\.safetensors beside"):
        load_model(model_folder, checkpoint=folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(UserError, match="expected settings of an adapter of peft"):
        load_model(model_folder, checkpoint=folder)


def test_what_else_trains_an_adapter(model_folder):
    with (
        pytest.raises(UserError, match="a model with an adapter for --train adapter"),
        trainable(load_model(model_folder), "adapter"),
    ):
        pass
    with pytest.raises(UserError, match="--weight-interpolation 1 with --train adapter"):
        Schedule(lr=1e-3, epochs=1, batch_size=1, seed=0, train="adapter", weight_interpolation="auto")


def test_without_peft_its_extra_is_named(model_folder, tmp_path, monkeypatch):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    save_file({"base_model.model.head.weight": torch.ones(3, 24)}, tmp_path / "adapter_model.safetensors")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"needs peft, which is not installed: pip install 'robustvit\[peft\]'"):
        load_model(model_folder, checkpoint=tmp_path)
