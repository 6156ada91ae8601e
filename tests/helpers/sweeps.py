"""What tests of sweeps share: quick options, experiment files, and the runs that are made."""

from __future__ import annotations

import csv
from functools import wraps
from pathlib import Path

import yaml

from robustvit import finetune

FAST = {"epochs": 1, "lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 2, "tracker": "none"}


def write_yaml(path: Path, content) -> str:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def count_calls(monkeypatch) -> list[dict]:
    """The options of every run that is made from here on."""
    calls = []

    @wraps(finetune)
    def called(**options):
        calls.append(options)
        return finetune(**options)

    monkeypatch.setattr("robustvit.training.finetune.finetune", called)
    return calls


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
