"""Searches over several options, and sweeps through Ray."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from helpers.run_server import PATIENCE, wait_for
from helpers.sweeps import count_calls, read, write_yaml
from robustvit import UserError, sweep
from robustvit.experiments.sweeps.experiment_grid import read_experiment


@pytest.mark.slow
def test_search_proposes_finds_again_and_goes_on(tmp_path, base, monkeypatch):
    pytest.importorskip("optuna")
    space = {"lr": ["1e-5", "1e-3", "log"], "samples_per_class": [1, 4], "train": ["all", "attention"]}
    path = write_yaml(tmp_path / "s.yaml", {"base": base, "search": space, "trials": 2})
    first = sweep(path, out=str(tmp_path / "out"))
    assert len(first.rows) == 2
    for row in first.rows:
        assert 1e-5 <= row["lr"] <= 1e-3
        assert row["samples_per_class"] in (1, 2, 3, 4)
        config = yaml.safe_load((tmp_path / "out" / row["trial"] / "config.yaml").read_text())
        assert config["lr"] == row["lr"]
    assert "Best: " in str(first)
    calls = count_calls(monkeypatch)
    assert sweep(path, out=str(tmp_path / "out")).rows == first.rows
    assert calls == []
    more = write_yaml(tmp_path / "m.yaml", {"base": base, "search": space, "trials": 3})
    assert sweep(more, out=str(tmp_path / "out")).rows[:2] == first.rows
    assert len(calls) == 1


def test_objective_ranks_by_outcome_then_allowed_loss_then_gain(tmp_path):
    from robustvit.common.intervals import Interval
    from robustvit.common.verdict_files import Comparison, Verdict, write_verdict
    from robustvit.experiments.trials import objective

    def judged(gain, lost):
        point = Interval(0.5, 0.4, 0.6, 300)
        rows = [Comparison(name, point, point, Interval(value, value - 0.015, value + 0.015, 300))
                for name, value in (("ordinary", -lost), ("mixed-rand", gain))]  # fmt: skip
        write_verdict(Verdict(True, "words", tuple(rows)), tmp_path / "verdict.json")
        return objective("mixed-rand", 2.0, tmp_path)

    pairs = ((0.3, 0.0), (0.1, 0.0), (0.5, 0.01), (0.9, 0.03), (0.01, 0.0), (0.9, 0.2), (-1.0, 0.2))
    values = [judged(*pair) for pair in pairs]
    assert values == sorted(values, reverse=True)
    assert objective("mixed-other", 2.0, tmp_path) == values[-1], "as runs of older versions count"
    assert objective("miou", 2.0, tmp_path) is None


@pytest.mark.slow
def test_ray_gives_what_this_process_gives_and_leaves_nothing_behind(tmp_path, base):
    """Grid and search through Ray, in a process of its own: same files, finished runs not repeated, all ended."""
    pytest.importorskip("ray")
    base |= {"recipe": "paper"}  # conftest.py has another default than the processes
    grid = write_yaml(tmp_path / "g.yaml", {"base": base, "grid": {"masks": [
        {"name": "ours"}, {"name": "missing", "masks": "nowhere"}]}})  # fmt: skip
    space = {"lr": [1e-5, 1e-3, "log"]}
    searches = [write_yaml(tmp_path / f"s{n}.yaml", {"base": base, "search": space, "trials": n}) for n in (1, 2)]
    here = sweep(grid, out=str(tmp_path / "here"))
    script = f"""
import os, ray
real = ray.init
def small(*_, **options):
    assert options["_node_ip_address"] == "127.0.0.1" and options["include_dashboard"] is False
    return real(**options | {{"num_cpus": 1, "object_store_memory": 80_000_000}})
ray.init = small
from robustvit import sweep
there = sweep({grid!r}, out={str(tmp_path / "there")!r}, engine="ray", cpus=1, trials_at_once=1)
assert there.exit_code == 1 and not ray.is_initialized()
ray.init(_node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False)
for path in {searches!r}:
    sweep(path, out={str(tmp_path / "search")!r}, engine="ray")
assert ray.is_initialized(), "whoever started it ends it"
ray.shutdown()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    there = read(tmp_path / "there" / "results.csv")
    for row, same in zip(here.rows, there, strict=True):
        for name, value in row.items():
            assert name == "seconds" or str(value) == same[name], name
        if row["outcome"] == "finished":
            for name in ("best/model.safetensors", "metrics.jsonl", "after.json"):
                one, other = (tmp_path / place / row["trial"] / name for place in ("here", "there"))
                assert one.read_bytes() == other.read_bytes(), name
    rows = read(tmp_path / "search" / "results.csv")
    assert [row["outcome"] for row in rows] == ["finished"] * 2
    folders = [place for place in (tmp_path / "search").iterdir() if (place / "verdict.json").is_file()]
    assert {place.name for place in folders} == {row["trial"] for row in rows}, "the first call's run was not repeated"
    assert not processes_of_session(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ray_that_is_stopped_says_so(tmp_path, base, number):
    """Ray's own handlers would let the command end as if all trials had been made, or with another code."""
    pytest.importorskip("ray")
    path = write_yaml(tmp_path / "e.yaml", {"base": base | {"epochs": 1000, "recipe": "paper"}, "grid": {"seed": [0]}})
    (trial,) = read_experiment(path).grid()
    out = tmp_path / "out"
    start = "from robustvit.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", start, "sweep", path, "--out", str(out), "--engine", "ray"]
    process = subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert wait_for((out / trial.key / "metrics.jsonl").is_file, process.pid)
        process.send_signal(number)
        said, error = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert error.startswith("robustvit sweep: stopped by")
    assert "Traceback" not in error
    assert "finished" not in said
    assert not processes_of_session(process.pid)


def processes_of_session(session: int) -> list[str]:
    """Processes that are still there of those that a process started."""
    deadline, left = time.monotonic() + PATIENCE, ["?"]
    while left and time.monotonic() < deadline:
        left = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                left.append((place / "cmdline").read_text().replace("\0", " "))
        time.sleep(0.2)
    return left


def test_ray_that_has_no_room_says_so():
    pytest.importorskip("ray")
    from robustvit.experiments.sweeps.ray_engine import RayEngine

    with pytest.raises(UserError, match=r"--gpus of at most 0 \(all of them\), got 1"):
        RayEngine(None, 1, 1, None)._check_room({"CPU": 4.0})
    RayEngine(None, 4, 0, None)._check_room({"CPU": 4.0})
