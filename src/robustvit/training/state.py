"""The state of a training loop: everything a run needs to resume as if it had never been interrupted."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.guidance.group_weights import GroupWeighting
from robustvit.guidance.method import GuidedLoss
from robustvit.models.classifier import Classifier


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of all generators that a step may use: Python's, NumPy's, PyTorch's and the device's."""
    name, key, *rest = np.random.get_state(legacy=True)
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (name, np.asarray(key).tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        found["device"] = torch.get_device_module(device).get_rng_state()
    return found


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Restore the states of ``random_states``; a run resumed on another device draws different random numbers on it."""
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(states["device"])


class EpochMeans:
    """Sums over the photos of an epoch in this process, by name, and the number of these photos."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}
        self.count = 0

    def add(self, guided: GuidedLoss, count: int, **more: Tensor) -> None:
        """Add the means of a batch of ``count`` photos."""
        if not count:
            return
        self.count += count
        for name, value in {"loss": guided.loss.detach(), **guided.parts, **more}.items():
            value = value.cpu() if value.device.type == "mps" else value  # it has no float64
            self.values[name] = self.values.get(name, 0.0) + value.double() * count

    @property
    def loss(self) -> float:
        """Mean loss so far in this process; NaN without photos."""
        return float(self.values["loss"]) / self.count if self.count else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Return sums and count as plain numbers."""
        return {"values": {name: float(value) for name, value in self.values.items()}, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the sums and the count of ``state_dict``."""
        self.values = {name: torch.tensor(value, dtype=torch.float64) for name, value in state["values"].items()}
        self.count = state["count"]

    def result(self, prefix: str) -> dict[str, float | None]:
        """Return the means over the photos of all processes; the loss is None without photos."""
        shares = gather_object([self.state_dict()])
        count = sum(share["count"] for share in shares)
        if not count:
            return {f"{prefix}_loss": None}
        names = dict.fromkeys(name for share in shares for name in share["values"])
        sums = {name: sum(share["values"].get(name, 0.0) for share in shares) for name in names}
        return {f"{prefix}_{name}": value / count for name, value in sums.items()}


class TrainingState:
    """The progress of a run, saved and loaded with model, optimizer (not wrapped), loss scaler and random states.

    Attributes:
        epoch: epochs finished.
        step: steps done in the current epoch, whose order of photos the seed fixes.
        best: lowest score of an epoch.
        means: of those steps.
        bad_steps: counts of skipped steps, see ``BadSteps``; empty before the first step.
        weighting: weights of groups, if they have some; set it before ``load``.
    """

    def __init__(
        self, folder: RunFolder, classifier: Classifier, optimizer: torch.optim.Optimizer, accelerator: Accelerator
    ) -> None:
        self.folder, self.classifier, self.optimizer, self.accelerator = folder, classifier, optimizer, accelerator
        self.epoch, self.step, self.best, self.means = 0, 0, math.inf, EpochMeans()
        self.bad_steps: dict[str, int] = {}
        self.weighting: GroupWeighting | None = None
        self._loaded: dict[str, Any] = {}
        self._saved, self._kept = time.monotonic(), False

    def load(self) -> bool:
        """Load the saved state before Accelerate prepares model and optimizer; return whether there is a state."""
        found = self.folder.load_state()
        if found is None:
            return False
        processes = found.get("processes", self.accelerator.num_processes)
        if processes != self.accelerator.num_processes:
            raise UserError(
                f"{self.folder.path} was trained by {processes} processes, now there are "
                f"{self.accelerator.num_processes}: a step would have another number of photos; start {processes}"
            )
        try:
            self._take(found)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the state in {self.folder.path} does not fit this model and its settings ({reason}): resume with the "
                "model that the run was started with, or start a new run"
            ) from error
        return True

    def _take(self, found: dict[str, Any]) -> None:
        self.classifier.network.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.epoch, self.step, self.best = int(found["epoch"]), int(found.get("step", 0)), float(found["best"])
        self.bad_steps = found.get("bad_steps", {})
        if self.weighting is not None:
            self.weighting.load_state_dict(found["weighting"])
        if self.step:
            self.means.load_state_dict(found["means"][self.accelerator.process_index])
        self._loaded = found

    def load_prepared(self) -> None:
        """Load the saved loss scale, after Accelerate has prepared the model."""
        if self.accelerator.scaler is not None and self._loaded.get("scaler"):
            self.accelerator.scaler.load_state_dict(self._loaded["scaler"])

    def start_epoch(self) -> None:
        """Restore the random states saved after ``step`` steps, or reset the means at the start of an epoch.

        Call it after setting the epoch's seed.
        """
        if self.step and self._loaded:
            set_random_states(self._loaded["random"][self.accelerator.process_index], self.accelerator.device)
        elif not self.step:
            self.means = EpochMeans()
        self._loaded = {}  # the weights in it are not needed twice

    def finish_epoch(self, best: float) -> None:
        """Count an epoch as finished."""
        self.epoch, self.step, self.best, self.means = self.epoch + 1, 0, best, EpochMeans()

    @property
    def minutes(self) -> float:
        """Minutes since the state was last saved, or since the start."""
        return (time.monotonic() - self._saved) / 60

    def is_due(self, minutes: float) -> bool:
        """Whether this process has not saved yet, or not for that many minutes; every process must call this."""
        due = not self._kept or self.minutes >= minutes
        return any(gather_object([due])) if self.accelerator.num_processes > 1 else due

    def save(self) -> None:
        """Save the state; every process must call this, and the main one writes."""
        mine = {"random": random_states(self.accelerator.device), "means": self.means.state_dict()}
        shares = gather_object([mine])
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.folder.save_state(
                {
                    "epoch": self.epoch,
                    "step": self.step,
                    "best": self.best,
                    "bad_steps": self.bad_steps,
                    "weighting": None if self.weighting is None else self.weighting.state_dict(),
                    "processes": self.accelerator.num_processes,
                    "model": self.classifier.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),  # with the rate, which the epoch's number fixes
                    "scaler": None if scaler is None else scaler.state_dict(),
                    "random": [share["random"] for share in shares],
                    "means": [share["means"] for share in shares],
                }
            )
        self.accelerator.wait_for_everyone()
        self._saved, self._kept = time.monotonic(), True
