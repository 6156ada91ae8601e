"""Machines that lack what others have: letters, locks, memory, room; a test for each row of
docs/reference/hostile-files.md."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import filelock
import pytest

from helpers.hostile import refusal, said
from robustvit import finetune
from robustvit.cli.main import main, prepare_streams
from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.files import new_file, read_json, sync_folder, write_json, write_text
from robustvit.common.locks import lock_folder
from robustvit.common.run_folder import RunFolder
from robustvit.common.workers import describe_lost_memory, job_rank
from robustvit.explanation.explain import explain

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
NAMES = (b"caf\xe9.png", "é猫.png".encode(), b"\xff\x80 x.png")  # Latin-1, UTF-8, neither


@pytest.fixture(scope="module")
def oddly_named(photos, tmp_path_factory) -> tuple[Path, Path]:
    """Photos and masks with names, and a class, that are not UTF-8."""
    root = tmp_path_factory.mktemp("odd")
    for what, source in zip(("images", "masks"), photos, strict=True):
        for folder in sorted(source.iterdir()):
            place = os.fsencode(root / what / folder.name)
            place = place.replace(b"disc", b"d\xefsc")
            os.makedirs(place)
            for number, file in enumerate(sorted(folder.iterdir())[:6]):
                name = NAMES[number] if number < len(NAMES) else os.fsencode(file.name)
                shutil.copyfile(file, place + b"/" + name)
    return root / "images", root / "masks"


@on_linux
def test_machine_names_that_are_not_utf8_through_a_run(oddly_named, tmp_path, capsys):
    from helpers.small_models import tiny_network
    from robustvit.models.classifier import Classifier
    from robustvit.models.save import save_model

    images, masks = map(str, oddly_named)
    names = sorted(os.fsdecode(name) for name in os.listdir(os.fsencode(images)))
    assert names[0] == "d\udcefsc"
    save_model(Classifier(tiny_network(), class_names=names), tmp_path / "model")
    options = {
        "model": str(tmp_path / "model"), "images": images, "masks": masks, "out": str(tmp_path / "run"),
        "tracker": "none", "samples_per_class": 2, "swaps": 1, "panels": 1,
    }  # fmt: skip
    finetune(**options, epochs=1)
    finetune(**options, epochs=2, resume=True)
    rows = RunFolder(tmp_path / "run").photos.rows()
    assert {os.fsencode(Path(row["image"]).name) for row in rows} >= set(NAMES)
    assert all(Path(row["image"]).is_file() for row in rows)
    assert {row["class"] for row in rows} == set(names)
    raw = (tmp_path / "run" / "selection.csv").read_bytes()
    assert all(name in raw for name in NAMES), "in the bytes that they have on the disk"
    out = tmp_path / "record.json"
    words = ["--images", images, "--include-trained", "true"]
    code = main(
        [
            "classes",
            "--model",
            str(tmp_path / "run"),
            "--baseline",
            "original",
            *words,
            "--out",
            str(tmp_path / "c.html"),
        ]
    )
    assert code == 0, capsys.readouterr().err
    assert main(["evaluate", "--model", str(tmp_path / "model"), "--images", images, "--out", str(out)]) == 0
    assert isinstance(json.loads(out.read_text(encoding="utf-8")), dict)
    made = explain([os.path.join(images, names[0], os.fsdecode(NAMES[0]))], model=options["model"],
                   out=str(tmp_path / "o"))  # fmt: skip
    assert made[0].picture.is_file()


@on_linux
def test_machine_names_are_written_one_way(tmp_path):
    names = [os.fsdecode(name) for name in NAMES] + ["\x1b[31m.png", "\u202egnp.exe"]
    write_json({name: [name] for name in names}, tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == {name: [name] for name in names}
    (tmp_path / "a.json").read_bytes().decode("utf-8")  # as other programs read JSON
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["image"], *([name] for name in names)])
    write_text(text.getvalue(), tmp_path / "a.csv")
    assert [row["image"] for row in read_csv(tmp_path / "a.csv", own=True).rows] == names
    assert "is not UTF-8" in refusal(lambda: read_csv(tmp_path / "a.csv")), "a list of yours may be in any encoding"
    write_text("\ud800", tmp_path / "a.txt")  # of no name, but JSON can hold it
    assert (tmp_path / "a.txt").read_bytes() == b"\\ud800"


def cli(*words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own, with these variables of the environment."""
    command = [sys.executable, "-m", "robustvit.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, env=os.environ | variables)


class Window(io.TextIOWrapper):
    """Output in a code page, as on Windows."""

    def __init__(self, page: str) -> None:
        super().__init__(io.BytesIO(), encoding=page)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("cp1252", b"caf\xe9 \\u732b \\u2212"),
        ("ascii", b"caf\\xe9 \\u732b \\u2212"),
        ("cp932", b"caf\\xe9 \x94L \x81|"),
    ],
)
def test_machine_code_page(monkeypatch, page, expected):
    out = Window(page)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", Window(page))
    prepare_streams()
    print("café 猫 \u2212")
    out.flush()
    assert out.buffer.getvalue().strip() == expected


