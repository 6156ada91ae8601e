"""Model folders that ask for more than a machine has; a test for each row of docs/reference/hostile-files.md."""

from __future__ import annotations

import json
import resource
import time

import pytest
import torch

from helpers.hostile import changed_model, refusal
from helpers.small_models import tiny_torchvision, tiny_transformers
from robustvit import Classifier, load_model
from robustvit.models.save import save_model


@pytest.fixture(autouse=True)
def small_and_quick():
    """Nothing of the size asked for is built."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kilobytes"
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"depth": 10**9}, "config.json says depth 1000000000, more than 256"),
        ({"depth": 1e300}, "more than 256"),
        ({"embed_dim": 10**12}, "cannot load"),
        ({"embed_dim": 3 * 2**14, "num_heads": 3}, "network of"),
        ({"img_size": 60_000}, "network of"),
        ({"mlp_ratio": 1e5}, "network of"),
        ({"reg_tokens": 10**9}, "network of"),
    ],
)
def test_model_of_timm_that_is_too_large(tmp_path, model_folder, arguments, word):
    own = json.loads((model_folder / "config.json").read_text())["model_args"]
    folder = changed_model(model_folder, tmp_path / "m", model_args=own | arguments)
    assert word in refusal(lambda: load_model(str(folder)))
    state = tmp_path / "w.pth"
    torch.save({"head.weight": torch.ones(3, 24)}, state)
    assert word in refusal(lambda: load_model(str(folder), checkpoint=state))
    assert word in refusal(lambda: load_model(str(folder), head="none"))


@pytest.mark.parametrize("own", [{"crop_pct": 0.004}, {"crop_pct": 1e-300}])
def test_model_preprocessing_that_is_too_large(tmp_path, model_folder, own):
    config = json.loads((model_folder / "config.json").read_text())["pretrained_cfg"]
    folder = changed_model(model_folder, tmp_path / "m", pretrained_cfg=config | own)
    assert refusal(lambda: load_model(str(folder))) != ""


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"num_hidden_layers": 10**9}, "says num_hidden_layers"),
        ({"hidden_size": 3 * 2**14}, "network of"),
        ({"image_size": 60_000}, "network of"),
        ({"intermediate_size": 10**15}, "cannot load"),
    ],
)
def test_model_of_transformers_that_is_too_large(tmp_path, settings, word):
    tiny_transformers().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | settings))
    assert word in refusal(lambda: load_model(str(tmp_path)))
    assert word in refusal(lambda: load_model(f"transformers:{tmp_path}"))


def test_model_image_processor_that_is_too_large(tmp_path):
    folder = save_model(load_model(tiny_transformers()), tmp_path / "m")
    file = folder / "preprocessor_config.json"
    config = json.loads(file.read_text())
    for change in ({"size": {"shortest_edge": 60_000}}, {"size": {"shortest_edge": 10**9}}):
        file.write_text(json.dumps(config | change))
        assert refusal(lambda: load_model(str(folder))) != ""


@pytest.mark.parametrize("change", [{"num_layers": 10**9}, {"hidden_dim": 3 * 2**14}, {"image_size": 60_000}])
def test_model_of_torchvision_that_is_too_large(tmp_path, change):
    folder = save_model(Classifier(tiny_torchvision()), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    assert "cannot load" in refusal(lambda: load_model(str(folder)))


def test_model_head_that_is_too_large_or_unknown(tmp_path):
    network = tiny_torchvision()
    network.heads = torch.nn.Linear(24, 3)
    folder = save_model(load_model(network), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    for layer in (["", "Linear", {"in_features": 24, "out_features": 10**9}], ["", "Transformer", {}], ["", "x"]):
        (folder / "config.json").write_text(json.dumps(config | {"own_head": [layer]}))
        assert refusal(lambda: load_model(str(folder))) != ""
    (folder / "config.json").write_text("[" + "1," * 5_000_000 + "1]")
    assert "MB, so it is broken" in refusal(lambda: load_model(str(folder)))
