"""The finetuning loop: one for every guidance method, resumable at every step with identical results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Subset

from robustvit.common.devices import Share
from robustvit.common.errors import UserError
from robustvit.common.files import write_json
from robustvit.common.outcomes import rank
from robustvit.common.progress import console
from robustvit.common.run_folder import RunFolder
from robustvit.common.signals import Stopped, StopSignals, reading_processes
from robustvit.common.wording import pluralize
from robustvit.data.datasets import MaskedPhotos
from robustvit.evaluation.measured_intervals import measure_difference, measure_interval, measure_name
from robustvit.evaluation.metrics import ACCURACY, METRICS
from robustvit.evaluation.photo_measures import PhotoMeasure
from robustvit.guidance.method import Guidance
from robustvit.models.classifier import Classifier
from robustvit.models.parameters import trainable
from robustvit.models.save import save_model
from robustvit.training.group_training import drawing_weights, make_weighting, worst_accuracy
from robustvit.training.schedule import Schedule
from robustvit.training.state import EpochMeans, TrainingState
from robustvit.training.steps import TrainingSteps, all_right, guided_batch, training_loader

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
    minutes within an epoch; and when a signal stops the run. A run that was killed and resumed ends with the same
    weights, bit for bit, as an uninterrupted one.

    Args:
        classifier: changed in place.
        training: photos to train on, augmented.
        validation: held-out photos, not augmented.
        guidance: turns a batch into a loss.
        schedule: how long and how fast.
        accelerator: device, precision, processes and trackers.
        folder: of the run; resumed from its state if there is one.
        robust_score: returns accuracies and score of the current classifier, for ``--select robust``.

    Raises:
        Stopped: SIGTERM, SIGHUP or Ctrl-C came, and the state is saved.
        UserError: the loss is NaN; the disk is full; the state cannot be resumed.
    """
    loader = training_loader(
        training, schedule.batch_size, schedule.workers, drawing_weights(training.photos, schedule)
    )
    with trainable(classifier, schedule.train) as parameters, StopSignals().kept() as stop:
        decay = 0.0 if schedule.train == "attention" else schedule.weight_decay
        raw = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=decay)
        state = TrainingState(folder, classifier, raw, accelerator)
        state.weighting = make_weighting(training.photos, schedule, accelerator)
        resumed = state.load()
        model, optimizer, loader = accelerator.prepare(classifier, raw, loader)
        state.load_prepared()
        steps = TrainingSteps(model, training, loader, optimizer, guidance, state, stop, schedule)
        checks = _shared_loader(validation, schedule, accelerator)
        if not resumed:
            with _breaking_off(stop, state, save=False):
                beginning, right = _validate(classifier, checks, guidance, accelerator, epoch=0)
            if accelerator.is_main_process:
                write_json(beginning | {"val_right": right}, folder.beginning)
        for epoch in range(state.epoch, schedule.epochs):
            row = {"epoch": epoch + 1, "lr": schedule.rate(epoch)} | steps.run_epoch()
            last = epoch + 1 == schedule.epochs
            if schedule.select != "last" or last:
                with _breaking_off(stop, state):
                    found, right = _validate(classifier, checks, guidance, accelerator, epoch + 1)
                    row |= found | (_count_turned(folder, right) if accelerator.is_main_process else {})
                    row |= _chosen_by(schedule, robust_score, validation, right)
            accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=epoch + 1)
            score = _score(row, schedule)
            row["best"] = last if schedule.select == "last" else score < state.best or epoch == 0
            due = state.is_due(min(schedule.save_every, SAVE_EVERY)) or last
            if accelerator.is_main_process:
                _keep(classifier, folder, row, due)
            state.finish_epoch(min(state.best, score))
            if due:
                state.save()  # last, so that a kill before it repeats the epoch's end with the same outcome
            if accelerator.is_main_process:
                _tell(row, schedule)
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # what is measured next is the plain model
    if stop.asked:
        raise Stopped(stop.asked, folder.path)


def _chosen_by(
    schedule: Schedule, robust_score: Callable[[], dict[str, float]], validation: MaskedPhotos, right: list[int]
) -> dict[str, float]:
    """Return what chooses the epoch beside the validation loss."""
    if schedule.select == "robust":
        return robust_score()
    return {"val_worst_group": worst_accuracy(validation.photos, right)} if schedule.select == "worst-group" else {}


def _score(row: dict[str, Any], schedule: Schedule) -> float:
    """Return what the kept epoch has least of."""
    if schedule.select == "robust":
        return float(row["score"])
    if schedule.select == "worst-group":  # of equal accuracies, that with the lower loss
        return 1e-7 * math.tanh(row["val_loss"]) - float(row["val_worst_group"])
    return float(row.get("val_loss", math.inf))


