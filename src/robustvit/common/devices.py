"""The device, precision and processes that a command runs with, through Accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType, gather_object

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Device, Precision
from robustvit.common.workers import check_job

Item = TypeVar("Item")
_OF_JOBS = (
    "WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
)  # fmt: skip


def make_accelerator(
    precision: Precision = "no",
    tracker: str = "none",
    folder: str | Path | None = None,
    device: Device = "auto",
) -> Accelerator:
    """Make an accelerator for one run; ``folder``: where the tracker writes.

    Accelerate keeps the precision of the first run in a process. It is reset here, so that runs in one process are
    independent.
    """
    expect_one_of("--tracker", tracker, ["none", *(kind.value for kind in LoggerType if kind is not LoggerType.ALL)])
    if not has_tracker(tracker):
        package = "'robustvit[tracking]'" if tracker == "tensorboard" else tracker
        raise UserError(
            f"--tracker {tracker} is not installed here: pip install {package}, or leave --tracker out "
            "(metrics.jsonl is always written)"
        )
    check_job()
    if is_initialized():
        AcceleratorState._reset_state(reset_partial_state=PartialState().num_processes == 1)
    with _explain_start():
        accelerator = Accelerator(
            # Without this, each process on a machine without a GPU would believe that it is alone.
            cpu=device == "cpu" or not torch.accelerator.is_available(),
            mixed_precision=precision,
            log_with=None if tracker == "none" else tracker,
            project_dir=None if folder is None else str(folder),
        )
    if precision == "fp16" and accelerator.device.type == "cpu":
        raise UserError("expected a GPU for --precision fp16, found none: use bf16 or no")
    return accelerator


@contextmanager
def _explain_start() -> Iterator[None]:
    """Turn errors about the environment variables of a job into one line."""
    before = dict(os.environ)  # Accelerate completes it before it fails
    try:
        yield
    except ValueError as error:
        os.environ.clear()
        os.environ.update(before)
        named = [name for name in _OF_JOBS if name in before]
        if not named:
            raise
        raise UserError(
            f"cannot start as one of several processes, as {', '.join(named)} in the environment says "
            f"({' '.join(str(error).split())[:150]}): start with torchrun or accelerate launch, or unset them"
        ) from error


def has_tracker(name: str) -> bool:
    """Whether a tracker is installed; ``none`` always is."""
    return name == "none" or name in [str(one) for one in get_available_trackers()]


@dataclass(frozen=True)
class Share:
    """The part of the work that process number ``rank``, from 0, does."""

    rank: int = 0
    processes: int = 1

    @classmethod
    def of(cls, accelerator: Accelerator | None) -> Share:
        """Return the share of this process; without an accelerator, all of the work."""
        return cls() if accelerator is None else cls(accelerator.process_index, accelerator.num_processes)

    def of_items(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return every ``processes``-th item, from the ``rank``-th."""
        return items[self.rank :: self.processes]

    def gather(self, mine: list[Item]) -> list[Item]:
        """Gather the results of all processes in the order of the items; every process must call this."""
        if self.processes == 1:
            return mine
        shares = gather_object([mine])
        longest = max(map(len, shares))
        return [share[place] for place in range(longest) for share in shares if place < len(share)]
