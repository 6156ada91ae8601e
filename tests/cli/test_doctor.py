"""robustvit doctor: it says what is here, and tells a machine that computes wrongly from one that does not."""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import pytest
import timm
import torch

import robustvit
from robustvit import doctor
from robustvit.cli import doctor as diagnosis
from robustvit.cli import main as cli
from robustvit.cli import self_test
from robustvit.cli.self_test import Check

CPU = torch.device("cpu")


def test_a_sound_machine(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "a.pth").write_bytes(b"x" * 1234)
    (tmp_path / "torch" / "hub" / "again").symlink_to(tmp_path / "torch" / "hub" / "checkpoints" / "a.pth")
    monkeypatch.chdir(tmp_path)
    code = cli.main(["doctor", "--device", "cpu", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (
        found["versions"]["torch"] == torch.__version__.split("+")[0] or found["versions"]["torch"] == torch.__version__
    )
    assert found["versions"]["timm"] == timm.__version__
    assert found["versions"]["python"] == platform.python_version()
    assert found["python"] == sys.executable
    assert found["package"] == str(Path(robustvit.__file__).parent)
    assert found["threads"] == torch.get_num_threads()
    assert found["processors"][0]["kind"] == "cpu"
    places = {one["name"]: one for one in found["places"]}
    assert places["torch cache"]["size"] == 1234, "a link counts nothing"
    assert places["hub cache"]["size"] >= 0
    assert places["this folder"]["folder"] == str(tmp_path)
    assert all(one["free"] > 0 for one in places.values())
    assert [one["passed"] for one in found["checks"]] == [True] * 5
    assert list(tmp_path.iterdir()) == [tmp_path / "torch"], "nothing is left behind"


def test_the_self_test_is_short():
    start = time.process_time()
    checks = self_test.self_test(CPU)
    assert [one.passed for one in checks] == [True] * 4, checks
    # Processor time, since others may be busy here; threads count each. It takes about 1 s.
    assert time.process_time() - start < 30 * max(1, torch.get_num_threads())


def test_the_page_in_words(capsys, monkeypatch):
    monkeypatch.setattr(self_test, "self_test", lambda device: [Check("a thing", True, "seen", 0.1)])
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in (
        "torch ",
        "timm ",
        "interpreter",
        "threads",
        "hub cache",
        "free",
        "sets ",
        "ok      a thing (0.1 s): seen",
    ):
        assert word in said
    assert said.endswith("Everything works.\n")


def nan_maps(model, images, *details, **options):
    return torch.full((len(images), 1, *images.shape[2:]), float("nan"))


def failing(error):
    def fail(*given):
        raise error

    return fail


def wrong_matmul(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    return model


@pytest.mark.parametrize(
    ("name", "broken", "which", "said"),
    [
        ("relevance", nan_maps, 1, "nan"),
        ("guided_loss", failing(RuntimeError("no kernel\nimage")), 2, "RuntimeError: no kernel image"),
        ("save_model", failing(OSError(28, "No space left on device")), 3, "No space left"),
        ("load_model", failing(UnicodeError("broken file")), 0, "broken file"),
    ],
    ids=["maps", "steps", "disk", "model"],
)  # fmt: skip
def test_what_is_broken_is_named(monkeypatch, name, broken, which, said):
    monkeypatch.setattr(self_test, name, broken)
    checks = self_test.self_test(CPU)
    assert [one.passed for one in checks] == [True] * which + [False]
    assert said in checks[-1].detail
    assert "\n" not in checks[-1].detail


def test_a_machine_that_computes_wrongly_is_found_out(monkeypatch):
    load = self_test.load_model
    monkeypatch.setattr(self_test, "load_model", lambda *given: wrong_matmul(load(*given)))
    (check,) = self_test.self_test(CPU)
    assert not check.passed


def test_steps_that_do_not_lower_the_loss_are_found_out(monkeypatch):
    monkeypatch.setattr(self_test, "_RATE", -1e-4)
    assert not self_test.self_test(CPU)[-1].passed


def test_weights_that_come_back_changed_are_found_out(monkeypatch):
    save = self_test.save_model

    def spoilt(model, folder):
        kept = save(model, folder)
        with torch.no_grad():
            next(model.parameters()).add_(1)
        return kept

    monkeypatch.setattr(self_test, "save_model", spoilt)
    assert not self_test.self_test(CPU)[-1].passed


def test_exit_code_one_and_the_fault_in_words(capsys, monkeypatch):
    monkeypatch.setattr(self_test, "self_test", lambda device: [])
    lines = ["torch>=99", "no-such-package>=1", "numpy>=1", 'gradio>=5; extra == "app"', 'build>=1; extra == "dev"']
    monkeypatch.setattr(diagnosis, "requires", lambda name: lines)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert f"torch is {torch.__version__.split('+')[0]}" in said
    assert "no-such-package is not installed (needed: >=1)" in said
    assert "numpy is" not in said
    assert "Failed: required packages are installed." in said


def test_extras_are_those_that_a_user_may_want(monkeypatch):
    lines = ["torch>=2", 'no-such-package>=1; extra == "app"', 'numpy>=1; extra == "sets"', 'build>=1; extra == "dev"']
    monkeypatch.setattr(diagnosis, "requires", lambda name: lines)
    found = diagnosis.list_extras()
    assert found["app"] == {"no-such-package": None}
    assert set(found) == {"app", "sets"}
    assert found["sets"]["numpy"][0].isdigit()


def test_as_a_function(monkeypatch):
    monkeypatch.setattr(self_test, "self_test", lambda device: [Check("a thing", device == CPU, "seen", 0.1)])
    found = doctor(device="cpu")
    assert isinstance(found, diagnosis.Diagnosis)
    assert found.exit_code == 0
