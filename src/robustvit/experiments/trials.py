"""Trials: finetuning runs in a sweep folder, each named by its options."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from robustvit.common.errors import UserError
from robustvit.common.files import read_json, write_json, write_text
from robustvit.common.intervals import Interval
from robustvit.common.outcomes import rank
from robustvit.common.output_paths import check_own_folder
from robustvit.common.run_folder import ORIGINALS, SWEEP, RunFolder
from robustvit.common.verdict_files import read_verdict

State = Literal["finished", "begun", "new"]
_RECORD = "trial.json"


def trial_key(options: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that identify a run's options, in any order.

    The tracker does not change what a run does. It counts as ``tensorboard``, its default in older versions, and the
    recommended recipe as ``own``, its name in these, so that their trials keep their names.
    """
    fixed = {"tracker": "tensorboard"} if "tracker" in options else {}
    fixed |= {"recipe": "own"} if options.get("recipe") == "recommended" else {}
    text = json.dumps({**options, **fixed}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Trial:
    """A finetuning run of a sweep.

    Attributes:
        options: options of finetune without its output, from ``effective_options``.
        labels: values of the options that vary.
    """

    options: dict[str, Any]
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of its folder."""
        return trial_key(self.options)

    def __str__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in self.labels.items())
        return f"{self.key}  {labels}" if labels else self.key


def state_of(folder: Path) -> State:
    """Return the state of a run; only a finished one has a verdict."""
    run = RunFolder(folder)
    if run.verdict.is_file():
        return "finished"
    return "begun" if run.is_run else "new"


def run_trial(options: Mapping[str, Any], folder: Path) -> str:
    """Start or resume a run; do nothing if it is finished.

    Returns:
        The error in one line, or an empty string: one failed trial must not stop the others.
    """
    from robustvit.training.finetune import finetune

    state = state_of(folder)
    if state == "finished":
        return ""
    start = time.perf_counter()
    try:
        if state == "new" and folder.is_dir():  # killed while writing its first file
            (folder / ".config.yaml.new").unlink(missing_ok=True)
        finetune(**options, out=str(folder), resume=state == "begun", at_inference="none")
    except Exception as error:
        line = " ".join(str(error).split())
        return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}".rstrip(": ")
    write_json({"seconds": round(time.perf_counter() - start, 1), "resumed": state == "begun"}, folder / _RECORD)
    return ""


def trial_seconds(folder: Path) -> float | None:
    """Return the duration of the call that finished a run, in seconds; None if not recorded."""
    path = folder / _RECORD
    return read_json(path)["seconds"] if path.is_file() else None


Done = Callable[[Trial, str], None]  # called with a trial that ended, and its error or ""


def objective(measure: str, max_drop: float, folder: Path) -> float | None:
    """Return the value that a search maximises, see ``rank``; None if the measure was not measured."""
    gained, ordinary = changes(measure, folder)
    return None if gained is None else rank(gained, ordinary, max_drop)


def changes(measure: str, folder: Path) -> tuple[Interval | None, Interval | None]:
    """Return the changes of a measure and of ordinary accuracy in a finished run, if measured.

    With another --metric than accuracy it is that metric of the same photos. Runs of older versions have no
    mixed-other; mixed-rand is used instead.
    """
    from robustvit.evaluation.measured_intervals import measure_name

    verdict = read_verdict(folder / "verdict.json")
    gained, ordinary = (
        verdict.of(measure_name(verdict.metric, name)) or verdict.of(name) for name in (measure, "ordinary")
    )
    if gained is None and measure == "mixed-other":
        gained = verdict.of("mixed-rand")
    return None if gained is None else gained.difference, None if ordinary is None else ordinary.difference


def check_sweep_folder(folder: Path) -> None:
    """Check that trials may be written to a folder: it must be new, empty or that of a sweep."""
    half = f".{SWEEP}.new"  # killed while writing the mark
    check_own_folder(folder, (folder / SWEEP).is_file(), command="sweep or search", ignore=(half,))


def start_sweep_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Create the folder, and record the settings and the version."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ORIGINALS).mkdir(exist_ok=True)
    marked = {"robustvit": version("robustvit"), **settings}
    write_text(yaml.safe_dump(marked, sort_keys=False, allow_unicode=True), folder / SWEEP)
