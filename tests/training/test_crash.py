"""Runs that are killed, stopped, short of room or doubled: nothing is lost, and nothing is written twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import timm
import torch

from helpers.drawn_photos import CLASSES, write_photos
from helpers.run_server import PATIENCE, kill, wait_for
from robustvit import UserError
from robustvit.cli.main import main
from robustvit.common.files import write_text
from robustvit.common.run_folder import RunFolder
from robustvit.common.signals import Stopped, StopSignals, raise_on_signals
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model

KILLS = 20
OUTCOME = ("best/model.safetensors", "last/model.safetensors", "metrics.jsonl", "before.json", "after.json",
           "beginning.json", "selection.csv", "verdict.json")  # fmt: skip
EPOCHS = 3
on_linux = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks at processes the Linux way")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A run of 3 epochs of 8 steps whose model draws numbers itself, saved after every step."""
    folder = tmp_path_factory.mktemp("crash")
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32, patch_size=8, embed_dim=24,
                                depth=2, num_heads=3, drop_path_rate=0.2, pos_drop_rate=0.1)  # fmt: skip
    model = save_model(Classifier(network, class_names=CLASSES), folder / "model")
    images, masks = write_photos(folder / "photos", 8)
    return ["finetune", "--model", model, "--images", images, "--masks", masks, "--epochs", EPOCHS, "--lr", "1e-3",
            "--samples-per-class", "5", "--batch-size", "2", "--swaps", "1", "--panels", "0", "--tracker", "none",
            "--recipe", "paper", "--save-every", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def whole(server, command, tmp_path_factory):
    """The same run, never interrupted, and how many seconds it took."""
    out = tmp_path_factory.mktemp("whole") / "run"
    start = time.monotonic()
    assert server.run([*command, "--out", out]) == 0, server.said()
    return out, time.monotonic() - start


def to(out: Path) -> list[str]:
    return ["--out", str(out), *(["--resume"] if RunFolder(out).is_run else [])]


def assert_same(out: Path, whole: Path) -> None:
    for name in OUTCOME:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert [row["epoch"] for row in RunFolder(out).metrics()] == list(range(1, EPOCHS + 1))
    assert not [path for path in out.rglob(".*") if path.name != ".lock"], "temporary files were left"


def fresh_files(out: Path) -> list[Path]:
    return [out / f".{name}.new" for name in ("state.pt", "best", "last", "metrics.jsonl")]


@pytest.mark.slow
def test_saving_at_every_step_changes_nothing(server, command, whole, tmp_path):
    assert server.run([*command[:-1], "1e6", "--workers", "1", *to(tmp_path / "run")]) == 0, server.said()
    assert_same(tmp_path / "run", whole[0])


@on_linux
@pytest.mark.slow
def test_twenty_kills_change_nothing(server, command, whole, tmp_path):
    rng, out = random.Random(0), tmp_path / "run0"
    kills = writing = resumed_within = 0
    while kills < KILLS or (min(writing, resumed_within) < 3 and kills < 10 * KILLS):  # a busy machine hits less
        if (out / "verdict.json").is_file():  # it came to its end before its kill: another one
            assert_same(out, whole[0])
            out = tmp_path / f"run{kills}"
        state = RunFolder(out).load_state()
        resumed_within += bool(state and state["step"])
        (process,) = server.start([*command, *to(out)])
        if kills % 2:
            files = fresh_files(out)
            time.sleep(rng.uniform(0, 0.5) * whole[1])
            wait_for(lambda files=files: any(path.exists() for path in files), process)
        else:
            time.sleep(rng.uniform(0, 0.9) * whole[1])
        kill(process)
        (code,) = server.wait()
        assert code in (0, -signal.SIGKILL), server.said()
        kills += code != 0
        writing += code != 0 and any(path.exists() for path in fresh_files(out))
    assert writing >= 3, "some kills must have hit a write"
    assert resumed_within >= 3, "some runs must have gone on within an epoch"
    assert server.run([*command, *to(out)]) == 0, server.said()
    assert_same(out, whole[0])


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_signals_save_and_exit_in_one_line(server, command, whole, tmp_path, number, code, name):
    """The signal goes to the group, readers of photos included, as a terminal and batch systems send it."""
    out = tmp_path / "run"
    quiet = [*command[:-1], "1e6", "--workers", "1"]
    stopped = (out / "metrics.jsonl").exists, lambda running: os.killpg(running[0], number), out
    assert server.interrupt([*quiet, *to(out)], *stopped) == [code]
    assert server.said() == (
        f"robustvit finetune: stopped by {name}; {out} is saved: resume with the same command and --resume"
    )
    state = RunFolder(out).load_state()
    assert (state["epoch"], state["step"] > 0) >= (1, True), "the steps since the last epoch are saved"
    assert server.run([*command, *to(out)]) == 0, server.said()
    assert_same(out, whole[0])


@pytest.mark.slow
def test_an_error_while_photos_are_read_ends_the_process(tmp_path):
    """Readers pass over SIGTERM, by which Python ends daemons before it waits for them."""
    script = tmp_path / "script.py"
    script.write_text("""
from torch.utils.data import DataLoader
from robustvit.common.signals import reading_processes

class Photos:
    def __len__(self):
        return 100
    def __getitem__(self, index):
        if index == 9:
            raise ValueError("no such photo")
        return index

if __name__ == "__main__":
    for _ in (loader := iter(DataLoader(Photos(), **reading_processes(2)))):
        pass
""")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert "no such photo" in ended.stderr


@pytest.mark.slow
@on_linux
def test_a_run_whose_terminal_closes_is_saved(server, command, whole, tmp_path):
    """On a terminal of its own, with a progress bar: what is written to one that is gone would fail."""
    import pty

    out = tmp_path / "run"
    words = ["robustvit", *map(str, command[:-1]), "1e6", *to(out)]
    code = f"import sys; sys.argv = {words!r}; from robustvit.cli.main import main; sys.exit(main())"
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it, such as nohup
        os.execv(sys.executable, [sys.executable, "-c", code])
    os.set_blocking(terminal, False)
    shown = b""

    def trained() -> bool:
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(terminal, 65536)  # a terminal that nobody reads holds the run up
        return (out / "metrics.jsonl").exists()

    assert wait_for(trained, process), shown
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 128 + signal.SIGHUP
    state = RunFolder(out).load_state()
    assert (state["epoch"], state["step"] > 0) >= (1, True), "the steps since the last epoch are saved"
    assert "━".encode() in shown, "there was a progress bar"
    assert server.run([*command, *to(out)]) == 0, server.said()
    assert_same(out, whole[0])


def stopped_within(server, command, out: Path) -> bytes:
    """A run killed after some steps; its state."""
    stopped = (out / "metrics.jsonl").exists, lambda running: kill(running[0]), out
    assert server.interrupt([*command, *to(out)], *stopped) == [-signal.SIGKILL]
    return (out / "state.pt").read_bytes()


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(("limit", "files"), [(200_000, ("state.pt",)), (30_000, ("best", "last"))])
def test_limit_of_a_file_leaves_the_last_state(server, command, whole, tmp_path, limit, files):
    """A quota: the system refuses to let any file grow further."""
    out = tmp_path / "run"
    state = stopped_within(server, command, out)
    assert len(state) > 200_000 > (out / "last" / "model.safetensors").stat().st_size > 30_000
    rare = [*command[:-1], "1e6"]
    assert server.run([*rare, *to(out)], RLIMIT_FSIZE=limit) == 2
    assert server.said() in [
        f"robustvit finetune: cannot write {out / name}: File too large; what was saved before is intact: make room "
        "and continue"
        for name in files
    ]
    assert (out / "state.pt").read_bytes() == state
    assert server.run([*command, *to(out)]) == 0, server.said()
    assert_same(out, whole[0])


@pytest.mark.slow
@on_linux
def test_full_disk_leaves_the_last_state(server, command, whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        out = disk / "run"
        state = stopped_within(server, command, out)
        with pytest.raises(OSError, match="No space"):
            (disk / "theirs").write_bytes(bytes(8 * 1024**2))
        assert server.run([*command, *to(out)]) == 2
        assert "No space left on device; what was saved before is intact: make room and continue" in server.said()
        assert "\n" not in server.said()
        assert (out / "state.pt").read_bytes() == state
        (disk / "theirs").unlink()
        assert server.run([*command, *to(out)]) == 0, server.said()
        assert_same(out, whole[0])
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
@on_linux
def test_second_run_in_one_folder_is_refused(server, command, whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("robustvit.common.locks._SECONDS_TO_LET_GO", 0.2)
    out = tmp_path / "run"
    (process,) = server.start([*command, *to(out)])
    assert wait_for((out / "state.pt").exists, process), server.said()
    os.kill(process, signal.SIGSTOP)  # it must not be done before the second one has started
    try:
        assert main([str(word) for word in [*command, "--out", out, "--resume"]]) == 2
        assert f"another run is writing to {out}: wait for its end, stop it, or name another" in capsys.readouterr().err
        assert main([str(word) for word in [*command, "--out", out]]) == 2
        assert "holds a run already" in capsys.readouterr().err
    finally:
        os.kill(process, signal.SIGCONT)
    assert server.wait() == [0], server.said()
    assert_same(out, whole[0])


def test_lock_is_let_go_and_kept_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("robustvit.common.locks._SECONDS_TO_LET_GO", 0.2)
    folder, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with folder.lock(resume=False):
        with pytest.raises(UserError, match="another run"), other.lock(resume=False):
            pass
        with other.lock(resume=False, enabled=False):
            pass
        folder.start({"epochs": 1})
        with pytest.raises(UserError, match="another run"), other.lock(resume=True):
            pass
    with other.lock(resume=True):
        pass
    with pytest.raises(UserError, match="holds a run already"), other.lock(resume=False):
        pass


def test_folder_killed_before_its_settings_is_free(tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".lock", ".config.yaml.new"):
        (tmp_path / "run" / name).touch()
    RunFolder(tmp_path / "run").check_free(resume=False)
    (tmp_path / "run" / "mine.txt").touch()
    with pytest.raises(UserError, match="was not written by robustvit finetune"):
        RunFolder(tmp_path / "run").check_free(resume=False)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04 half of it", "half"])
def test_damaged_state_is_said(whole, tmp_path, broken):
    out = shutil.copytree(whole[0], tmp_path / "run")
    good = (out / "state.pt").read_bytes()
    (out / "state.pt").write_bytes(good[: len(good) // 2] if broken == "half" else broken)
    with pytest.raises(UserError, match="damaged") as caught:
        RunFolder(out).load_state()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_state_holds_everything(whole):
    state = RunFolder(whole[0]).load_state()
    counts = {"epoch", "step", "best", "bad_steps", "processes", "means"}
    assert set(state) == {*counts, "model", "optimizer", "scaler", "random", "weighting"}
    assert state["weighting"] is None  # no groups
    assert (state["epoch"], state["step"], state["processes"]) == (EPOCHS, 0, 1)
    assert state["best"] == min(row["val_loss"] for row in RunFolder(whole[0]).metrics())
    assert set(state["random"][0]) == {"python", "numpy", "torch"}
    assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(1e-3 * 0.85)


def test_old_file_stays_where_a_write_fails(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text("old", path)
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        with monkeypatch.context() as patch:
            patch.setattr("robustvit.common.files.os.fsync", lambda _, error=error: (_ for _ in ()).throw(error))
            with pytest.raises((UserError, KeyboardInterrupt)):
                write_text("new", path)
        assert path.read_text() == "old"
        assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]


def test_signals_are_kept_raised_and_given_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignals().hold() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # launchers send it twice
        with pytest.raises(Stopped, match="SIGTERM"), stop.at_once():
            pytest.fail("what was asked for before is heeded at once")
    with pytest.raises(Stopped) as caught, StopSignals().hold() as stop, stop.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143
    with StopSignals().hold() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == signal.SIGINT
        with pytest.raises(Stopped, match="Ctrl-C"):
            os.kill(os.getpid(), signal.SIGINT)  # somebody who does not want to wait
    with pytest.raises(KeyboardInterrupt), raise_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    default = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    with StopSignals().hold() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.asked
    signal.signal(signal.SIGHUP, default)
    thread = threading.Thread(target=lambda: StopSignals().hold().__enter__())
    thread.start()
    thread.join()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
