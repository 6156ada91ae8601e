"""Learning rates: each schedule against its formula, and what the optimizer really gets."""

from __future__ import annotations

import inspect
import itertools
import math
import shutil

import pytest
import torch

from robustvit import UserError, finetune
from robustvit.training.options import option_names
from robustvit.training.schedule import Schedule

FAST = {"epochs": 2, "lr": 3e-3, "swaps": 0, "panels": 0, "samples_per_class": 4, "backgrounds": "none",
        "guidance": "cross-entropy", "batch_size": 4, "lr_schedule": "cosine"}  # fmt: skip


@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_cosine_falls_from_the_rate_to_zero(epochs):
    plan, steps = Schedule(lr=2.0, epochs=epochs, lr_schedule="cosine"), 7
    rates = [plan.rate(epoch, step / steps) for epoch in range(epochs) for step in range(steps)]
    total = epochs * steps
    assert rates == pytest.approx([1 + math.cos(math.pi * at / total) for at in range(total)], abs=1e-12)
    assert rates[0] == 2.0
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] < 2.0 * (math.pi / total) ** 2


def test_step_is_the_papers():
    plan = Schedule(lr=1.0, epochs=6)
    assert [plan.rate(epoch, 0.5) for epoch in range(6)] == [1, 1, 0.85, 0.85, 0.85**2, 0.85**2]


@pytest.mark.parametrize(("name", "value"), [("lr_schedule", "linear"), ("select", "first")])
def test_other_words_are_refused_with_the_choices(name, value):
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')}.*{value}"):
        Schedule(**{name: value})


@pytest.fixture(scope="module")
def rates_of_a_run(tmp_path_factory, model_folder, photos):
    seen = []
    real = torch.optim.AdamW.step

    def step(self, *args, **options):
        seen.append(self.param_groups[0]["lr"])
        return real(self, *args, **options)

    out = tmp_path_factory.mktemp("runs") / "cosine"
    images, masks = map(str, photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        finetune(model=str(model_folder), images=images, masks=masks, out=str(out), **FAST)
    return out, seen


def test_the_optimizer_takes_every_step_at_the_cosines_rate(rates_of_a_run):
    plan = Schedule(lr=3e-3, epochs=2, lr_schedule="cosine")
    assert rates_of_a_run[1] == pytest.approx([plan.rate(epoch, step / 3) for epoch in (0, 1) for step in range(3)])


def test_more_epochs_would_be_another_cosine(rates_of_a_run, tmp_path, model_folder, photos):
    out, (images, masks) = tmp_path / "run", map(str, photos)
    shutil.copytree(rates_of_a_run[0], out)
    with pytest.raises(UserError, match="epochs=2, now it is 3"):
        finetune(model=str(model_folder), images=images, masks=masks, out=str(out), resume=True, **FAST | {"epochs": 3})


def test_options_are_those_of_the_command():
    assert sorted(option_names()) == sorted(inspect.signature(finetune).parameters)


@pytest.mark.parametrize(
    ("select", "row", "said"),
    [
        ("loss", {"val_loss": 0.5, "val_accuracy": 0.75}, "validation loss 0.5000 (decides), accuracy 75.0 %"),
        (
            "robust",
            {"val_loss": 0.5, "val_accuracy": 0.75, "val_mixed_other": 0.25},
            "validation loss 0.5000, accuracy 75.0 %, on backgrounds of other classes 25.0 % (decides)",
        ),
        ("last", {}, "training loss 0.2500"),
    ],
)
def test_the_line_of_an_epoch_marks_the_number_that_decides(select, row, said, capsys):
    from robustvit.training.loop import _tell

    shared = {"epoch": 3, "train_loss": 0.25, "skipped_steps": 0, "best": True}
    _tell(shared | row, Schedule(select=select))
    line = " ".join(capsys.readouterr().err.split())
    assert said in line
    assert line.endswith("best so far") == (select != "last")
