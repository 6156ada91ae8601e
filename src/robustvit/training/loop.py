"""The finetuning loop: one for every guidance method, resumable at every step with identical results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Subset

from robustvit.common.devices import Share
from robustvit.common.errors import UserError
from robustvit.common.files import write_json
from robustvit.common.progress import console
from robustvit.common.run_folder import RunFolder
from robustvit.common.signals import Stopped, StopSignals, reading_processes
from robustvit.common.wording import pluralize
from robustvit.data.datasets import MaskedPhotos
from robustvit.evaluation.metrics import ACCURACY, DECIDING
from robustvit.guidance.method import Guidance
from robustvit.models.classifier import Classifier
from robustvit.models.parameters import trainable
from robustvit.models.save import save_model
from robustvit.training.group_training import drawing_weights, make_weighting, worst_accuracy
from robustvit.training.schedule import Schedule
from robustvit.training.state import EpochMeans, TrainingState
from robustvit.training.steps import TrainingSteps, all_right, guide_batch, training_loader

SAVE_EVERY = 0.5  # minutes: epochs of a few seconds are not saved one by one, which would take longer than they do


def train(
    classifier: Classifier,
    training: MaskedPhotos,
    validation: MaskedPhotos,
    *,
    guidance: Guidance,
    schedule: Schedule,
    accelerator: Accelerator,
    folder: RunFolder,
    robust_score: Callable[[], dict[str, float]],
) -> None:
    """Finetune a classifier and keep its best and its last epoch in the run folder.

    The state is saved after the first epoch, and after others at most every half minute; every ``schedule.save_every``
    minutes within an epoch; and when a signal stops the run, which raises ``Stopped``. A run that was killed and
    resumed ends with the same weights, bit for bit, as an uninterrupted run.

    The classifier is changed in place. Training photos are augmented, validation photos are not. The run is resumed if
    its folder has a state. ``robust_score`` returns accuracies and score of the current classifier, for ``--select
    robust``.
    """
    drawn = drawing_weights(training.photos, schedule)
    loader = training_loader(training, schedule.batch_size, schedule.workers, drawn)
    with trainable(classifier, schedule.train) as parameters, StopSignals().hold() as stop:
        decay = 0.0 if schedule.train == "attention" else schedule.weight_decay
        raw = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=decay)
        state = TrainingState(folder, classifier, raw, accelerator)
        state.weighting = make_weighting(training.photos, schedule, accelerator)
        resumed = state.load()
        model, optimizer, loader = accelerator.prepare(classifier, raw, loader)
        state.load_prepared()
        steps = TrainingSteps(model, training, loader, optimizer, guidance, state, stop, schedule)
        epochs = _Epochs(classifier, validation, _shared_loader(validation, schedule, accelerator), steps, robust_score)
        if not resumed:
            epochs.begin()
        for epoch in range(state.epoch, schedule.epochs):
            epochs.run(epoch)
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # the plain model is measured next
    if stop.asked:
        raise Stopped(stop.asked, folder.path)


@dataclass(frozen=True)
class _Epochs:
    """The epochs of a run: their steps, validation, and which of them is kept."""

    classifier: Classifier
    validation: MaskedPhotos
    checks: DataLoader
    steps: TrainingSteps
    robust_score: Callable[[], dict[str, float]]

    def begin(self) -> None:
        """Write the losses and answers before training."""
        state = self.steps.state
        with _interruptible(self.steps.stop, state, save=False):
            beginning, right = _validate(self.classifier, self.checks, self.steps, 0)
        if state.accelerator.is_main_process:
            write_json(beginning | {"val_right": right}, state.folder.beginning)

    def run(self, epoch: int) -> None:
        """Train for an epoch, validate, keep what is best, and save the state if it is due."""
        schedule, state = self.steps.schedule, self.steps.state
        row = {"epoch": epoch + 1, "lr": schedule.rate(epoch)} | self.steps.run_epoch()
        last = epoch + 1 == schedule.epochs
        if schedule.select != "last" or last:
            with _interruptible(self.steps.stop, state):
                row |= self._check(epoch + 1)
        state.accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=epoch + 1)
        score = _score(row, schedule)
        row["best"] = last if schedule.select == "last" else score < state.best or epoch == 0
        due = state.is_due(min(schedule.save_every, SAVE_EVERY)) or last
        if state.accelerator.is_main_process:
            _keep(self.classifier, state.folder, row, due)
        state.finish_epoch(min(state.best, score))
        if due:
            state.save()  # last, so that a kill before it repeats the epoch's end with the same outcome
        if state.accelerator.is_main_process:
            _tell(row, schedule)

    def _check(self, epoch: int) -> dict[str, Any]:
        """Return an epoch's means over the validation photos, and the score or accuracy that chooses among epochs."""
        schedule, state = self.steps.schedule, self.steps.state
        found, right = _validate(self.classifier, self.checks, self.steps, epoch)
        if state.accelerator.is_main_process:
            found |= _count_changed(state.folder, right)
        if schedule.select == "robust":
            return found | self.robust_score()
        if schedule.select == "worst-group":
            return found | {"val_worst_group": worst_accuracy(self.validation.photos, right)}
        return found


