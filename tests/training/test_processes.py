"""Several processes: the same numbers as one, one writer, and an end when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.drawn_photos import CLASSES, write_photos
from helpers.run_server import PATIENCE, is_alive, kill, wait_for
from helpers.small_models import tiny_network
from robustvit.common.run_folder import RunFolder
from robustvit.models.classifier import Classifier
from robustvit.models.save import save_model
from robustvit.training.steps import own_share


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    save_model(Classifier(tiny_network(img_size=32, depth=2), class_names=CLASSES), folder / "model")
    write_photos(folder / "photos", 6)
    return folder


def command(place: Path, name: str, batch: int, *more: object) -> list[str]:
    options = ["--model", place / "model", "--images", place / "photos/images", "--masks", place / "photos/masks",
               "--epochs", 2, "--lr", "1e-3", "--samples-per-class", 3, "--swaps", 1, "--panels", 0,
               "--tracker", "none", "--batch-size", batch, "--recipe", "paper",
               "--out", place / name, *more]  # fmt: skip
    return ["finetune", *map(str, options)]


def numbers(run: Path) -> dict[str, float]:
    rows = [*RunFolder(run).metrics(), json.loads((run / "beginning.json").read_text())]
    rows += [dict(enumerate(rows[-1].pop("val_right")))]  # answers, photo by photo
    return {f"{at}-{name}": value for at, row in enumerate(rows) for name, value in row.items()}


@pytest.mark.parametrize(
    ("photos", "batch", "processes"), [(9, 2, 2), (9, 4, 3), (3, 4, 2), (8, 2, 2), (17, 3, 4), (1, 1, 2)]
)
def test_shares_of_uneven_batches_are_those_of_accelerate(photos, batch, processes):
    """Photos of each process in each step by Accelerate's own sampler, counted one by one."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    sampler = BatchSampler(range(photos), batch, drop_last=False)
    shares = [list(BatchSamplerShard(sampler, processes, rank)) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1
    for step in range(len(shares[0])):
        kept, weights = [], []
        for rank in range(processes):
            own, weight = own_share(step, batch, photos, rank, processes)
            kept += shares[rank][step][:own]
            weights.append((own, weight))
        start = step * batch * processes
        assert kept == list(range(start, min(photos, start + batch * processes))), "each photo once, in its order"
        assert [weight for _, weight in weights] == pytest.approx([processes * own / len(kept) for own, _ in weights])


@pytest.mark.slow
def test_two_processes_come_to_the_losses_of_one(server, place):
    """9 photos in steps of 4: in the last step one process has a photo and the other none."""
    assert server.run(command(place, "one", 4)) == 0, server.said()
    assert server.run(command(place, "two", 2), processes=2) == 0, server.said(0) + server.said(1)
    one, two = numbers(place / "one"), numbers(place / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-5), name
    after = [json.loads((place / name / "after.json").read_text()) for name in ("one", "two")]
    assert [row["image"] for row in after[0]] == [row["image"] for row in after[1]]
    assert [row["predicted"] for row in after[0]] == [row["predicted"] for row in after[1]]
    for mine, theirs in zip(*after, strict=True):
        assert theirs["values"] == pytest.approx(mine["values"], abs=1e-3)
        assert [swap["donor"] for swap in theirs["swapped"]] == [swap["donor"] for swap in mine["swapped"]]
    assert {path.name for path in (place / "two").iterdir()} == {path.name for path in (place / "one").iterdir()}
    state = RunFolder(place / "two").load_state()
    assert state["processes"] == len(state["random"]) == len(state["means"]) == 2
    assert "epoch" not in (server.folder / "stderr1").read_text(), "one process speaks"


@pytest.mark.slow
def test_other_number_of_processes_is_refused(server, place):
    assert server.run(command(place, "other", 2), processes=2) == 0, server.said()
    assert server.run(command(place, "other", 2, "--resume", "--epochs", 3)) == 2
    assert "was trained by 2 processes, now there are 1" in server.said()


@pytest.mark.slow
def test_signal_to_one_process_stops_both_and_they_go_on(server, place):
    assert server.run(command(place, "unbroken", 1, "--epochs", 4), processes=2) == 0, server.said()
    out = place / "stopped"
    codes = server.interrupt(
        command(place, "stopped", 1, "--epochs", 4), (out / "state.pt").exists,
        lambda running: os.kill(running[1], signal.SIGTERM), out, processes=2,
    )  # fmt: skip
    assert codes == [143, 143], server.said(0) + server.said(1)
    assert "stopped by SIGTERM" in server.said(0)
    assert server.said(1) == ""
    assert server.run(command(place, "stopped", 1, "--epochs", 4, "--resume"), processes=2) == 0, server.said()
    assert numbers(out) == numbers(place / "unbroken")


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_dead_process_ends_the_other_with_a_line(server, place, dead):
    out = place / f"dead{dead}"
    found = server.start(command(place, out.name, 1, "--epochs", 500), processes=2)
    assert wait_for((out / "state.pt").exists, found[0]), server.said()
    kill(found[dead])
    start = time.monotonic()
    codes = server.wait()
    assert time.monotonic() - start < PATIENCE, "it must not wait until the other's answer is overdue"
    assert codes[dead] == -signal.SIGKILL
    assert codes[1 - dead] == 1
    last = server.said(1 - dead).splitlines()[-1]
    assert last == (
        "robustvit finetune: another process of this job died; everything saved is intact: resume with the same "
        "command and --resume"
    )
    assert "Traceback" not in server.said(1 - dead)
    assert RunFolder(out).load_state() is not None


@pytest.mark.slow
def test_evaluate_and_masks_are_shared_and_written_once(server, place):
    photos = [f"--images={place / 'photos/images'}", f"--masks={place / 'photos/masks'}", "--swaps=1"]
    for processes in (1, 2):
        out = place / f"evaluated{processes}.json"
        arguments = ["evaluate", f"--model={place / 'model'}", f"--baseline={place / 'model'}", *photos, f"--out={out}"]
        assert server.run(arguments, processes=processes) == 0, server.said(0) + server.said(processes - 1)
        masks = ["masks", str(place / "photos/images"), f"--out={place / f'masks{processes}'}", "--method=relevance",
                 f"--model={place / 'model'}"]  # fmt: skip
        assert server.run(masks, processes=processes) == 0, server.said(0) + server.said(processes - 1)
    one, two = (json.loads((place / f"evaluated{processes}.json").read_text()) for processes in (1, 2))
    assert [row["image"] for row in one["photos"]] == [row["image"] for row in two["photos"]]
    for mine, theirs in zip(one["photos"], two["photos"], strict=True):
        assert theirs["predicted"] == mine["predicted"]
        assert theirs["probability"] == pytest.approx(mine["probability"], abs=1e-5)
        assert theirs["values"] == pytest.approx(mine["values"], abs=1e-3)
    files = [sorted(path.relative_to(place / f"masks{n}") for path in (place / f"masks{n}").rglob("*")) for n in (1, 2)]
    assert files[0] == files[1]
    for name in files[0]:
        if name.suffix == ".png":
            assert (place / "masks1" / name).read_bytes() == (place / "masks2" / name).read_bytes()


@pytest.mark.slow
def test_launcher_ends_when_a_worker_is_killed(place):
    out = place / "launched"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    process = subprocess.Popen(
        [*launcher, "robustvit.cli", *command(place, "launched", 1, "--epochs", 5000, "--device", "cpu")],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert wait_for((out / "state.pt").exists, process.pid)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL)" in said
    assert not any(is_alive(int(child)) for child in children), "no process may be left waiting"
    assert RunFolder(out).load_state() is not None
    assert torch.isfinite(torch.tensor(RunFolder(out).metrics()[0]["train_loss"]))


@pytest.mark.slow
def test_accelerate_launch_trains_as_the_plain_command_does(server, place):
    """One process: several on a CPU need MPI with this launcher."""
    options = ["--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *options, "--dynamo_backend", "no", "-m"]
    subprocess.run([*launcher, "robustvit.cli", *command(place, "by-accelerate", 4)], check=True, timeout=PATIENCE)
    assert server.run(command(place, "by-itself", 4)) == 0, server.said()
    assert numbers(place / "by-accelerate") == pytest.approx(numbers(place / "by-itself"), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dro", "sample"])
def test_groups_weigh_the_same_in_two_processes_as_in_one(server, place, method):
    """The groups of all processes make one batch; in the last of three steps one process has no photo."""
    rows = ["image,label,group"]
    for number, photo in enumerate(sorted((place / "photos" / "images").rglob("*.png"))):
        rows.append(f"{photo.relative_to(place).as_posix()},{photo.parent.name},{'ab'[number % 3 == 0]}")
    (place / "list.csv").write_text("\n".join(rows) + "\n")
    more = ["--guidance", "cross-entropy", "--group-method", method, "--images", place / "list.csv"]
    more += ["--group-step", 0.5] if method == "dro" else []

    def grouped(name: str, batch: int) -> list[str]:
        words = command(place, name, batch, *more)
        for option in ("--images", "--masks"):  # those of the other tests
            at = words.index(option)
            del words[at : at + 2]
        return words

    assert server.run(grouped(f"{method}-one", 4)) == 0, server.said()
    assert server.run(grouped(f"{method}-two", 2), processes=2) == 0, server.said(0) + server.said(1)
    one, two = (numbers(place / f"{method}-{name}") for name in ("one", "two"))
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-5), name
    if method == "dro":
        states = [torch.load(place / f"dro-{name}" / "state.pt", weights_only=True) for name in ("one", "two")]
        assert states[0]["weighting"]["q"] == pytest.approx(states[1]["weighting"]["q"], abs=1e-6)
