"""The device, precision and processes that a command runs with, through Accelerate."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized

from robustvit.options import Precision, Tracker

__all__ = ["make_accelerator"]


def make_accelerator(
    precision: Precision = "no", tracker: Tracker = "none", folder: str | Path | None = None
) -> Accelerator:
    """Make an accelerator for one run.

    Accelerate keeps the precision of a process's first run for all that follow; it is set anew here, so that runs in
    one process do not influence one another.

    Args:
        precision: ``no`` (float32), ``bf16`` or ``fp16``.
        tracker: ``tensorboard`` or ``none``.
        folder: where the tracker writes.
    """
    if is_initialized():
        AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision,
        log_with=None if tracker == "none" else tracker,
        project_dir=None if folder is None else str(folder),
    )
