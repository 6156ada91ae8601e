"""The finetuning loop: one for every guidance method, resumable at every epoch with identical results."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from torch.utils.data import DataLoader

from robustvit.bad_steps import BadSteps
from robustvit.checkpoints import save_model
from robustvit.classifier import Classifier
from robustvit.data.batches import MaskedPhotos
from robustvit.errors import UserError, expect_at_least
from robustvit.files import write_json
from robustvit.guidance import Guidance, GuidedLoss
from robustvit.measurement import PhotoMeasure
from robustvit.options import Select, Train
from robustvit.parameters import trainable
from robustvit.progress import bar, console
from robustvit.runs import RunFolder

__all__ = ["Schedule", "train"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, and which epoch to keep.

    Attributes:
        lr: AdamW's learning rate at the start; multiplied by 0.85 every second epoch.
        epochs: passes over the training photos.
        batch_size: photos per step and process.
        weight_decay: AdamW's.
        train: weights that may change: ``all``, ``attention`` (queries and keys, without weight decay) or ``head``.
        select: keep the epoch of the lowest validation ``loss`` (the paper's), or the ``robust`` one: highest
            mixed-rand accuracy whose ordinary accuracy fell by at most ``max_drop``.
        max_drop: points of ordinary accuracy that may be lost.
        seed: fixes order and augmentation.
        workers: processes that read photos.
    """

    lr: float
    epochs: int = 50
    batch_size: int = 8
    weight_decay: float = 1e-4
    train: Train = "all"
    select: Select = "loss"
    max_drop: float = 2.0
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("lr", "epochs", "batch_size"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"expected --{name.replace('_', '-')} above 0, got {getattr(self, name)}")
        expect_at_least(0, weight_decay=self.weight_decay, max_drop=self.max_drop, seed=self.seed, workers=self.workers)
        if self.train not in get_args(Train):
            raise UserError(f"expected --train to be one of {', '.join(get_args(Train))}, got {self.train!r}")
        if self.select not in ("loss", "robust"):
            raise UserError(f"expected --select to be loss or robust, got {self.select!r}")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.lr * 0.85 ** (epoch // 2)


def train(
    classifier: Classifier,
    training: MaskedPhotos,
    validation: MaskedPhotos,
    *,
    guidance: Guidance,
    schedule: Schedule,
    accelerator: Accelerator,
    folder: RunFolder,
    measure_now: Callable[[], list[PhotoMeasure]],
    before: list[PhotoMeasure],
) -> None:
    """Finetune a classifier and keep its best and its last epoch in the run folder.

    All randomness of an epoch is drawn from the seed and the epoch's number, so a run that was killed and resumed
    ends with the same weights, bit for bit, as one that was not.

    Args:
        classifier: changed in place.
        training: photos to train on, augmented.
        validation: photos held out, not augmented.
        guidance: turns a batch into a loss.
        schedule: how long and how fast.
        accelerator: device, precision, processes and trackers.
        folder: where everything is written; continued from its state if it has one.
        measure_now: measures the classifier on the photos held out.
        before: those measures of the original model.
    """
    loader = DataLoader(
        training,
        batch_size=schedule.batch_size,
        shuffle=True,
        num_workers=schedule.workers,
        generator=torch.Generator(),
    )
    validation_loader = DataLoader(validation, batch_size=schedule.batch_size, num_workers=schedule.workers)
    with trainable(classifier, schedule.train) as parameters:
        decay = 0.0 if schedule.train == "attention" else schedule.weight_decay
        optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=decay)
        start, best = 0, math.inf
        steps = BadSteps(accelerator, folder.path, training.photos)
        if state := folder.load_state():
            classifier.network.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            start, best = state["epoch"], state["best"]
            steps.load_state_dict(state.get("bad_steps", steps.state_dict()))
        # Every process validates on all photos: sharing them out would count some twice to fill the last batch.
        model, optimizer, loader = accelerator.prepare(classifier, optimizer, loader)
        if accelerator.scaler is not None and state and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        if start == 0:
            beginning = _validate(model, validation_loader, guidance, accelerator, epoch=0)
            if accelerator.is_main_process:
                write_json(beginning, folder.beginning)
        for epoch in range(start, schedule.epochs):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(epoch)
            row = {"epoch": epoch + 1, "lr": schedule.rate(epoch)}
            row |= _train_epoch(model, loader, optimizer, guidance, schedule, accelerator, epoch, parameters, steps)
            row |= _validate(model, validation_loader, guidance, accelerator, epoch + 1)
            score = row["val_loss"]
            if schedule.select == "robust":
                robust = _robust_score(before, measure_now(), schedule.max_drop)
                row |= robust
                score = robust["score"]
            accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=epoch + 1)
            improved = score < best or epoch == 0
            best = min(best, score)
            if accelerator.is_main_process:
                _keep(classifier, optimizer, accelerator, folder, row | {"best": improved}, best, steps)
            accelerator.wait_for_everyone()
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # what is measured next is the plain model