@on_linux
@pytest.mark.slow
def test_machine_locale_without_letters(oddly_named, tmp_path, model_folder):
    """Python would read names in ASCII; the command starts again in UTF-8."""
    photo = oddly_named[0] / "frame" / "é猫.png"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "cp1252"}
    ran = cli("explain", photo, "--model", model_folder, "--out", tmp_path / "o", **ascii_only)
    assert ran.returncode == 0, ran.stderr
    assert b"\xe9\\u732b.png" in ran.stdout
    assert (tmp_path / "o" / "é猫-relevance.png").is_file()


def test_machine_marks_in_names_on_the_terminal(tmp_path, photos, model_folder, capsys):
    """Commands of a terminal, and marks that turn text around, are printed as escapes."""
    photo = tmp_path / "\x1b]0;title\x07\x1b[2J\u202egpj.\u2066x\x9b1m.png"
    shutil.copyfile(next((photos[0] / "disc").iterdir()), photo)
    assert main(["explain", str(photo), "--model", str(model_folder), "--out", str(tmp_path / "o")]) == 0
    printed = capsys.readouterr()
    for bad in "\x1b\x07\x9b\u202e\u2066":
        assert bad not in printed.out + printed.err
    assert "\\x1b]0;title\\x07\\x1b[2J\\u202egpj" in printed.out
    broken = photo.with_name("\x1b[2J\u202e.png")
    broken.write_text("x")
    words = said(capsys, "explain", broken, "--model", model_folder, "--out", tmp_path / "p")
    assert "\\x1b[2J\\u202e.png" in words
    with redirect_stdout(io.StringIO()) as out:
        main(["explain", str(photo), "--model", str(model_folder), "--out", str(tmp_path / "q"), "--json"])
    assert json.loads(out.getvalue())[0]["photo"] == str(photo), "JSON keeps names exactly"


