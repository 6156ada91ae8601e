"""The folder of a finetuning run. Killing the run at any moment loses no finished work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from robustvit.common.errors import UserError
from robustvit.common.files import new_file, read_json, write_json, write_text
from robustvit.common.locks import LOCKS, lock_folder
from robustvit.common.output_paths import check_own_folder
from robustvit.common.provenance import time_now, versions
from robustvit.common.run_selection import RunSelection
from robustvit.common.yaml_files import read_mapping

if TYPE_CHECKING:
    from robustvit.common.verdict_files import Comparison

MODULE = "a module given from Python"  # recorded for a model that has no name
_MARK = "config.yaml"
_VERSION = "robustvit"  # the key that marks a config.yaml as written by this package
_STATE = "state.pt"
_BEFORE_ALL = (*LOCKS, f".{_MARK}.new")  # all files of a run that was killed before its settings were written
_MAY_CHANGE = ("at_inference", "epochs", "out", "save_every", "tracker", "workers")


SWEEP, ORIGINALS = "sweep.yaml", "originals"  # in a folder of trials


class RunFolder:
    """The files of a run.

    ``config.yaml`` (settings), ``versions.json`` (with command and start), ``selection.csv``, ``beginning.json``
    (losses and answers before training, on the photos that choose the epoch), ``metrics.jsonl`` (the same after each
    epoch), ``state.pt`` (to resume from), ``best/`` and ``last/`` (models for ``load_model``), ``before.json`` and
    ``after.json`` (measures of every held-out photo), ``by_class.json`` (the guided model's numbers of each class),
    ``at_inference.json`` (answers of the original to the object alone), ``verdict.json``, ``panels/``. With groups,
    ``groups.json`` has the measures by group as ``evaluate --json`` prints them, and under ``training`` the numbers of
    training photos. With ``--weight-interpolation``, ``finetuned/`` is the epoch that was kept, ``best/`` lies between
    it and the original, and ``interpolation.json`` says where.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.best, self.last = self.path / "best", self.path / "last"
        self.panels, self.selection = self.path / "panels", self.path / "selection.csv"
        self.photos = RunSelection(self.selection)
        self.before, self.after = self.path / "before.json", self.path / "after.json"
        self.finetuned, self.interpolation = self.path / "finetuned", self.path / "interpolation.json"
        self.at_inference = self.path / "at_inference.json"
        self.by_class, self.versions = self.path / "by_class.json", self.path / "versions.json"
        self.verdict, self.beginning = self.path / "verdict.json", self.path / "beginning.json"
        self.groups = self.path / "groups.json"

    @property
    def originals(self) -> Path | None:
        """The folder where trials of a sweep share measures of the original model; None for a single run."""
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
        """Check that a run can be started or resumed here."""
        ours = self.is_run
        if resume and not ours:
            raise UserError(f"expected a run to resume at {self.path}, found none: start it without --resume")
        if not resume and check_own_folder(self.path, ours, command="finetune", ignore=_BEFORE_ALL):
            raise UserError(f"{self.path} holds a run already: name another --out, or continue it with --resume")

    @contextmanager
    def lock(self, resume: bool, enabled: bool = True) -> Iterator[None]:
        """Create the folder, lock it against other runs and call ``check_free`` again; see ``lock_folder``."""
        with lock_folder(self.path, who="another run", enabled=enabled):
            if enabled:
                self.check_free(resume)
            yield

    def start(self, config: dict[str, Any], selected: str | None = None) -> None:
        """Create the folder, write settings, versions and selection, and remove a verdict that more training outdates.

        ``selected``: rows of ``selection.csv``; an existing file, perhaps of an older version, remains as it is.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for outcome in (self.verdict, self.best / "verdict.json", self.at_inference):
            outcome.unlink(missing_ok=True)
        self.write_config(config)
        write_json({"command": sys.argv, "started": time_now(), **versions()}, self.versions)
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
            raise UserError(f"expected a run folder with {_MARK} at {self.path}: name a folder that finetune wrote")
        try:
            found = read_mapping(path)
        except UserError as error:
            raise UserError(f"{error}; it is not the settings file of a run") from error
        if _VERSION not in found:
            raise UserError(f"{path} was not written by robustvit finetune: name a run folder")
        if found.get("guidance") == "dfr" and found.get("epochs") is not None:
            found["guidance"] = "last-layer"  # the name in older versions, though it started from the old head
        return found

    def read(self, path: Path) -> dict[str, Any]:
        """Return the object in a JSON file of the run; empty if it was not written, as by older versions."""
        if not path.is_file():
            return {}
        found = read_json(path)
        if type(found) is not dict:
            raise UserError(f"{path} was not written by robustvit, it holds {str(found)[:60]!r}: repeat the run")
        return found

    def shifts(self) -> list[Comparison]:
        """Return the comparisons of both models on shifted tests, if there are any."""
        from robustvit.common.verdict_files import NOT_WRITTEN_HERE, read_comparison  # SciPy takes a second to import

        path = self.path / "shifts.json"
        rows = read_json(path) if path.is_file() else []
        try:
            if not isinstance(rows, list):
                raise TypeError("expected a list")
            return [read_comparison(row) for row in rows]
        except NOT_WRITTEN_HERE as error:
            raise UserError(
                f"{path} holds no comparisons written by robustvit: repeat the run, or remove the file"
            ) from error

    def check_same(self, config: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        """Refuse to resume with other settings than the ``old`` ones, completed if an older version wrote fewer."""
        for name, value in config.items():
            # With a cosine schedule every rate depends on the number of epochs.
            free = name in _MAY_CHANGE and (name != "epochs" or config.get("lr_schedule") != "cosine")
            if not free and old.get(name) != value:
                raise UserError(
                    f"{self.path} was started with {name}={old.get(name)!r}, now it is {value!r}: resume with the same "
                    "settings or start a new run"
                )

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add the metrics of an epoch, and remove those of this or later epochs that a killed process left."""
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
        """Write the state that ``--resume`` continues from, whole or not at all."""
        import torch  # which takes seconds, and is not needed to read a run folder

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
        except Exception as error:  # a broken pickle can raise any error
            raise UserError(
                f"refused to load {path}: it is broken, or holds objects that could run code; remove it to train from "
                "the start"
            ) from error
