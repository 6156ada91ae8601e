"""The state of a training loop: all that a run needs to go on as if it had never been interrupted."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from robustvit.common.errors import UserError
from robustvit.common.run_folder import RunFolder
from robustvit.models.classifier import Classifier
from robustvit.training.means import EpochMeans


def random_states(device: torch.device) -> dict[str, Any]:
    """States of every generator that a step may draw from: Python's, NumPy's, PyTorch's and the device's."""
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
    """Take back what ``random_states`` gave; a run that goes on on another device draws other numbers there."""
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(states["device"])


class TrainingState:
    """How far a run is, saved and loaded with the model, the optimizer, the loss scaler and the random states.

    Args:
        folder: where it is kept.
        classifier: the model.
        optimizer: PyTorch's own, not one that Accelerate has wrapped.
        accelerator: of the run.

    Attributes:
        epoch: epochs finished.
        step: steps done of the epoch after them: the place in the order of photos, which the seed fixes.
        best: lowest score of an epoch.
        means: of those steps.
        bad_steps: counts of steps that were skipped, as ``BadSteps`` keeps them; empty before the first step.
    """

    def __init__(
        self, folder: RunFolder, classifier: Classifier, optimizer: torch.optim.Optimizer, accelerator: Accelerator
    ) -> None:
        self.folder, self.classifier, self.optimizer, self.accelerator = folder, classifier, optimizer, accelerator
        self.epoch, self.step, self.best, self.means = 0, 0, math.inf, EpochMeans()
        self.bad_steps: dict[str, int] = {}
        self._loaded: dict[str, Any] = {}
        self._saved = time.monotonic()

    def load(self) -> bool:
        """Take the saved state into model and optimizer, before Accelerate prepares them; whether there was one."""
        found = self.folder.load_state()
        if found is None:
            return False
        processes = found.get("processes", self.accelerator.num_processes)
        if processes != self.accelerator.num_processes:
            raise UserError(
                f"{self.folder.path} was trained by {processes} processes, now there are "
                f"{self.accelerator.num_processes}: a step would be of another number of photos; start as many"
            )
        try:
            self._take(found)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the state in {self.folder.path} is not of this model and its settings ({reason}): resume with the "
                "model that the run was started with, or start a new run"
            ) from error
        return True

    def _take(self, found: dict[str, Any]) -> None:
        self.classifier.network.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.epoch, self.step, self.best = int(found["epoch"]), int(found.get("step", 0)), float(found["best"])
        self.bad_steps = found.get("bad_steps", {})
        if self.step:
            self.means.load_state_dict(found["means"][self.accelerator.process_index])
        self._loaded = found

    def load_prepared(self) -> None:
        """Take over the saved loss scale, after Accelerate has prepared the model."""
        if self.accelerator.scaler is not None and self._loaded.get("scaler"):
            self.accelerator.scaler.load_state_dict(self._loaded["scaler"])

    def start_epoch(self) -> None:
        """Go on with the random states that were saved after ``step`` steps, or with empty means at an epoch's start.

        To be called when the epoch's own seed is set.
        """
        if self.step and self._loaded:
            set_random_states(self._loaded["random"][self.accelerator.process_index], self.accelerator.device)
        elif not self.step:
            self.means = EpochMeans()
        self._loaded = {}  # the weights in it are not needed twice

    def finish_epoch(self, best: float) -> None:
        """Count an epoch as done."""
        self.epoch, self.step, self.best, self.means = self.epoch + 1, 0, best, EpochMeans()

    @property
    def minutes(self) -> float:
        """Since the state was last saved, or since the start."""
        return (time.monotonic() - self._saved) / 60

    def save(self) -> None:
        """Write the state; every process must come here, and the main one writes."""
        own = {"random": random_states(self.accelerator.device), "means": self.means.state_dict()}
        shares = gather_object([own])
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.folder.save_state(
                {
                    "epoch": self.epoch,
                    "step": self.step,
                    "best": self.best,
                    "bad_steps": self.bad_steps,
                    "processes": self.accelerator.num_processes,
                    "model": self.classifier.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),  # with the rate, which the epoch's number fixes
                    "scaler": None if scaler is None else scaler.state_dict(),
                    "random": [share["random"] for share in shares],
                    "means": [share["means"] for share in shares],
                }
            )
        self.accelerator.wait_for_everyone()
        self._saved = time.monotonic()
