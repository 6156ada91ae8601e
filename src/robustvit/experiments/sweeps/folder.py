"""The folder of a sweep: a run folder per trial, and what was asked for."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from robustvit.common.files import check_own_folder, write_text

_MARK = "sweep.yaml"


def check_sweep_folder(folder: Path) -> None:
    """Make sure that trials may be written here, before anything is."""
    half = f".{_MARK}.new"  # killed while the mark was written
    check_own_folder(folder, (folder / _MARK).is_file(), command="sweep or search", ignore=(half,))


def start_sweep_folder(folder: Path, asked: dict[str, Any]) -> None:
    """Create the folder and write what was asked for, with the version that ran it."""
    folder.mkdir(parents=True, exist_ok=True)
    marked = {"robustvit": version("robustvit"), **asked}
    write_text(yaml.safe_dump(marked, sort_keys=False, allow_unicode=True), folder / _MARK)
