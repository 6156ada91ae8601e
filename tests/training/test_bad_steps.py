"""Steps whose loss or gradient is no finite number: skipped, counted, and after ten in a row the end of the run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from safetensors import safe_open
from torch import nn

from helpers.drawn_photos import CLASSES
from robustvit import UserError, finetune, report
from robustvit.cli.main import main
from robustvit.data.photo import Photo
from robustvit.guidance.robustvit import RobustViT
from robustvit.training.bad_steps import MOST_IN_A_ROW, BadSteps

FAST = {"epochs": 2, "lr": 3e-4, "swaps": 0, "panels": 0, "samples_per_class": 4, "tracker": "none"}


@dataclass(frozen=True)
class Sick(RobustViT):
    """The paper's guidance whose loss is broken in training, in calls that are chosen by their number."""

    title = "a sick method"
    broken: str = "nan"
    calls: tuple[int, ...] = ()

    def __call__(self, model, images, masks, target):
        guided = super().__call__(model, images, masks, target)
        if not torch.is_grad_enabled() or len(images) == 1:
            return guided  # validation, and the look at the method before the run
        number = COUNTER["calls"]
        COUNTER["calls"] += 1
        if number not in self.calls:
            return guided
        loss = guided.loss
        steep = loss + (loss - loss.detach()).abs().sqrt()  # finite itself, its slope at zero is infinite
        broken = steep if self.broken == "gradient" else loss * float(self.broken)
        return type(guided)(broken, guided.parts, guided.logits, guided.maps)


COUNTER = {"calls": 0}


def run_sick(photos, model_folder, out: Path, sick: Sick, monkeypatch, **options):
    COUNTER["calls"] = 0
    monkeypatch.setattr("robustvit.guidance.registry.make_guidance", lambda *_, **__: sick)
    return finetune(
        model=f"local-dir:{model_folder}", images=str(photos[0]), masks=str(photos[1]), out=str(out), **FAST | options
    )


def rows_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("broken", ["nan", "inf", "gradient"])
def test_a_broken_step_is_skipped_and_counted(tmp_path, photos, model_folder, monkeypatch, broken):
    # 12 photos, 4 a step: three steps an epoch; the second step of the first epoch is broken
    run_sick(photos, model_folder, tmp_path / "r", Sick(broken=broken, calls=(1,)), monkeypatch, batch_size=4)
    rows = rows_of(tmp_path / "r")
    assert [row["skipped_steps"] for row in rows] == [1, 0]
    assert all(torch.isfinite(torch.tensor(row["train_loss"])) for row in rows)


def test_a_healthy_run_skips_nothing(tmp_path, photos, model_folder, monkeypatch):
    run_sick(photos, model_folder, tmp_path / "r", Sick(), monkeypatch)
    assert [row["skipped_steps"] for row in rows_of(tmp_path / "r")] == [0, 0]


def test_an_epoch_without_a_step_has_no_loss_and_the_report_bears_it(tmp_path, photos, model_folder, monkeypatch):
    out = tmp_path / "r"
    run_sick(photos, model_folder, out, Sick(calls=(0, 1)), monkeypatch, batch_size=8)  # two steps an epoch
    rows = rows_of(out)
    assert rows[0]["train_loss"] is None
    assert rows[0]["skipped_steps"] == 2
    assert rows[1]["train_loss"] > 0
    assert report(str(out)).is_file()


def test_ten_in_a_row_stop_the_run_with_the_batch_saved(tmp_path, photos, model_folder, monkeypatch):
    out = tmp_path / "r"
    sick = Sick(calls=tuple(range(100)))
    with pytest.raises(UserError, match="10 steps in a row") as caught:  # three steps an epoch: over epochs
        run_sick(photos, model_folder, out, sick, monkeypatch, batch_size=4, epochs=9)
    assert "\n" not in str(caught.value)
    assert str(out / "bad_batch.safetensors") in str(caught.value)
    assert "in epoch 4" in str(caught.value)
    assert COUNTER["calls"] == MOST_IN_A_ROW
    with safe_open(out / "bad_batch.safetensors", "pt") as file:
        names, told = json.loads(file.metadata()["photos"]), file.metadata()
        images, masks, labels = (file.get_tensor(name) for name in ("image", "mask", "label"))
    assert images.shape == (4, 3, 48, 48)
    assert masks.shape == (4, 1, 48, 48)
    assert told["problem"] == "the loss was nan"
    assert [CLASSES.index(Path(name).parent.name) for name in names] == labels.tolist()
    assert not list(out.glob(".*.new"))


