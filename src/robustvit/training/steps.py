"""The steps of a training epoch: photos in a fixed order, split among processes, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate import skip_first_batches
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader, WeightedRandomSampler

from robustvit.common.progress import bar
from robustvit.common.signals import Stopped, StopSignals, reading_processes
from robustvit.data.datasets import MaskedPhotos
from robustvit.guidance.group_weights import weigh_groups
from robustvit.guidance.method import Guidance, GuidedLoss
from robustvit.training.bad_steps import BadSteps
from robustvit.training.group_training import number_groups
from robustvit.training.state import TrainingState

if TYPE_CHECKING:
    from robustvit.training.schedule import Schedule


def training_loader(
    training: MaskedPhotos, batch_size: int, workers: int, weights: Sequence[float] | None = None
) -> DataLoader:
    """Load photos in an order that ``TrainingSteps`` fixes for each epoch.

    ``weights`` say how often each photo is drawn, with replacement; without them each is seen once in an epoch.
    """
    generator = torch.Generator()
    drawn = weights and WeightedRandomSampler(weights, len(training), generator=generator)
    return DataLoader(
        training,
        batch_size=batch_size,
        shuffle=None if drawn else True,
        sampler=drawn,
        generator=generator,
        **reading_processes(workers),
    )


def guide_batch(guidance: Guidance, model: nn.Module, batch: dict[str, Tensor]) -> GuidedLoss:
    """Compute the guided loss of a batch, with labels if every photo has one, or with all labels of each."""
    if "targets" in batch:
        return guidance(model, batch["image"], batch["class_masks"], batch["targets"])
    labels = batch["label"]
    return guidance(model, batch["image"], batch["mask"], labels if bool((labels >= 0).all()) else None)


def all_right(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return whether the answer to each photo is right, ``(B,)`` bool; for several labels, whether all answers are."""
    if "targets" in batch:
        return ((logits > 0) == (batch["targets"] > 0.5)).all(dim=1)
    return logits.argmax(dim=1) == batch["label"]


def own_share(step: int, batch_size: int, photos: int, rank: int, processes: int) -> tuple[int, float]:
    """Return how many photos of a process's batch count, and the factor for its mean loss.

    In an epoch's last step (counted from 0) there may be too few photos for all processes; Accelerate fills the batches
    with photos already seen. Those are not counted, and since gradients are averaged over processes, not photos, a
    process with fewer photos must weigh less. The photos are at the front of the batch; the factor is
    ``processes * own / all``, 1 in a full step.
    """
    together = min(photos - step * processes * batch_size, processes * batch_size)
    own = max(0, min(together - rank * batch_size, batch_size))
    return own, processes * own / together


class TrainingSteps:
    """Runs the optimizer's steps, epoch by epoch; model, loader and optimizer are prepared by Accelerate.

    The order and the random states of an epoch depend on the seed and its number only, and a photo's augmentation on
    these and the photo. So neither interruptions nor the number of readers or processes change a result (except for
    rounding, and for guidance that draws random numbers itself).
    """

    def __init__(
        self,
        model: nn.Module,
        training: MaskedPhotos,
        loader: DataLoader,
        optimizer: torch.optim.Optimizer,
        guidance: Guidance,
        state: TrainingState,
        stop: StopSignals,
        schedule: Schedule,
    ) -> None:
        self.model, self.training, self.loader, self.optimizer = model, training, loader, optimizer
        self.guidance, self.stop, self.schedule = guidance, stop, schedule
        self.state, self.accelerator = state, state.accelerator
        self.parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.groups = torch.tensor(number_groups(training.photos) if state.weighting is not None else [])
        self.bad = BadSteps(state.accelerator, state.folder.path, training.photos)
        self.bad.load_state_dict(state.bad_steps or self.bad.state_dict())

    def run_epoch(self) -> dict[str, Any]:
        """Run the remaining steps of the current epoch and return the means over its photos."""
        batches = self._start()
        title = f"epoch {self.state.epoch + 1}/{self.schedule.epochs}"
        with bar() as progress:
            task = progress.add_task(title, total=len(self.loader), completed=self.state.step)
            for batch in batches:
                self._step(batch)
                said = title if progress.disable else f"{title} loss {self.state.means.loss:.4f}"
                progress.update(task, advance=1, description=said)
                self._save_or_stop()
        return self.state.means.result("train") | {"skipped_steps": self.bad.skipped}

    def _start(self) -> Iterable[dict[str, Tensor]]:
        """Fix the order and the random states of the epoch, and return its remaining batches."""
        seed = (self.schedule.seed * 100_003 + self.state.epoch) % 2**32
        self.training.seed = seed
        set_seed(seed, device_specific=self.accelerator.num_processes > 1)
        for owner in (self.loader, getattr(self.loader, "sampler", None), self.loader.batch_sampler):
            for holder in (owner, getattr(owner, "sampler", None)):
                generator = getattr(holder, "generator", None)
                if generator is not None:
                    generator.manual_seed(seed)
        self.state.start_epoch()
        self.model.train()
        done = self.state.step
        self.bad.start_epoch(self.state.epoch + 1, resumed=done > 0)
        if done >= len(self.loader):
            return ()
        return skip_first_batches(self.loader, done) if done else self.loader

    def _step(self, batch: dict[str, Tensor]) -> None:
        accelerator, state = self.accelerator, self.state
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(state.epoch, state.step / len(self.loader))
        own, weight = own_share(
            state.step, self.schedule.batch_size, len(self.training), accelerator.process_index,
            accelerator.num_processes,
        )  # fmt: skip
        # A process without photos takes the step with a photo of weight zero, since the others wait for it.
        batch = {name: value[: max(own, 1)] for name, value in batch.items()}
        guided = guide_batch(self.guidance, self.model, batch)
        if state.weighting is not None:
            groups = self.groups.to(batch["index"].device)[batch["index"][:own]]
            guided = weigh_groups(guided, state.weighting, groups)
        if self.bad.take(self._reaching_all(guided.loss * weight), self.optimizer, self.parameters, batch):
            state.means.add(guided, own)
        state.bad_steps = self.bad.state_dict()
        state.step += 1

    def _reaching_all(self, loss: Tensor) -> Tensor:
        """Give every weight a gradient, zero if need be: several processes wait for all of them."""
        if self.accelerator.num_processes == 1:
            return loss
        return loss + sum(0.0 * parameter.flatten()[0] for parameter in self.parameters)

    def _save_or_stop(self) -> None:
        """Save the state when it is due; if a signal stops any process, save it and stop all processes at this step."""
        asked, due = self.stop.asked, self.state.minutes >= self.schedule.save_every
        if self.accelerator.num_processes > 1:
            said = torch.tensor([[asked, due]], device=self.accelerator.device)
            asked, due = self.accelerator.gather(said).amax(dim=0).tolist()  # type: ignore[union-attr]
        if asked or due:
            self.state.save()
        if asked:
            raise Stopped(asked, self.state.folder.path)
