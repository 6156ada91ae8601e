"""The steps of a training epoch: photos in a fixed order, shared among processes, left and taken up at any step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader

from robustvit.common.progress import bar
from robustvit.common.signals import Stopped, StopSignals, reading_processes
from robustvit.data.batches import MaskedPhotos
from robustvit.guidance.method import Guidance, GuidedLoss
from robustvit.training.bad_steps import BadSteps
from robustvit.training.state import TrainingState

if TYPE_CHECKING:
    from robustvit.training.schedule import Schedule


def training_loader(training: MaskedPhotos, batch_size: int, workers: int) -> DataLoader:
    """Photos in an order that ``TrainingSteps`` fixes for each epoch."""
    return DataLoader(
        training,
        batch_size=batch_size,
        shuffle=True,
        generator=torch.Generator(),
        **reading_processes(workers),
    )


def guided_batch(guidance: Guidance, model: nn.Module, batch: dict[str, Tensor]) -> GuidedLoss:
    """The guided loss of a batch, with its labels where every photo has one."""
    labels = batch["label"]
    return guidance(model, batch["image"], batch["mask"], labels if bool((labels >= 0).all()) else None)


def own_share(step: int, batch_size: int, photos: int, rank: int, processes: int) -> tuple[int, float]:
    """How many photos of a process's batch count, and by what its mean loss is to be multiplied.

    In an epoch's last step the photos may not suffice for all processes; Accelerate fills their batches up with photos
    that were seen already. Those are not counted, and as gradients are averaged over processes, not over photos, a
    process with fewer photos must weigh less.

    Args:
        step: of the epoch, from 0.
        batch_size: of each process.
        photos: in the epoch.
        rank: number of the process.
        processes: how many there are.

    Returns:
        Photos from the front of the batch; and the factor, ``processes * own / all``: 1 for each in a full step.
    """
    together = min(photos - step * processes * batch_size, processes * batch_size)
    own = max(0, min(together - rank * batch_size, batch_size))
    return own, processes * own / together


class TrainingSteps:
    """Takes the optimizer through one epoch after the other.

    Every epoch's order and random states follow from the seed and the epoch's number, and a photo's augmentation from
    these and the photo, so that neither interruptions nor the number of processes that read or train change a result
    (but for rounding, and for guidance that draws numbers itself).

    Args:
        model: as Accelerate prepared it; as are ``loader`` and ``optimizer``.
        training: the photos behind ``loader``.
        loader: see ``training_loader``.
        optimizer: changes the weights that may change.
        guidance: turns a batch into a loss.
        state: counts, and is saved.
        stop: signals to heed.
        schedule: photos per step of this process, epochs, and when to save.
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
        self.guidance, self.state, self.stop, self.schedule = guidance, state, stop, schedule
        self.parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.bad = BadSteps(state.accelerator, state.folder.path, training.photos)
        self.bad.load_state_dict(state.bad_steps or self.bad.state_dict())

    @property
    def accelerator(self) -> Accelerator:
        """Device, precision and processes."""
        return self.state.accelerator

    def run_epoch(self) -> dict[str, Any]:
        """Do the steps of the state's epoch that are left; means over its photos.

        Raises:
            Stopped: a signal came; the state is saved.
            UserError: too many steps in a row had no finite loss or gradient.
        """
        batches = self._start()
        title = f"epoch {self.state.epoch + 1}/{self.schedule.epochs}"
        with bar() as progress:
            task = progress.add_task(title, total=len(self.loader), completed=self.state.step)
            for batch in batches:
                self._step(batch)
                if not progress.disable:
                    progress.update(task, advance=1, description=f"{title} loss {self.state.means.loss:.4f}")
                self._save_or_stop()
        return self.state.means.result("train") | {"skipped_steps": self.bad.skipped}

    def _start(self) -> Any:
        """Fix the epoch's order and random states; the batches that are left."""
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
        self.bad.start_epoch(self.state.epoch + 1, go_on=done > 0)
        if done >= len(self.loader):
            return []
        return skip_first_batches(self.loader, done) if done else self.loader

    def _step(self, batch: dict[str, Tensor]) -> None:
        accelerator, state = self.accelerator, self.state
        place = accelerator.process_index, accelerator.num_processes
        own, weight = own_share(state.step, self.schedule.batch_size, len(self.training), *place)
        # Without a photo of its own a process takes the step with one that weighs nothing: the others wait for it.
        batch = {name: value[: max(own, 1)] for name, value in batch.items()}
        guided = guided_batch(self.guidance, self.model, batch)
        if self.bad.take(self._reaching_all(guided.loss * weight), self.optimizer, self.parameters, batch):
            state.means.add(guided, own)
        state.bad_steps = self.bad.state_dict()
        state.step += 1

    def _reaching_all(self, loss: Tensor) -> Tensor:
        """The loss, with a gradient for every weight, be it zero: several processes wait for all of them."""
        if self.accelerator.num_processes == 1:
            return loss
        return loss + sum(0.0 * parameter.flatten()[0] for parameter in self.parameters)

    def _save_or_stop(self) -> None:
        """Save where it is time to, or where a signal asks any process to stop: all of them then stop at this step."""
        asked, due = self.stop.asked, self.state.minutes >= self.schedule.save_every
        if self.accelerator.num_processes > 1:
            said = torch.tensor([[asked, due]], device=self.accelerator.device)
            asked, due = self.accelerator.gather(said).amax(dim=0).tolist()  # type: ignore[union-attr]
        if asked or due:
            self.state.save()
        if asked:
            raise Stopped(asked, self.state.folder.path)
