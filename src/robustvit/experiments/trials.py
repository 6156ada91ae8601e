"""One trial of many: a finetuning run in a folder that is named by what the run does."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robustvit.common.files import write_json
from robustvit.common.intervals import Interval
from robustvit.common.outcomes import rank

State = Literal["finished", "begun", "new"]
_RECORD = "trial.json"


def trial_key(options: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for a run's options, in whatever order they come."""
    text = json.dumps(options, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Trial:
    """A run to make.

    Attributes:
        options: all options of finetune but where it writes, as ``effective_options`` gives them.
        labels: what sets it apart from the other trials, by what varies.
    """

    options: dict[str, Any]
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of its folder."""
        return trial_key(self.options)

    def __str__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in self.labels.items())
        return f"{self.key}  {labels}" if labels else self.key


def state_of(folder: Path) -> State:
    """How far a trial's run is; only a finished one has a verdict."""
    from robustvit.common.run_folder import RunFolder

    run = RunFolder(folder)
    if run.verdict.is_file():
        return "finished"
    return "begun" if run.is_run else "new"


def run_trial(options: Mapping[str, Any], folder: Path) -> str:
    """Make one run, continue it where it was killed, or leave it alone where it is finished.

    Returns:
        What went wrong, in one line, or nothing. A mistake in one trial must not end the others.
    """
    from robustvit.training.finetune import finetune

    state = state_of(folder)
    if state == "finished":
        return ""
    start = time.perf_counter()
    try:
        if state == "new" and folder.is_dir():  # killed while its first file was written
            (folder / ".config.yaml.new").unlink(missing_ok=True)
        finetune(**options, out=str(folder), resume=state == "begun")
    except Exception as error:
        return _line(error)
    write_json({"seconds": round(time.perf_counter() - start, 1), "resumed": state == "begun"}, folder / _RECORD)
    return ""


def _line(error: Exception) -> str:
    from robustvit.common.errors import UserError

    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".rstrip(": ")


def trial_seconds(folder: Path) -> float | None:
    """Seconds that the call took that finished a run; None where they were not written."""
    path = folder / _RECORD
    return json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.is_file() else None


Done = Callable[[Trial, str], None]  # takes a trial that ended, and what went wrong with it or ""


def objective(measure: str, max_drop: float, folder: Path) -> float | None:
    """What a search maximises, see ``rank``; None where the measure was not measured."""
    gained, ordinary = changes(measure, folder)
    return None if gained is None else rank(gained, ordinary, max_drop)


def changes(measure: str, folder: Path) -> tuple[Interval | None, Interval | None]:
    """What a finished run changed of a measure and of ordinary accuracy, as far as they were measured.

    A run of an older version has no mixed-other, and counts by its mixed-rand.
    """
    from robustvit.common.verdict import read_verdict

    verdict = read_verdict(folder / "verdict.json")
    gained, ordinary = verdict.of(measure), verdict.of("ordinary")
    if gained is None and measure == "mixed-other":
        gained = verdict.of("mixed-rand")
    return None if gained is None else gained.difference, None if ordinary is None else ordinary.difference