def _train_epoch(
    model, loader, optimizer, guidance, schedule, accelerator, epoch, parameters: list[torch.nn.Parameter], steps
) -> dict[str, Any]:
    seed = (schedule.seed * 100_003 + epoch) % 2**32
    set_seed(seed, device_specific=accelerator.num_processes > 1)
    _seed_shuffle(loader, seed)
    model.train()
    means = _Means()
    steps.start_epoch(epoch + 1)
    with bar() as progress:
        task = progress.add_task(f"epoch {epoch + 1}/{schedule.epochs}", total=len(loader))
        for batch in loader:
            guided = _guided(guidance, model, batch)
            loss = _reaching_all(guided.loss, parameters, accelerator)
            if steps.take(loss, optimizer, parameters, batch):
                means.add(guided, len(batch["image"]))
            if not progress.disable:
                shown = f"epoch {epoch + 1}/{schedule.epochs} loss {means.loss:.4f}"
                progress.update(task, advance=1, description=shown)
    return means.result("train", accelerator) | {"skipped_steps": steps.skipped}


def _reaching_all(loss: Tensor, parameters: list[torch.nn.Parameter], accelerator: Accelerator) -> Tensor:
    """The loss, with a gradient for every weight, be it zero: several processes wait for all of them."""
    if accelerator.num_processes == 1:
        return loss
    return loss + sum(0.0 * parameter.flatten()[0] for parameter in parameters)


def _seed_shuffle(loader: DataLoader, seed: int) -> None:
    for owner in (loader, getattr(loader, "sampler", None), getattr(loader.batch_sampler, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if generator is not None:
            generator.manual_seed(seed)


def _guided(guidance: Guidance, model, batch: dict[str, Tensor]) -> GuidedLoss:
    labels = batch["label"]
    return guidance(model, batch["image"], batch["mask"], labels if bool((labels >= 0).all()) else None)


@torch.no_grad()
def _validate(model, loader, guidance, accelerator, epoch: int) -> dict[str, float]:
    model.eval()
    means = _Means()
    for raw in loader:
        batch = {name: value.to(accelerator.device) for name, value in raw.items()}
        guided = _guided(guidance, model, batch)
        accuracy = (guided.logits.argmax(dim=1) == batch["label"]).float().mean()
        means.add(guided, len(batch["image"]), accuracy=accuracy)
    found = means.result("val", accelerator)
    if not math.isfinite(found["val_loss"]):
        advice = f"in epoch {epoch}: lower --lr and start anew" if epoch else "before training: try other weights"
        raise UserError(f"the validation loss was {found['val_loss']} {advice}")
    return found


class _Means:
    """Means of a guided loss and its parts over the photos of an epoch."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}
        self.count = 0

    def add(self, guided: GuidedLoss, count: int, **more: Tensor) -> None:
        self.count += count
        for name, value in {"loss": guided.loss.detach(), **guided.parts, **more}.items():
            self.values[name] = self.values.get(name, 0.0) + value.double() * count

    @property
    def loss(self) -> float:
        """Mean loss so far in this process, NaN where there is none."""
        return float(self.values["loss"]) / self.count if self.count else math.nan

    def result(self, prefix: str, accelerator: Accelerator) -> dict[str, Any]:
        """Means over all processes, in a fixed order of names; a loss of None where every step was skipped."""
        if not self.count:
            return {f"{prefix}_loss": None}
        count = torch.tensor(float(self.count), dtype=torch.float64, device=accelerator.device)
        sums = accelerator.reduce(torch.stack([*self.values.values(), count])).cpu()
        means = (sums[:-1] / sums[-1]).tolist()
        return {f"{prefix}_{name}": value for name, value in zip(self.values, means, strict=True)}


def _robust_score(before: list[PhotoMeasure], now: list[PhotoMeasure], max_drop: float) -> dict[str, float]:
    """Accuracies of this epoch, and a score to minimise: ``--select robust``.

    Epochs that lost too much ordinary accuracy rank behind all others, by how much they lost.
    """

    def mean(results: list[PhotoMeasure], name: str) -> float:
        values = [r.values[name] for r in results if name in r.values]
        return sum(values) / len(values)

    ordinary, shifted = mean(now, "ordinary"), mean(now, "mixed-rand")
    lost = 100 * (mean(before, "ordinary") - ordinary)
    score = -shifted if lost <= max_drop + 1e-9 else 1 + lost
    return {"val_ordinary": ordinary, "val_mixed_rand": shifted, "score": score}


def _keep(
    classifier: Classifier,
    optimizer,
    accelerator: Accelerator,
    folder: RunFolder,
    row: dict[str, Any],
    best: float,
    steps: BadSteps,
) -> None:
    """Write the epoch; the state comes last, so that a kill before it repeats the epoch with the same outcome."""
    if row["best"]:
        save_model(classifier, folder.best)
    save_model(classifier, folder.last)
    folder.append_metrics(row)
    raw = getattr(optimizer, "optimizer", optimizer)
    folder.save_state(
        {
            "epoch": row["epoch"],
            "best": best,
            "model": classifier.network.state_dict(),
            "optimizer": raw.state_dict(),
            "bad_steps": steps.state_dict(),
            "scaler": None if accelerator.scaler is None else accelerator.scaler.state_dict(),
        }
    )
    console.print(
        f"epoch {row['epoch']}: training loss {_shown(row)}, validation loss {row['val_loss']:.4f}, "
        f"accuracy {100 * row['val_accuracy']:.1f} %{', best so far' if row['best'] else ''}",
        soft_wrap=True,
    )


def _shown(row: dict[str, Any]) -> str:
    loss = "none, no step was possible" if row["train_loss"] is None else f"{row['train_loss']:.4f}"
    return loss + (f" ({row['skipped_steps']} steps skipped: no finite numbers)" if row["skipped_steps"] else "")
