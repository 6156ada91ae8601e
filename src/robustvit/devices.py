"""The device, precision and processes that a command runs with, through Accelerate."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized
from accelerate.utils import LoggerType

from robustvit.errors import UserError
from robustvit.options import Precision

__all__ = ["make_accelerator"]


def make_accelerator(
    precision: Precision = "no", tracker: str = "none", folder: str | Path | None = None
) -> Accelerator:
    """Make an accelerator for one run.

    Accelerate keeps the precision of a process's first run for all that follow; it is set anew here, so that runs in
    one process do not influence one another.

    Args:
        precision: ``no`` (float32), ``bf16`` or ``fp16``.
        tracker: ``tensorboard``, ``none``, or any that Accelerate knows and that is installed.
        folder: where the tracker writes.

    Raises:
        UserError: Accelerate does not know the tracker, or it is not installed.
    """
    known = [one.value for one in LoggerType if one is not LoggerType.ALL]
    if tracker != "none" and tracker not in known:
        raise UserError(f"expected --tracker to be none or one of {', '.join(known)}, got {tracker!r}")
    if is_initialized():
        AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=precision,
        log_with=None if tracker == "none" else tracker,
        project_dir=None if folder is None else str(folder),
    )
    if tracker != "none" and not accelerator.log_with:
        raise UserError(f"--tracker {tracker} is not installed here: install it, or use --tracker none")
    return accelerator