def test_machine_marks_in_names_on_pages(photos, tmp_path, model_folder):
    for what, source in zip(("images", "masks"), photos, strict=True):
        for folder in source.iterdir():
            shutil.copytree(folder, tmp_path / what / folder.name)
            first = sorted((tmp_path / what / folder.name).iterdir())[0]
            first.rename(first.with_name("\x1b[2J\u202egnp.png"))
    from robustvit.data.find_photos import find_photos
    from robustvit.data.manifest import MaskRecord
    from robustvit.masks.review_page import write_review

    found = find_photos(tmp_path / "images", tmp_path / "masks")
    write_review([MaskRecord(one.image, one.mask, one.class_name, "good", 1.0) for one in found], tmp_path / "r.html")
    words = ["--images", tmp_path / "images", "--masks", tmp_path / "masks", "--swaps", "1", "--tries", "1"]
    assert main([str(word) for word in ["audit", "--model", model_folder, *words, "--out", tmp_path / "a.html"]]) in (
        0,
        1,
    )
    for page in ("r.html", "a.html"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\u202egnp.png" in text


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_machine_without_flushing(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    write_text("mine", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"
    sync_folder(tmp_path, files=True)
    monkeypatch.setattr(os, "fsync", lambda _: refuse_with(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):  # the disk is broken, which nobody may pass over
        write_text("theirs", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


def refuse_with(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_machine_without_locks(tmp_path, monkeypatch, capsys, number):
    monkeypatch.setattr("fcntl.flock", lambda *_: refuse_with(number))
    with lock_folder(tmp_path / "o", who="another run"):
        assert "is on a disk without file locks" in " ".join(capsys.readouterr().err.split())
        second = lock_folder(tmp_path / "o", who="another run")
        with pytest.raises(UserError, match=r"another run is writing to .*remove .*\.lock\.held"), second:
            pass
    with lock_folder(tmp_path / "o", who="another run"):
        pass
    run = RunFolder(tmp_path / "o")
    with run.lock(resume=False):  # the files of the locks do not make it a folder of somebody else
        pass


def test_machine_two_masks_commands_in_one_folder(tmp_path, photos, model_folder, capsys, monkeypatch):
    monkeypatch.setattr("robustvit.common.locks._SECONDS_TO_LET_GO", 0.1)
    words = ["masks", photos[0], "--out", tmp_path / "o", "--method", "relevance", "--model", model_folder]
    (tmp_path / "o").mkdir()
    with filelock.FileLock(tmp_path / "o" / ".lock"):
        assert f"another masks command is writing to {tmp_path / 'o'}" in said(capsys, *words)
    assert [path.name for path in (tmp_path / "o").iterdir()] == [".lock"]
    assert main([str(word) for word in words]) == 0


def test_machine_shared_memory(photos, model_folder, capsys, monkeypatch):
    messages = (
        "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)",
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit.",
    )
    for message in messages:

        def lose(*_, message=message, **__):
            raise RuntimeError(message)

        monkeypatch.setattr("torch.utils.data.DataLoader.__iter__", lose)
        words = said(capsys, "evaluate", "--model", model_folder, "--images", photos[0], "--workers", "2")
        assert "--workers 0" in words
        assert "--shm-size" in words
    assert "--workers" in describe_lost_memory(RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"))
    assert "--batch-size" in describe_lost_memory(MemoryError())
    assert describe_lost_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) == ""


@pytest.mark.parametrize(
    "variables",
    [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2", "RANK": "5"}, {"LOCAL_RANK": "0"},
     {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, {"OMPI_COMM_WORLD_SIZE": "2"}],
)  # fmt: skip
def test_machine_half_a_job(photos, model_folder, capsys, monkeypatch, variables):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words = said(capsys, "evaluate", "--model", model_folder, "--images", photos[0])
    assert next(iter(variables)) in words
    assert "torchrun" in words
    assert {name: os.environ.get(name) for name in ("WORLD_SIZE", "RANK", "MASTER_PORT") if name not in variables} == {
        name: None for name in ("WORLD_SIZE", "RANK", "MASTER_PORT") if name not in variables
    }
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "1"}, {"LOCAL_RANK": "-1"}])
def test_machine_rank_without_a_job(photos, model_folder, capsys, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert job_rank() == 0
    assert main(["evaluate", "--model", str(model_folder), "--images", str(photos[0])]) == 0
    assert "ordinary accuracy" in capsys.readouterr().out


@contextmanager
def largest_file(size: int):
    """A quota: no file may grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@on_linux
@pytest.mark.parametrize("command", ["export", "explain", "shifts", "masks", "evaluate"])
def test_machine_full_disk_names_the_file(tmp_path, photos, model_folder, capsys, command, finished):
    out, photo = tmp_path / "o", sorted((photos[0] / "disc").iterdir())[0]
    words, expected, size = {
        "export": (["export", finished, "--out", out], out, 2000),
        "explain": (["explain", photo, "--model", model_folder, "--out", out],
                    out / f"{photo.stem}-relevance.png", 1000),
        "shifts": (["shifts", *photos, "--out", out, "--kinds", "only-fg"], out / "only-fg", 700),
        "masks": (["masks", photos[0], "--out", out, "--method", "relevance", "--model", model_folder], out, 90),
        "evaluate": (["evaluate", "--model", model_folder, "--images", photos[0], "--out", tmp_path / "e.json"],
                     tmp_path / "e.json", 100),
    }[command]  # fmt: skip
    with largest_file(size):
        line = said(capsys, *words)
    assert f"cannot write {expected}" in line
    assert "File too large; what was saved before is intact" in line
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".new")], "no half file is left"
    assert command != "export" or not out.exists()


@pytest.fixture(scope="module")
def finished(photos, model_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    finetune(model=str(model_folder), images=str(photos[0]), masks=str(photos[1]), out=str(out), epochs=1,
             tracker="none", samples_per_class=2, swaps=1, panels=1)  # fmt: skip
    return out


@pytest.mark.parametrize(
    ("file", "content"),
    [("selection.csv", ""), ("selection.csv", "[]"), ("best/config.json", ""), ("best/config.json", "[]"),
     ("best/model.safetensors", ""), ("best/model.safetensors", None)],
)  # fmt: skip
def test_machine_broken_run_is_named_by_export(finished, tmp_path, capsys, file, content):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / file).unlink()
    if content is not None:
        (tmp_path / "run" / file).write_text(content)
    line = said(capsys, "export", tmp_path / "run", "--out", tmp_path / "e")
    assert str((tmp_path / "run" / file).parent) in line
    assert "/tmp/tmp" not in line
    assert not (tmp_path / "e").exists()


def test_machine_full_disk_of_many_parts(tmp_path):
    """Outcomes of ``evaluate --on``, and any other file that a library writes."""
    from dataclasses import fields

    import numpy as np

    from robustvit.evaluation.on_sets.outcomes import Outcomes, write_outcomes

    columns = {field.name: np.arange(5000) for field in fields(Outcomes)} | {"right": np.zeros((5000, 2), np.int64)}
    with largest_file(3000):
        words = refusal(lambda: write_outcomes(Outcomes(**columns), tmp_path / "part.npz", "x"))
    assert f"cannot write {tmp_path / 'part.npz'}: File too large" in words
    assert not list(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a"):
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())