def test_a_resumed_run_stops_where_an_unbroken_one_would(tmp_path, photos, model_folder, monkeypatch):
    out, sick = tmp_path / "r", Sick(calls=tuple(range(100)))
    run_sick(photos, model_folder, out, sick, monkeypatch, batch_size=4, epochs=2)  # six bad steps
    with pytest.raises(UserError, match="10 steps in a row"):
        run_sick(photos, model_folder, out, sick, monkeypatch, batch_size=4, epochs=9, resume=True)
    assert COUNTER["calls"] == 4


def test_the_command_line_says_it_in_one_line(tmp_path, photos, model_folder, monkeypatch, capsys):
    COUNTER["calls"] = 0
    monkeypatch.setattr("robustvit.guidance.registry.make_guidance", lambda *_, **__: Sick(calls=tuple(range(100))))
    words = ["finetune", "--model", f"local-dir:{model_folder}", "--images", str(photos[0]), "--masks", str(photos[1])]
    words += ["--out", str(tmp_path / "r"), "--batch-size", "4", "--epochs", "9", "--samples-per-class", "4"]
    assert main([*words, "--swaps", "0", "--tracker", "none"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "bad_batch.safetensors" in said.splitlines()[-1]


def worker(folder: str) -> None:
    """One of two processes; the loss of the second alone is broken in its second step."""
    AcceleratorState._reset_state(reset_partial_state=True)  # what the tests before have left in this process
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    network = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network, optimizer = accelerator.prepare(network, optimizer)
    steps = BadSteps(accelerator, Path(folder), [Photo(Path("a.png")), Photo(Path("b.png"))])
    taken = []
    for number in range(3):
        loss = network(torch.ones(2, 4)).mean()
        if number == 1 and accelerator.process_index == 1:
            loss = loss * float("nan")
        taken.append(steps.take(loss, optimizer, list(network.parameters()), batch()))
    weights = torch.cat([weight.detach().flatten() for weight in network.parameters()]).tolist()
    Path(folder, f"{accelerator.process_index}.json").write_text(json.dumps([taken, steps.skipped, weights]))


def test_processes_skip_together(tmp_path):
    debug_launcher(worker, args=(str(tmp_path),), num_processes=2)
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    assert one[:2] == [[True, False, True], 1]
    assert all(map(math.isfinite, one[2]))


def scaled(scale: float):
    """What BadSteps sees of an accelerator with fp16, on the CPU."""
    Accelerator(cpu=True)
    weight = nn.Parameter(torch.ones(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, backoff_factor=0.5)
    optimizer = AcceleratedOptimizer(torch.optim.SGD([weight], lr=0.1), device_placement=False, scaler=scaler)
    fake = SimpleNamespace(scaler=scaler, num_processes=1, process_index=0)
    fake.backward = lambda loss: scaler.scale(loss).backward()
    return fake, weight, optimizer


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    return {
        "image": torch.rand(count, 3, 4, 4),
        "mask": torch.ones(count, 1, 4, 4),
        "label": torch.zeros(count, dtype=torch.long),
        "index": torch.arange(count),
    }


def test_an_fp16_overflow_lowers_the_scale_and_does_not_stop_the_run(tmp_path):
    fake, weight, optimizer = scaled(2.0**60)
    steps = BadSteps(fake, tmp_path, [Photo(Path("a.png")), Photo(Path("b.png"))])
    skipped = 0
    while not steps.take((weight * 1e30).sum(), optimizer, [weight], batch()):
        skipped += 1
    assert skipped > MOST_IN_A_ROW, "the scale must fall first: 2^60 times 1e30 is beyond float32"
    assert (steps.skipped, steps.in_a_row) == (skipped, 0)
    assert weight[0] < 0


def test_an_fp16_gradient_that_no_scale_helps_stops_the_run(tmp_path):
    fake, weight, optimizer = scaled(2.0**4)
    steps = BadSteps(fake, tmp_path, [Photo(Path("a.png")), Photo(Path("b.png"))])

    def step() -> bool:
        return steps.take((weight - weight.detach()).abs().sqrt().sum(), optimizer, [weight], batch())

    assert not any([step() for _ in range(MOST_IN_A_ROW + 2)])  # the first of them bring the scale down to 1
    with pytest.raises(UserError, match=r"the gradient was not finite .*10 steps in a row"):
        step()
    assert steps.skipped == MOST_IN_A_ROW + 3
    assert weight.tolist() == [1.0, 1.0]


def test_state_goes_through_and_comes_back(tmp_path):
    one = BadSteps(Accelerator(cpu=True), tmp_path, [])
    one.skipped, one.in_a_row = 3, 2
    other = BadSteps(Accelerator(cpu=True), tmp_path, [])
    other.load_state_dict(one.state_dict())
    assert (other.skipped, other.in_a_row) == (3, 2)
    other.start_epoch(4)
    assert (other.skipped, other.in_a_row) == (0, 2)
