"""Sets of the library ``datasets`` that are given from Python, kept in a folder that every command can name."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.progress import warn

OF_PHOTOS = ("images", "val_images", "test_images")  # options that a set may stand for


def cache_folder() -> Path:
    """Return the folder for files that can be made again: ``ROBUSTVIT_CACHE``, or the user's cache."""
    if named := os.environ.get("ROBUSTVIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustvit"


def is_given_set(value: object) -> bool:
    """Whether a value is a set of ``datasets``; the library is not imported to find out."""
    return any(kind.__module__.split(".")[0] == "datasets" for kind in type(value).__mro__)


def name_given_set(value: Any, option: str) -> str:
    """Write a set to the cache, and return what names it: ``hf:FOLDER``.

    The folder is named after the rows, so the same set has the same name in every call, and a run can be resumed with
    it. A stream is read to its end.

    Args:
        value: a ``Dataset`` or an ``IterableDataset``.
        option: for the message.

    Raises:
        UserError: it is several sets, has no rows, or cannot be written.
    """
    library = import_extra("datasets", "sets", f"a set as {option}")
    if isinstance(value, dict):
        parts = ", ".join(map(str, value))
        raise UserError(f"expected one set as {option}, got one of the parts {parts}: give one of them")
    if isinstance(value, library.IterableDataset):
        value = library.Dataset.from_generator(lambda: iter(value), features=value.features, keep_in_memory=True)
    if not len(value):
        raise UserError(f"expected photos in the set given as {option}, it has no rows")
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
            warn(f"the set given as {option} is kept in {named}, which ROBUSTVIT_CACHE can move")
    return f"hf:{named}"
