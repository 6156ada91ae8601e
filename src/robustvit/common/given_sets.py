"""Sets of the library ``datasets`` that are given from Python, written to a folder that every command can read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.progress import warn

OF_PHOTOS = ("images", "val_images", "test_images")  # options that take a set


def cache_folder() -> Path:
    """Return the folder for files that can be made again: ``ROBUSTVIT_CACHE``, or the user's cache."""
    if named := os.environ.get("ROBUSTVIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustvit"


def is_given_set(value: object) -> bool:
    """Whether a value is a set of ``datasets``; the library is not imported to find out."""
    return any(kind.__module__.split(".")[0] == "datasets" for kind in type(value).__mro__)


def name_given_set(value: Any, option: str) -> str:
    """Write a ``Dataset`` or ``IterableDataset`` to the cache, and return its name for commands, ``hf:FOLDER``.

    The folder is named after the rows, so the same set has the same name in every call, and a run can be resumed with
    it. A stream is read to its end.
    """
    library = import_extra("datasets", "sets", f"a set as {option}")
    if isinstance(value, dict):
        parts = ", ".join(map(str, value))
        raise UserError(f"expected a single set as {option}, got the parts {parts}: give one of them")
    if isinstance(value, library.IterableDataset):
        value = library.Dataset.from_generator(lambda: iter(value), features=value.features, keep_in_memory=True)
    if not len(value):
        raise UserError(f"expected photos in the set given as {option}, but it has no rows: give another")
    folder = cache_folder() / "sets"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        held = Path(place) / "set"
        value.save_to_disk(held)
        digest = hashlib.sha256()
        for file in sorted(held.glob("*.arrow")):
            digest.update(file.read_bytes())
        named = folder / digest.hexdigest()[:16]
        if not named.exists():
            held.rename(named)
            warn(f"the set given as {option} is stored in {named}; ROBUSTVIT_CACHE names another folder")
    return f"hf:{named}"
