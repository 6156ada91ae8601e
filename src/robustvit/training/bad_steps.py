"""Skip and count steps whose loss or gradient is not finite; stop the run after ten in a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import save
from torch import Tensor, nn

from robustvit.common.errors import UserError, printable
from robustvit.common.files import new_file
from robustvit.data.photo import Photo

MOST_IN_A_ROW = 10


class BadSteps:
    """Takes the optimizer's steps, except those that would write NaN or infinity into the weights.

    If the loss of any process or the norm of the gradient is not finite, all processes skip the step. With fp16 a
    gradient that overflows is handled by the scaler, which lowers its scale: the step is counted as skipped, but not
    as skipped in a row while the scale is above 1. If the run has to stop, the last batch is written to ``folder``.

    Attributes:
        skipped: steps skipped since ``start_epoch``.
        in_a_row: steps skipped since the last step taken, across epochs.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, photos: Sequence[Photo]) -> None:
        self.accelerator, self.folder, self.photos = accelerator, folder, photos
        self.epoch = self.skipped = self.in_a_row = 0

    def start_epoch(self, epoch: int, resumed: bool = False) -> None:
        """Start to count the skipped steps of an epoch, numbered from 1; a resumed epoch keeps its count."""
        self.epoch, self.skipped = epoch, self.skipped if resumed else 0

    def state_dict(self) -> dict[str, int]:
        """Return the counts, so that a resumed run stops where an uninterrupted one would."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Load the counts of ``state_dict``."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def take(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], batch: dict[str, Tensor]
    ) -> bool:
        """Do the backward pass and a step, or skip the step; return whether the weights were changed.

        The gradients are cleared in both cases. The batch has ``image``, ``mask``, ``label`` and ``index``.
        """
        number = float(loss.detach())
        problem = "" if self._all_finite(loss) else f"the loss was {number}"
        if not problem:
            self.accelerator.backward(loss)
            problem = self._try_step(optimizer, parameters)
        optimizer.zero_grad()
        if not problem:
            self.in_a_row = 0
            return True
        self.skipped += 1
        scaler = self.accelerator.scaler
        searching = scaler is not None and scaler.get_scale() > 1 and problem.startswith("the gradient")
        self.in_a_row += not searching
        if self.in_a_row >= MOST_IN_A_ROW:
            self._stop(problem, batch)
        return False

    def _all_finite(self, loss: Tensor) -> bool:
        finite = torch.isfinite(loss.detach())
        if self.accelerator.num_processes > 1:  # a process that continued alone would wait for the others forever
            bad: Tensor = self.accelerator.reduce((~finite).float())  # type: ignore[assignment]
            return not bool(bad)
        return bool(finite)

    def _try_step(self, optimizer, parameters: list[nn.Parameter]) -> str:
        """Take the step if the gradient is finite, else return the problem; all processes have the same gradient."""
        if self.accelerator.scaler is None:
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            if not torch.isfinite(norm):
                return f"the gradient's norm was {float(norm)}"
            optimizer.step()
            return ""
        optimizer.step()  # the scaler looks at the gradient itself
        return "the gradient was not finite" if optimizer.step_was_skipped else ""

    def _stop(self, problem: str, batch: dict[str, Tensor]) -> None:
        several = self.accelerator.num_processes > 1
        path = self.folder / f"bad_batch{f'_{self.accelerator.process_index}' if several else ''}.safetensors"
        names = [printable(str(self.photos[index].image)) for index in batch["index"].tolist()]
        tensors = {name: batch[name].detach().cpu().contiguous() for name in ("image", "mask", "label")}
        said = {"photos": json.dumps(names), "problem": problem, "epoch": str(self.epoch)}
        with new_file(path) as file:
            file.write(save(tensors, metadata=said))
        raise UserError(
            f"{problem} in epoch {self.epoch}, and {MOST_IN_A_ROW} steps in a row had to be skipped: lower --lr and "
            f"start again; the last batch is in {path}"
        )