@contextmanager
def _breaking_off(stop: StopSignals, state: TrainingState, save: bool = True) -> Iterator[None]:
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
    classifier: Classifier, loader: DataLoader, guidance: Guidance, accelerator: Accelerator, epoch: int
) -> tuple[dict[str, Any], list[int]]:
    """Return means over the photos of all processes, and for each photo, in order, whether its prediction is right.

    Runs the plain model, as a wrapped one would wait for the other processes.
    """
    classifier.eval()
    means, mine = EpochMeans(), []
    for raw in loader:
        batch = {name: value.to(accelerator.device) for name, value in raw.items()}
        guided = guided_batch(guidance, classifier, batch)
        right = all_right(guided.logits, batch)
        means.add(guided, len(batch["image"]), accuracy=right.float().mean())
        mine.append(right)
    found: dict[str, Any] = means.result("val")
    if not math.isfinite(found["val_loss"]):
        advice = f"in epoch {epoch}: lower --lr and start again" if epoch else "before training: try other weights"
        raise UserError(f"the validation loss was {found['val_loss']} {advice}")
    return found, Share.of(accelerator).joined([int(one) for part in mine for one in part.tolist()])


def _count_turned(folder: RunFolder, right: list[int]) -> dict[str, int]:
    """Count validation photos that are right now but were wrong before training, and the reverse."""
    beginning = json.loads(folder.beginning.read_text(encoding="utf-8")) if folder.beginning.is_file() else {}
    if "val_right" not in beginning:
        return {}  # a run started by an older version
    pairs = list(zip(beginning["val_right"], right, strict=True))
    return {"val_helped": pairs.count((0, 1)), "val_harmed": pairs.count((1, 0))}


def robust_score(
    before: list[PhotoMeasure], now: list[PhotoMeasure], max_drop: float, metric: str = ACCURACY
) -> dict[str, float]:
    """Return the accuracies of this epoch and a score to minimise, for ``--select robust``; see ``rank``.

    Another metric than accuracy decides the score, and is returned too.
    """
    kinds = {name: measure_name(metric, name) for name in ("mixed-other", "ordinary")}
    gain, ordinary = (measure_difference(before, now, name) for name in kinds.values())
    if gain is None:
        raise UserError("expected photos on backgrounds of other classes for --select robust: use --select loss")
    shifted, plain = (measure_interval(now, name) for name in ("mixed-other", "ordinary"))
    found = {"val_ordinary": plain, "val_mixed_other": shifted}
    if metric != ACCURACY:
        found |= {
            f"val_{METRICS[metric].column}_{k.replace('-', '_')}": measure_interval(now, n) for k, n in kinds.items()
        }
    return {name: value.mean for name, value in found.items() if value} | {"score": -rank(gain, ordinary, max_drop)}


def _keep(classifier: Classifier, folder: RunFolder, row: dict[str, Any], due: bool) -> None:
    """Write the epoch's model, as the best and, where the state is due too, as the last; and its line of metrics."""
    if row["best"]:
        save_model(classifier, folder.best)
    if due:
        save_model(classifier, folder.last)
    folder.append_metrics(row)


def _tell(row: dict[str, Any], schedule: Schedule) -> None:
    """Print an epoch's numbers, with a mark at the one that decides which epoch is kept."""
    parts = [f"training loss {_shown(row)}"]
    if "val_loss" in row:
        decides = " (decides)" if schedule.select == "loss" else ""
        parts += [f"validation loss {row['val_loss']:.4f}{decides}", f"accuracy {100 * row['val_accuracy']:.1f} %"]
    if "val_mixed_other" in row:
        metric = METRICS[schedule.metric]
        shifted, of = row["val_mixed_other"], ""
        if metric.name != ACCURACY:
            shifted, of = row[f"val_{metric.column}_mixed_other"], f"{metric.title} "
        parts.append(f"{of}on backgrounds of other classes {100 * shifted:.1f} % (decides)")
    if "val_worst_group" in row:
        parts.append(f"in the worst group {100 * row['val_worst_group']:.1f} % (decides)")
    if row["best"] and schedule.select != "last":
        parts.append("best so far")
    console.print(f"epoch {row['epoch']}: {', '.join(parts)}", soft_wrap=True)


def _shown(row: dict[str, Any]) -> str:
    loss = "none, no step was possible" if row["train_loss"] is None else f"{row['train_loss']:.4f}"
    skipped = row["skipped_steps"]
    return loss + (f" ({pluralize(skipped, 'step')} skipped: no finite numbers)" if skipped else "")
