"""Export and push: what others get loads, says what it is, and holds nothing of this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import yaml

from helpers.drawn_photos import CLASSES
from helpers.fake_hub import fake_hub
from helpers.small_models import tiny_torchvision, tiny_transformers
from robustvit.cli.main import main
from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.common.verdict_files import read_verdict, write_verdict
from robustvit.common.wording import signed, with_minus
from robustvit.explanation.maps import relevance
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.models.load import load_model
from robustvit.models.origin import describe_base_model
from robustvit.models.save import save_model
from robustvit.sharing.export import export
from robustvit.sharing.folder import read_finished, write_shared
from robustvit.sharing.machine_paths import check_shareable, machine_paths, without_paths
from robustvit.sharing.onnx import _compare, write_onnx
from robustvit.sharing.push import push
from robustvit.training.finetune import finetune


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, model_folder, photos):
    out = tmp_path_factory.mktemp("shared") / "run"
    images, masks = map(str, photos)
    finetune(
        model=f"local-dir:{model_folder}", images=images, masks=masks, out=str(out), samples_per_class=2, epochs=1,
        train="attention", panels=2, tracker="none", lr=1e-3,
    )  # fmt: skip
    return out


@pytest.fixture
def run(tmp_path, finished_run):
    """The run as the user's own, which a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def decided(run: Path, accepted: bool | None, **changes) -> None:
    outcome = {True: "better", False: "worse", None: "cost-open"}[accepted]
    verdict = replace(read_verdict(run / "verdict.json"), accepted=accepted, **{"outcome": outcome} | changes)
    write_verdict(verdict, run / "verdict.json")


def one_line(captured) -> str:
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_timm_loads_the_export_and_says_the_same(run, tmp_path, capsys):
    out = tmp_path / "shared"
    assert main(["export", str(run), "--out", str(out)]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == {"README.md", "config.json", "model.safetensors", "verdict.json"}
    network = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    classifier = load_model(run)
    images = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        expected = classifier(images)
        torch.testing.assert_close(network((images - classifier.mean) / classifier.std), expected, rtol=0, atol=0)
    assert load_model(out).class_names == CLASSES
    assert (out / "model.safetensors").read_bytes() == (run / "best" / "model.safetensors").read_bytes()


def test_notes_name_no_folder_of_the_author(run, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"test_images": "photos/test"}))
    decided(run, True, notes=("63 photos of photos/test left out: 63 with a doubtful mask.",))
    export(str(run), out=str(tmp_path / "shared"))
    for name in ("README.md", "verdict.json"):
        text = (tmp_path / "shared" / name).read_text()
        assert "63 photos of a local folder left out" in text
        assert "photos/test" not in text


