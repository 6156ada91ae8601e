"""The folder of a finetuning run. Killing the run at any moment loses no finished work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from robustvit.common.errors import UserError
from robustvit.common.files import new_file, read_json, write_json, write_text
from robustvit.common.locks import LOCKS, lock_folder
from robustvit.common.output_paths import check_own_folder
from robustvit.common.provenance import time_now, versions
from robustvit.common.run_selection import RunSelection
from robustvit.common.yaml_files import read_mapping

MODULE = "a module given from Python"  # recorded for a model that has no name
_MARK = "config.yaml"
_VERSION = "robustvit"  # the key that marks a config.yaml as ours
_STATE = "state.pt"
_BEFORE_ALL = (*LOCKS, f".{_MARK}.new")  # all that a run leaves that was killed before its settings were written
_MAY_CHANGE = ("at_inference", "epochs", "out", "save_every", "tracker", "workers")


SWEEP, ORIGINALS = "sweep.yaml", "originals"  # what a folder of trials holds besides them


class RunFolder:
    """The files of a run.

    ``config.yaml`` (settings), ``versions.json``, ``selection.csv``, ``beginning.json`` (losses and answers before
    training, on the photos that choose the epoch), ``metrics.jsonl`` (the same after each epoch), ``state.pt`` (to
    resume from), ``best/`` and ``last/`` (models that ``load_model`` takes), ``before.json`` and ``after.json``
    (measures of every held-out photo), ``by_class.json`` (the guided model's numbers of each class),
    ``at_inference.json`` (what the original answers when it is shown the object alone), ``verdict.json``,
    ``panels/``. With groups, ``groups.json`` has the measures by group, and the numbers of training photos. With
    ``--weight-interpolation``, ``finetuned/`` is the epoch that was kept, ``best/`` lies between it and the original,
    and ``interpolation.json`` says where.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.best, self.last = self.path / "best", self.path / "last"
        self.panels, self.selection = self.path / "panels", self.path / "selection.csv"
        self.photos = RunSelection(self.selection)
        self.before, self.after = self.path / "before.json", self.path / "after.json"
        self.finetuned, self.interpolation = self.path / "finetuned", self.path / "interpolation.json"
        self.at_inference = self.path / "at_inference.json"
        self.by_class = self.path / "by_class.json"
        self.verdict, self.beginning = self.path / "verdict.json", self.path / "beginning.json"
        self.groups = self.path / "groups.json"

    @property
    def originals(self) -> Path | None:
        """The folder in which trials of a sweep share measures of the original model; None for a run by itself."""
        folder = self.path.parent / ORIGINALS
        return folder if folder.is_dir() and (self.path.parent / SWEEP).is_file() else None

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        try:
            self.config()
        except UserError:
            return False
        return True

    def check_free(self, resume: bool) -> None:
        """Check that a run can be written here, before anything is."""
        ours = self.is_run
        if resume and not ours:
            raise UserError(f"expected a run to resume at {self.path}, found none: start it without --resume")
        if resume:
            return
        if check_own_folder(self.path, ours, command="finetune", ignore=_BEFORE_ALL):
            raise UserError(f"{self.path} holds a run already: name another --out, or continue it with --resume")

    @contextmanager
    def locked(self, resume: bool, enabled: bool = True) -> Iterator[None]:
        """Create the folder and lock it against other runs; the lock of a process that dies is released.

        Args:
            resume: see ``check_free``, which is called again under the lock.
            enabled: of several processes of a run only the main one locks.
        """
        with lock_folder(self.path, who="another run", enabled=enabled):
            if enabled:
                self.check_free(resume)
            yield

    def start(self, config: dict[str, Any], selected: str | None = None) -> None:
        """Create the folder, write settings, versions and selection, and remove a verdict that more training outdates.

        Args:
            config: the settings.
            selected: rows of ``selection.csv``; those of an older run, without hashes, stay as they are.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for outcome in (self.verdict, self.best / "verdict.json", self.at_inference):
            outcome.unlink(missing_ok=True)
        self.write_config(config)
        write_json({"command": sys.argv, "started": time_now(), **versions()}, self.path / "versions.json")
        if selected is not None and not self.selection.is_file():
            write_text(selected, self.selection)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the settings, with the version of this package."""
        marked = {_VERSION: version("robustvit"), **config}
        write_text(yaml.safe_dump(marked, sort_keys=False, allow_unicode=True), self.path / _MARK)

    def config(self) -> dict[str, Any]:
        """Return the settings of the run."""
        path = self.path / _MARK
        if not path.exists():
            raise UserError(f"expected a run folder with {_MARK} at {self.path}: name one that finetune wrote")
        try:
            found = read_mapping(path)
        except UserError as error:
            raise UserError(f"{error}; it is not the settings file of a run") from error
        if _VERSION not in found:
            raise UserError(f"{path} was not written by robustvit finetune: name a run folder")
        if found.get("guidance") == "dfr" and found.get("epochs") is not None:
            found["guidance"] = "last-layer"  # the name in older versions, though it started from the old head
        return found

    def shifts(self) -> list[dict[str, Any]]:
        """Return comparisons on shifted tests, if there are any: accuracy ``before``, ``after`` and ``difference``."""
        path = self.path / "shifts.json"
        found = _of_kind(list, path) if path.is_file() else []
        if not all(_is_comparison(row) for row in found):
            raise UserError(f"{path} holds no comparisons written by robustvit: repeat the run, or remove the file")
        return found

    def rivals(self) -> dict[str, Any]:
        """Return what the original answers when it is shown the object alone; empty if it was not measured."""
        path = self.at_inference
        return _of_kind(dict, path) if path.is_file() else {}

    def numbers_by_class(self) -> dict[str, Any]:
        """Return the guided model's numbers of each class; empty for a run of an older version."""
        return _of_kind(dict, self.by_class) if self.by_class.is_file() else {}

    def versions(self) -> dict[str, Any]:
        """Return command, start and versions of the run; empty if they were not written."""
        path = self.path / "versions.json"
        return _of_kind(dict, path) if path.is_file() else {}

    def by_group(self) -> dict[str, Any]:
        """Return measures by group as in JSON, and ``training``, photos by group; empty if groups are not known."""
        return _of_kind(dict, self.groups) if self.groups.is_file() else {}

    def check_same(self, config: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        """Refuse to resume with other settings than the run was started with.

        Args:
            config: settings now.
            old: those of the run, completed if an older version did not write them all.
        """
        for name, value in config.items():
            # With a cosine the number of epochs fixes every rate.
            free = name in _MAY_CHANGE and (name != "epochs" or config.get("lr_schedule") != "cosine")
            if not free and old.get(name) != value:
                raise UserError(
                    f"{self.path} was started with {name}={old.get(name)!r}, now it is {value!r}: resume with the same "
                    "settings or start a new run"
                )

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add the metrics of an epoch, after removing those of this or a later epoch that a killed process left."""
        rows = [old for old in self.metrics() if old["epoch"] < row["epoch"]] + [row]
        write_text("".join(json.dumps(line) + "\n" for line in rows), self.path / "metrics.jsonl")

    def metrics(self) -> list[dict[str, Any]]:
        """Return one dictionary per finished epoch."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        try:
            rows = [json.loads(line) | {} for line in path.read_text(encoding="utf-8").splitlines()]
            return [row | {"epoch": int(row["epoch"])} for row in rows]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(
                f"cannot read {path}, a line of it is broken: {str(error)[:100]}; remove that line"
            ) from error

    def save_state(self, state: dict[str, Any]) -> None:
        """Write what ``--resume`` continues from, whole or not at all."""
        import torch  # seconds to import: not where a run folder is only read

        with new_file(self.path / _STATE) as file:
            torch.save(state, file)

    def load_state(self) -> dict[str, Any] | None:
        """Return the last state, or None if none was saved."""
        path = self.path / _STATE
        if not path.is_file():
            return None
        import torch

        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # a broken pickle can raise anything at all
            raise UserError(
                f"refused to load {path}: it is broken, or holds objects that could run code; remove it to train from "
                "the start"
            ) from error


def _of_kind(kind: type[Any], path: Path) -> Any:
    """Read a JSON file of a run and check its type."""
    found = read_json(path)
    if type(found) is not kind or (kind is list and not all(isinstance(one, dict) for one in found)):
        raise UserError(f"{path} was not written by robustvit, it holds {str(found)[:60]!r}: repeat the run")
    return found


def _is_comparison(row: dict[str, Any]) -> bool:
    """Whether a row has a measure, and a mean with its CI for each side."""
    sides = [row.get(name) for name in ("before", "after", "difference")]
    return isinstance(row.get("measure"), str) and all(
        isinstance(side, dict) and all(type(side.get(name)) in (int, float) for name in ("mean", "low", "high"))
        for side in sides
    )