def _score(row: dict[str, Any], schedule: Schedule) -> float:
    """Return the number that is lowest in the kept epoch."""
    if schedule.select == "robust":
        return float(row["score"])
    if schedule.select == "worst-group":  # of equal accuracies, the one with the lower loss
        return 1e-7 * math.tanh(row["val_loss"]) - float(row["val_worst_group"])
    return float(row.get("val_loss", math.inf))


@contextmanager
def _interruptible(stop: StopSignals, state: TrainingState, save: bool = True) -> Iterator[None]:
    """Let a signal interrupt work that can be repeated; the steps before it are saved first.

    Several processes cannot stop at different moments; they stop at the next step.
    """
    try:
        with stop.at_once(state.accelerator.num_processes == 1):
            yield
    except Stopped as stopped:
        if save:
            state.save()
        raise Stopped(stopped.number, state.folder.path) from None


def _shared_loader(validation: MaskedPhotos, schedule: Schedule, accelerator: Accelerator) -> DataLoader:
    """Load this process's share of the validation photos; none is counted twice to fill a batch."""
    mine = range(accelerator.process_index, len(validation), accelerator.num_processes)
    return DataLoader(
        Subset(validation, mine),
        batch_size=schedule.batch_size,
        **reading_processes(schedule.workers),
    )


@torch.no_grad()
def _validate(
    classifier: Classifier, loader: DataLoader, steps: TrainingSteps, epoch: int
) -> tuple[dict[str, Any], list[int]]:
    """Return means over the photos of all processes, and for each photo, in order, whether its prediction is right.

    Runs the plain model, as a wrapped model would wait for the other processes.
    """
    classifier.eval()
    means, mine = EpochMeans(), []
    for raw in loader:
        batch = {name: value.to(steps.accelerator.device) for name, value in raw.items()}
        guided = guide_batch(steps.guidance, classifier, batch)
        right = all_right(guided.logits, batch)
        means.add(guided, len(batch["image"]), accuracy=right.float().mean())
        mine.append(right)
    found: dict[str, Any] = means.result("val")
    if not math.isfinite(found["val_loss"]):
        advice = f"in epoch {epoch}: lower --lr and start again" if epoch else "before training: use other weights"
        raise UserError(f"the validation loss was {found['val_loss']} {advice}")
    return found, Share.of(steps.accelerator).gather([int(one) for part in mine for one in part.tolist()])


def _count_changed(folder: RunFolder, right: list[int]) -> dict[str, int]:
    """Count validation photos that are right now but were wrong before training, and the reverse."""
    beginning = json.loads(folder.beginning.read_text(encoding="utf-8")) if folder.beginning.is_file() else {}
    if "val_right" not in beginning:
        return {}  # a run started by an older version
    pairs = list(zip(beginning["val_right"], right, strict=True))
    return {"val_helped": pairs.count((0, 1)), "val_harmed": pairs.count((1, 0))}


def _keep(classifier: Classifier, folder: RunFolder, row: dict[str, Any], due: bool) -> None:
    """Write the epoch's model, as the best, or as the last when the state is due; and its line of metrics."""
    if row["best"]:
        save_model(classifier, folder.best)
    if due:
        save_model(classifier, folder.last)
    folder.append_metrics(row)


def _tell(row: dict[str, Any], schedule: Schedule) -> None:
    """Print an epoch's numbers, and which of them decides which epoch is kept."""
    loss = "none, no step was possible" if row["train_loss"] is None else f"{row['train_loss']:.4f}"
    skipped = f" ({pluralize(row['skipped_steps'], 'step')} skipped: no finite numbers)" if row["skipped_steps"] else ""
    parts = [f"training loss {loss}{skipped}"]
    if "val_loss" in row:
        decides = " (decides)" if schedule.select == "loss" else ""
        parts += [f"validation loss {row['val_loss']:.4f}{decides}", f"accuracy {100 * row['val_accuracy']:.1f} %"]
    if "val_mixed_other" in row:
        metric = schedule.metric
        shifted, of = row["val_mixed_other"], ""
        if metric != ACCURACY:
            shifted, of = row[f"val_{metric.replace('-', '_')}_mixed_other"], f"{DECIDING[metric]} "
        parts.append(f"{of}on backgrounds of other classes {100 * shifted:.1f} % (decides)")
    if "val_worst_group" in row:
        parts.append(f"in the worst group {100 * row['val_worst_group']:.1f} % (decides)")
    if row["best"] and schedule.select != "last":
        parts.append("best so far")
    console.print(f"epoch {row['epoch']}: {', '.join(parts)}", soft_wrap=True)