def test_card_says_what_the_model_is(run, tmp_path):
    decided(run, False, notes=(f"Look at {run}/before.json for more.",))
    export(str(run), out=str(tmp_path / "shared"))
    card = (tmp_path / "shared" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["license"] == "unknown"
    assert data["library_name"] == "timm"
    assert data["pipeline_tag"] == "image-classification"
    verdict = read_verdict(run / "verdict.json")
    assert with_minus(verdict.sentence).split(" (")[0] in body
    assert "it should not replace" in body
    assert "Look at a local file for more." in body
    assert "6 photos of 3 classes, 6 of them with a foreground mask (2 per class)" in body
    ordinary = verdict.of("ordinary")
    assert f"| ordinary accuracy | {100 * ordinary.before.mean:.1f} [" in body
    assert f"| {signed(100 * ordinary.difference.mean)} [" in body
    for heading in ("Intended use", "Limits", "Licence", "Training data", "Results"):
        assert f"## {heading}" in body
    assert "| lr | 0.001 |" in body
    assert "timm fills that in" in body or "Not known: look it up." in body


def test_card_lists_what_a_recipe_set(run, tmp_path):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings |= {"recipe": "own", "lr": None, "normalization": None}
    del settings["lr_schedule"]  # as versions wrote it to which own meant attention at 1e-4
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    export(str(run), out=str(tmp_path / "shared"))
    listed = (tmp_path / "shared" / "README.md").read_text().splitlines()
    assert {"| recipe | own |", "| lr | 0.0001 |", "| normalization | model |"} <= set(listed)


@pytest.mark.parametrize(
    ("accepted", "outcome", "words"),
    [
        (None, "cost-open", "the loss of ordinary accuracy stays within the limit"),
        (False, "not-shown", "This model has not been shown to be better"),
        (False, "worse", "it should not replace the original model"),
        (None, None, "This model has not been shown to be better"),
        (False, None, "it should not replace the original model"),
    ],
)
def test_card_says_which_outcome_it_was(run, tmp_path, accepted, outcome, words):
    decided(run, accepted, outcome=outcome)
    export(str(run), out=str(tmp_path / "shared"))
    assert words in (tmp_path / "shared" / "README.md").read_text()


def test_card_of_an_accepted_model_does_not_warn(run, tmp_path):
    decided(run, True, sentence="Better on shifted backgrounds by +9.0 ± 1.0 points at no cost.")
    export(str(run), out=str(tmp_path / "shared"), license="mit")
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "should not replace" not in card
    assert "license: mit" in card
    assert "mit (stated by the author)" in card


@pytest.mark.slow
def test_onnx_gives_the_same_logits_for_any_batch(run, tmp_path, capsys):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "shared"
    classifier = load_model(run)
    images = torch.rand(2, 3, 48, 48)
    relevance(classifier, images)  # what intercepts attention must be gone
    assert main(["export", str(run), "--out", str(out), "--format", "onnx"]) == 0
    assert "largest difference from PyTorch's logits" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == {"README.md", "config.json", "model.onnx", "verdict.json"}
    session = runtime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert entry.name == "images"
    assert entry.shape[1:] == [3, 48, 48]
    for images in (
        torch.rand(1, 3, 48, 48),
        torch.zeros(3, 3, 48, 48),
        torch.ones(4, 3, 48, 48),
        torch.rand(7, 3, 48, 48),
    ):
        with torch.no_grad():
            expected = classifier(images)
        found = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    raw = (out / "model.onnx").read_bytes()
    assert b"site-packages" not in raw
    assert b".py" not in raw
    model = onnx.load(out / "model.onnx")
    onnx.checker.check_model(model)
    assert json.loads({p.key: p.value for p in model.metadata_props}["label_names"]) == list(CLASSES)
    assert "Do not normalize" in (out / "README.md").read_text()
    assert json.loads((out / "config.json").read_text())["label_names"] == list(CLASSES)


@pytest.mark.slow
def test_onnx_of_multi_head_attention_and_one_that_differs(tmp_path):
    for module in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    classifier = Classifier(tiny_torchvision()).eval()
    assert write_onnx(classifier, tmp_path / "model.onnx") < 1e-4
    classifier.network.heads[-1].bias.data.add_(0.01)
    with pytest.raises(UserError, match="logits differ from"):
        _compare(classifier, tmp_path / "model.onnx")


def test_transformers_export_loads_there(tmp_path, photos):
    transformers = pytest.importorskip("transformers")
    images, masks = map(str, photos)
    base, run, out = tmp_path / "base", tmp_path / "run", tmp_path / "shared"
    save_model(Classifier(tiny_transformers(), class_names=CLASSES), base)
    finetune(model=f"transformers:{base}", images=images, masks=masks, out=str(run), epochs=1, tracker="none", panels=0)
    with pytest.raises(UserError, match="a transformers model, which timm cannot load"):
        export(str(run), out=str(out), format="timm")
    assert not out.exists()
    export(str(run), out=str(out))
    network = transformers.AutoModelForImageClassification.from_pretrained(out).eval()
    classifier, pixels = load_model(run), torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        found = network(pixel_values=(pixels - classifier.mean) / classifier.std).logits
        torch.testing.assert_close(found, classifier(pixels), rtol=0, atol=0)
    assert "AutoModelForImageClassification" in (out / "README.md").read_text()


def test_export_refuses_in_one_line(run, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    assert main(["export", str(run), "--out", str(full)]) == 2
    assert "is not empty" in one_line(capsys.readouterr())
    assert [file.name for file in full.iterdir()] == ["mine.txt"]
    (run / "verdict.json").unlink()
    assert main(["export", str(run), "--out", str(tmp_path / "new")]) == 2
    assert "is not finished" in one_line(capsys.readouterr())
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "expected a run folder" in one_line(capsys.readouterr())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("broken", [True, False])
def test_export_needs_the_verdict_of_the_run_alone(run, tmp_path, broken, capsys):
    """The copy in ``best/`` warns those who load the model, and older versions wrote none."""
    copy = run / "best" / "verdict.json"
    copy.unlink(missing_ok=True)
    if broken:
        copy.write_text("{")
    assert main(["export", str(run), "--out", str(tmp_path / "shared")]) == 0
    assert "no verdict" not in capsys.readouterr().err
    assert read_verdict(tmp_path / "shared" / "verdict.json") == read_verdict(run / "verdict.json")


def test_a_failed_export_leaves_nothing(run, tmp_path):
    settings = json.loads((run / "best" / "config.json").read_text())
    settings["note"] = str(run / "before.json")
    (run / "best" / "config.json").write_text(json.dumps(settings))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"config\.json contains a path of this machine"):
        export(str(run), out=str(tmp_path / "shared"))
    assert sorted(tmp_path.iterdir()) == before


def pushing(monkeypatch, hub, token="hf_fake"):
    """huggingface_hub reads its environment once, at import; a process of its own is tested below."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", token)


@pytest.mark.parametrize("process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_arrives_is_the_export(run, tmp_path, process, monkeypatch, capsys):
    decided(run, True)
    command = ["push", str(run), "someone/my-vit", "--private"]
    with fake_hub() as hub:
        if process:
            environment = os.environ | {
                "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token,
                "HF_HOME": str(tmp_path / "hf"),
            }  # fmt: skip
            whole = [sys.executable, "-m", "robustvit.cli", *command]
            done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)
            code, said, error = done.returncode, done.stdout, done.stderr
        else:
            pushing(monkeypatch, hub)
            code, (said, error) = main(command), capsys.readouterr()
    assert code == 0, error
    assert f"{hub.endpoint}/someone/my-vit" in said
    assert hub.repositories == {"someone/my-vit": "private"}
    arrived = hub.files["someone/my-vit", "main"]
    expected = tmp_path / "expected"
    expected.mkdir()
    write_shared(*read_finished(str(run)), expected, "auto", name="someone/my-vit")
    assert arrived == {file.name: file.read_bytes() for file in expected.iterdir()}
    export(str(run), out=str(tmp_path / "exported"))
    for file in (tmp_path / "exported").iterdir():
        assert file.name == "README.md" or arrived[file.name] == file.read_bytes()
    card = arrived["README.md"].decode()
    assert 'timm.create_model("hf-hub:someone/my-vit", pretrained=True)' in card
    sent = b"".join(arrived.values())
    selected = re.findall(r"\d{3}\.png", (run / "selection.csv").read_text())
    for private in (str(run), str(tmp_path), str(Path.home()), str(Path.cwd()), ".png", *selected):
        assert private.encode() not in sent


def test_push_refuses_a_model_that_was_refused(run, monkeypatch, capsys):
    for accepted in (False, None):
        decided(run, accepted, sentence="No improvement: keep the original.")
        with fake_hub() as hub:
            pushing(monkeypatch, hub)
            assert main(["push", str(run), "someone/my-vit"]) == 2
            line = one_line(capsys.readouterr())
            assert "No improvement: keep the original." in line
            assert "--anyway" in line
            assert hub.requests == []
            pushed = push(str(run), "someone/my-vit", anyway=True, revision="trial")
            assert set(hub.files["someone/my-vit", "trial"]) == set(pushed.model.files)
            assert hub.files["someone/my-vit", "main"] == {}
            assert b"keep the original" in hub.files["someone/my-vit", "trial"]["README.md"]
            push(str(run), "someone/my-vit", anyway=True)  # a second time, to what exists
            assert set(hub.files["someone/my-vit", "main"]) == set(pushed.model.files)


def test_push_says_in_one_line_what_is_wrong(run, monkeypatch, capsys):
    decided(run, True)
    assert main(["push", str(run), "my-vit"]) == 2
    assert "OWNER/NAME" in one_line(capsys.readouterr())
    assert main(["push", str(run), "someone/my-vit"]) == 2  # conftest keeps the hub offline
    assert "check the network" in one_line(capsys.readouterr())
    with fake_hub() as hub:
        pushing(monkeypatch, hub, token="hf_wrong")
        assert main(["push", str(run), "someone/my-vit"]) == 2
        assert "hf auth login" in one_line(capsys.readouterr())
        assert hub.files == {}
    with fake_hub(bad_card=True) as hub:
        pushing(monkeypatch, hub)
        assert main(["push", str(run), "someone/my-vit"]) == 2
        assert "license is odd" in one_line(capsys.readouterr())
        assert hub.files["someone/my-vit", "main"] == {}
    pushing(monkeypatch, hub)  # nobody listens there any more
    assert main(["push", str(run), "someone/my-vit"]) == 2
    assert "check the network" in one_line(capsys.readouterr())
    (run / "verdict.json").unlink()
    assert main(["push", str(run), "someone/my-vit", "--anyway"]) == 2
    assert "is not finished" in one_line(capsys.readouterr())


def settings(**changes):
    return {"model": None, "recipe": None, "checkpoint": None} | changes


@pytest.mark.parametrize(
    ("config", "title", "hub", "license"),
    [
        ({"model": "vit_base_patch16_224.augreg_in21k_ft_in1k"}, "vit_base_patch16_224.augreg_in21k_ft_in1k",
         "timm/vit_base_patch16_224.augreg_in21k_ft_in1k", "apache-2.0"),
        ({"model": "deit-b"}, "deit_base_patch16_224.fb_in1k", "timm/deit_base_patch16_224.fb_in1k", "apache-2.0"),
        ({"recipe": "deit-b"}, "deit_base_patch16_224.fb_in1k", "timm/deit_base_patch16_224.fb_in1k", "apache-2.0"),
        ({"model": "hf-hub:someone/vit"}, "hf-hub:someone/vit", "someone/vit", None),
        ({"model": "transformers:google/vit-base-patch16-224"}, "transformers:google/vit-base-patch16-224",
         "google/vit-base-patch16-224", None),
        ({"model": "torchvision:vit_b_16"}, "torchvision:vit_b_16", None, None),
        ({"model": "local-dir:/data/mine"}, "arch, weights of the author's own", None, None),
        ({"model": "runs/first"}, "arch, weights of the author's own", None, None),
        ({"model": "a module given from Python (Net)"}, "arch, weights of the author's own", None, None),
        ({"model": "vit_base_patch16_224", "checkpoint": "w.pth"}, "arch, weights of the author's own", None, None),
    ],
)  # fmt: skip
def test_base_and_licence(config, title, hub, license):
    found = describe_base_model(
        settings(**config), {"architecture": "arch", "pretrained_cfg": {"license": "apache-2.0"}}
    )
    assert (found.title, found.hub, found.license) == (title, hub, license)
    if license is None:
        assert "look it up" in found.license_from


def test_paths_are_found_and_names_are_not(tmp_path):
    (tmp_path / "x").write_text("")
    text = f"see {tmp_path}/x, https://a.b/c/d and photos/train, (a) and/or b; class /m/01g317; C:\\Users\\me\\x.png"
    assert machine_paths(text) == [f"{tmp_path}/x", "C:\\Users\\me\\x.png"]
    assert str(tmp_path) not in without_paths(text)
    assert "photos/train" in without_paths(text)
    assert "photos/train" not in without_paths(text, ["photos/train"])
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"\x00photos/secret\x00")
    check_shareable(folder, ["model"])
    with pytest.raises(UserError, match="photos/secret"):
        check_shareable(folder, ["photos/secret"])


@pytest.mark.parametrize("source", ["a module given from Python (X)", "hf-hub:someone/vit", "runs/first"])
def test_card_names_the_base_only_where_others_find_it(source, run, tmp_path):
    folder = RunFolder(run)
    folder.write_config({k: v for k, v in folder.config().items() if k != "robustvit"} | {"model": source})
    export(str(run), out=str(tmp_path / "shared"))
    card = (tmp_path / "shared" / "README.md").read_text().replace("\\", "")
    public = source.startswith("hf-hub")
    assert (source in card) == public
    assert ("weights of the author's own" in card) != public
    assert ("base_model: someone/vit" in card) == public


def test_weights_of_a_class_of_ones_own(run, tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    network.append(torch.nn.Linear(4, 3))
    network.num_classes = 3
    save_model(Classifier(network, preprocessing=Preprocessing((48, 48)), class_names=CLASSES), run / "best")
    with pytest.raises(UserError, match="a module given from Python"):
        export(str(run), out=str(tmp_path / "shared"), format="onnx")
    export(str(run), out=str(tmp_path / "shared"))
    assert (
        'load_model(YourModule(), checkpoint="FOLDER/model.safetensors")' in (tmp_path / "shared/README.md").read_text()
    )
    again = load_model(network, checkpoint=tmp_path / "shared" / "model.safetensors")
    assert again.num_classes == 3
