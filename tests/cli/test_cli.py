"""The command line as a user sees it: help, options, configuration files, and one line for every mistake."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import robustvit
from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import tiny_network
from robustvit.cli import main as cli
from robustvit.cli.arguments import normalize
from robustvit.cli.help import help_text
from robustvit.common.signals import Stopped
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def children_seconds() -> float:
    """Processor time of processes that ended, whatever else the machine does."""
    times = os.times()
    return times.children_user + times.children_system


def test_overview_is_instant_and_imports_nothing_heavy():
    script = (
        "import sys; from robustvit.cli import main as cli; cli.main(['--help']); assert 'torch' not in sys.modules"
    )
    start = children_seconds()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    light, start = children_seconds() - start, children_seconds()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    assert light < children_seconds() - start, "help must be cheaper than importing torch"
    for name in cli.COMMANDS:
        first = inspect.getdoc(cli.function_of(name)).partition("\n")[0]
        assert re.search(rf"^  {name} +{re.escape(first)}$", done.stdout, re.MULTILINE), name


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_help_of_every_command(capsys, name):
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    capsys.readouterr()
    assert cli.main([name, "--help-all"]) == 0
    text = capsys.readouterr().out
    function = cli.function_of(name)
    assert " ".join(text.split()).rstrip().rpartition("example: ")[2].startswith(f"robustvit {name} ")
    assert "--config" in text
    assert "--print_config" in text
    for parameter in inspect.signature(function).parameters.values():
        shown = (
            parameter.name
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            else f"--{parameter.name.rstrip('_')}"
        )
        assert shown.replace("_", "-") in text, parameter.name
        described = re.search(rf"^ +{parameter.name}: \S", inspect.getdoc(function), re.MULTILINE)
        assert described, f"{name} does not describe {parameter.name}"


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_examples_in_help_parse(name):
    function = cli.function_of(name)
    example = " ".join(inspect.getdoc(function).partition("\nExample:\n")[2].split())
    parser, _ = cli.parser_of(name, function)
    parser.parse_args(normalize(example.split()[2:], function))


def test_package_offers_every_public_name():
    for name in robustvit.__all__:
        assert getattr(robustvit, name) is not None
    with pytest.raises(AttributeError):
        robustvit.nothing  # noqa: B018


def test_whole_path_on_the_command_line(capsys, tmp_path, model_folder, photos):
    images, masks = photos
    out = tmp_path / "run"
    code, stdout, _ = run(
        capsys, "finetune", "--model", model_folder, "--images", images, "--masks", masks, "--out", out, "--epochs", 2,
        "--swaps=1", "--max-drop", 5, "--samples-per-class=2", "--skip-unmasked", "--classes", "[disc, frame]",
    )  # fmt: skip
    assert code == 0
    assert "keep the original" in stdout.lower() or "Better" in stdout
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["classes"] == ["disc", "frame"]
    assert config["skip_unmasked"] is True
    code, stdout, _ = run(
        capsys, "evaluate", "--model", out, "--images", images, "--masks", masks, "--baseline", "original",
        "--out", tmp_path / "record.json",
    )  # fmt: skip
    assert code == 0
    assert "ordinary accuracy" in stdout
    assert "change" in stdout
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["measures"]["ordinary"]["count"] == 30 - 4, "the four trained on are left out"
    assert record["versions"]["torch"]
    code, stdout, _ = run(
        capsys, "explain", "--model", out, images / "disc" / "000.png", images / "frame" / "000.png", "--out",
        tmp_path / "shown",
    )  # fmt: skip
    assert code == 0
    assert "before:" in stdout
    assert "after:" in stdout
    assert sorted(p.name for p in (tmp_path / "shown").iterdir()) == ["000-2-relevance.png", "000-relevance.png"]
    code, stdout, _ = run(capsys, "report", out, "--out", tmp_path / "report.html")
    assert code == 0
    assert str(tmp_path / "report.html") in stdout


def test_class_folders_are_checked_also_where_masks_are_given(capsys, tmp_path, model_folder):
    images, masks = write_photos(tmp_path, 2)
    for kind in (images, masks):
        (kind / "disc").rename(kind / "disk")
    code, stdout, stderr = run(capsys, "evaluate", "--model", model_folder, "--images", images, "--masks", masks)
    assert code == 2
    assert stdout == ""
    assert "did you mean 'disc'" in stderr


def test_flat_folder_with_masks_shows_the_place_of_the_relevance(capsys, model_folder, photos):
    flat = [place / "disc" for place in photos]
    code, stdout, _ = run(capsys, "evaluate", "--model", model_folder, "--images", flat[0], "--masks", flat[1])
    assert code == 0
    assert "mIoU" in stdout
    assert "accuracy" not in stdout


def test_config_file_and_print_config(capsys, tmp_path, model_folder, photos):
    config = tmp_path / "evaluate.yaml"
    config.write_text(yaml.safe_dump({"model": str(model_folder), "images": str(photos[0]), "swaps": 0}))
    code, stdout, _ = run(capsys, "evaluate", "--config", config)
    assert code == 0
    assert "ordinary accuracy" in stdout
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--config", str(config), "--seed", "5", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 5
    assert printed["swaps"] == 0


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


MISTAKES = {
    "unknown command": (["finetun"], "finetune"),
    "unknown option": (["evaluate", "--modle", "x"], "--modle"),
    "option of another command": (["search", "--lr", "1e-5"], "unknown option --lr: did you mean --rates or --lr-sche"),
    "missing option": (["evaluate", "--model", "MODEL"], "images"),
    "wrong type": (["evaluate", "--model", "MODEL", "--images", "IMAGES", "--swaps", "many"], "swaps"),
    "wrong choice": (["finetune", "--model", "MODEL", "--images", "I", "--out", "O", "--select", "luck"], "select"),
    "no such folder": (["evaluate", "--model", "MODEL", "--images", "none"], "none"),
    "unknown model": (["evaluate", "--model", "vit_bas_patch16_224", "--images", "IMAGES"], "vit_base_patch16_224"),
    "no such config": (["evaluate", "--config", "none.yaml"], "none.yaml"),
    "unknown key in config": (["evaluate", "--config", "wrong.yaml"], "modle"),
    "not a run": (["report", "thesis"], "thesis"),
    "not an image": (["explain", "--model", "MODEL", "thesis/chapter.txt"], "chapter.txt"),
    "no such photo": (["explain", "--model", "MODEL", "none.jpg"], "none.jpg"),
    "no photo": (["explain", "--model", "MODEL"], "expected PHOTOS"),
    "missing options": (["finetune", "--model", "MODEL"], "expected --images and --out, which have no default"),
    "missing option with a dash": (["subset", "IMAGES/disc/000.png"], "expected --model and --out"),
    "ambiguous option": (
        ["finetune", "--images", "I", "--out", "O", "--val", "x"],
        "expected one of --val-images, --val-masks, --validation-per-class, got --val",
    ),
    "near option": (["evaluate", "--baselines", "x"], "unknown option --baselines: did you mean --baseline?"),
    "near baseline": (
        ["evaluate", "--model", "MODEL", "--images", "IMAGES", "--baseline", "0riginal"],
        "did you mean original?",
    ),
    "options of trials": (["sweep", "--model", "MODEL", "--out", "O"], "go into the YAML file EXPERIMENT, under base"),
    "near choice": (
        ["audit", "--model", "x", "--images", "y", "--out", "a.html", "--budget", "quik"],
        "got quik: did you mean quick? robustvit",
    ),
    "near folder": (["evaluate", "--model", "MODEL", "--images", "thesi"], "at thesi: did you mean thesis?"),
    "a file as model": (["evaluate", "--model", "wrong.yaml", "--images", "IMAGES"], "--checkpoint for the file"),
    "one argument too many": (["report", "run", "other"], "expected no more than RUN, got other too"),
    "no value": (["finetune", "--images", "I", "--out", "O", "--save-every"], "--save-every: expected a value"),
    "no number": (["finetune", "--images", "I", "--out", "O", "--max-drop", "x"], "--max-drop to be a number, got x"),
    "no flag": (["finetune", "--images", "I", "--out", "O", "--resume=x"], "--resume to be true or false, got x"),
    "unknown class": (["explain", "--model", "MODEL", "IMAGES/disc/000.png", "--target", "dragon"], "dragon"),
    "record exists": (["evaluate", "--model", "MODEL", "--images", "IMAGES", "--out", "wrong.yaml"], "wrong.yaml"),
    "folder not ours": (
        ["finetune", "--model", "MODEL", "--images", "IMAGES", "--masks", "MASKS", "--out", "thesis"],
        "was not written by robustvit finetune",
    ),
    "out below a file": (["explain", "--model", "MODEL", "IMAGES/disc/000.png", "--out", "wrong.yaml/x"], "is a file"),
    "report below a file": (["report", "run", "--out", "wrong.yaml/r.html"], "is a file"),
    "record below a file": (
        ["evaluate", "--model", "MODEL", "--images", "IMAGES", "--out", "wrong.yaml/r.json"],
        "is a file",
    ),
    "foreign settings": (["report", "foreign"], "not written by robustvit"),
    "broken settings": (["report", "broken"], "not the settings file"),
    "no batch": (["evaluate", "--model", "MODEL", "--images", "IMAGES", "--batch-size", "0"], "--batch-size"),
    "other classes": (["evaluate", "--model", "MODEL", "--images", "IMAGES", "--baseline", "OTHER"], "same order"),
    "pickle with code": (
        ["evaluate", "--model", "MODEL", "--images", "IMAGES", "--checkpoint", "evil.pth"],
        "evil.pth",
    ),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes_are_one_line_and_exit_code_two(capsys, tmp_path, monkeypatch, model_folder, photos, case):
    import pickle

    from helpers.hostile import Evil

    monkeypatch.chdir(tmp_path)
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("words")
    Path("wrong.yaml").write_text("modle: x\n")
    Path("evil.pth").write_bytes(pickle.dumps(Evil("trapped")))
    for name, text in (("foreign", "optimizer: adam"), ("broken", "a: [1"), ("run", "robustvit: 0.1.0\nmodel: m")):
        Path(name).mkdir()
        Path(name, "config.yaml").write_text(text)
    Path("run/verdict.json").write_text("{}")
    save_model(Classifier(tiny_network(), class_names=CLASSES[::-1]), "other")
    before = tree(tmp_path)
    places = {
        "OTHER": str(tmp_path / "other"),
        "MODEL": str(model_folder),
        "IMAGES": str(photos[0]),
        "MASKS": str(photos[1]),
    }
    arguments, word = MISTAKES[case]
    filled = [re.sub("MODEL|IMAGES|MASKS|OTHER", lambda found: places[found[0]], argument) for argument in arguments]
    code, stdout, stderr = run(capsys, *filled)
    assert code == 2
    assert stdout == ""
    assert stderr.count("\n") == 1, stderr
    assert word in stderr
    assert "Traceback" not in stderr
    assert tree(tmp_path) == before, "nothing may be written"


def test_an_abbreviated_option_needs_no_warning(capsys, model_folder, photos):
    code, _, stderr = run(capsys, "evaluate", "--mod", model_folder, "--images", photos[0], "--swa", 0)
    assert code == 0
    assert "abbreviat" not in stderr


def test_mistake_of_a_real_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "robustvit.cli", "report", "none"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("robustvit report: expected a run folder")
    assert done.stderr.count("\n") == 1


NOT_THERE = [
    "finetune --model x --images nope --out o",
    "finetune --model x --images . --masks nope --out o",
    "finetune --model x --images . --test-images nope.csv --out o",
    "search --rates 1e-5,1e-6 --model x --images nope --out o",
    "evaluate --model x --images nope",
    "audit --model x --images nope --out o.html",
    "classes --model x --baseline y --images nope --out o.html",
    "faithfulness --model x --images nope",
    "masks nope --out o",
    "shifts --images nope --out o",
    "explain --model x nope.jpg",
    "subset --model x nope.jpg --out o.png",
    "report nope",
    "export nope --out o",
    "push nope me/mine",
]


def test_what_is_not_there_is_said_before_anything_heavy_is_imported(tmp_path):
    script = (
        "import sys\nfrom robustvit.cli.main import main\n"
        f"for line in {NOT_THERE!r}:\n"
        "    assert main(line.split()) == 2, line\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(NOT_THERE)
    assert all(("nope" in line and "found none" in line) or "expected a run folder" in line for line in said), said
    assert not list(tmp_path.iterdir())


def test_other_peoples_files_are_not_overwritten(capsys, tmp_path, model_folder):
    images, _ = write_photos(tmp_path / "data", 1)
    shutil.copy(images / "disc" / "000.png", tmp_path / "000.png")
    code, _, _ = run(capsys, "explain", "--model", model_folder, images / "disc" / "000.png", "--out", tmp_path)
    assert code == 0
    code, _, _ = run(capsys, "explain", "--model", model_folder, images / "disc" / "000.png", "--out", tmp_path)
    assert code == 0
    assert (tmp_path / "000-2-relevance.png").is_file(), "an older picture is kept"
    assert (tmp_path / "000.png").read_bytes() == (images / "disc" / "000.png").read_bytes()
    with Image.open(tmp_path / "000-relevance.png") as picture:
        assert picture.width > picture.height


def test_help_without_docstrings_says_so(monkeypatch):
    from types import SimpleNamespace

    function = cli.function_of("report")
    assert "-OO" not in help_text("report", function)
    monkeypatch.setattr("robustvit.cli.help.sys", SimpleNamespace(flags=SimpleNamespace(optimize=2)))
    assert "started with -OO" in " ".join(help_text("report", function).split())


def test_a_stop_that_a_library_turns_into_an_error_of_its_own_is_a_stop(capsys, monkeypatch):
    def stopped_in_c_code(_name, _arguments):
        try:
            raise Stopped(signal.SIGINT)
        except KeyboardInterrupt as stop:
            raise SystemError("<built-in function> returned a result with an exception set") from stop

    monkeypatch.setattr(cli, "_run", stopped_in_c_code)
    code, out, err = run(capsys, "doctor")
    assert (code, out) == (130, "")
    assert err == "robustvit doctor: stopped by Ctrl-C\n"


def test_an_error_of_the_program_is_not_hidden(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_run", lambda _name, _arguments: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run(capsys, "doctor")


def test_an_error_that_is_its_own_cause_is_shown(capsys, monkeypatch):
    def fail(_name, _arguments):
        error = ValueError("a mistake of the program")
        raise error from error

    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises(ValueError, match="a mistake of the program"):
        run(capsys, "doctor")
