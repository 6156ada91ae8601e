"""Files that annotations name, which must lie in their own folder."""

from __future__ import annotations

import os
from pathlib import Path

from robustvit.common.wording import shown
from robustvit.masks.annotations.broken import BrokenEntry


def find_named(root: Path, name: str) -> Path:
    """Return the file of a name, with slashes or backslashes, below a folder.

    Raises:
        BrokenEntry: it leads out of the folder, or to no file.
    """
    path = Path(os.path.normpath(root / name.strip().replace("\\", "/")))
    if Path(os.path.normpath(root)) not in path.parents:
        raise BrokenEntry(f"expected a mask below {root}, found {shown(name)}")
    try:
        found = path.is_file()
    except (OSError, ValueError):  # the name is too long, or holds a null
        found = False
    if not found:
        raise BrokenEntry(f"expected the mask {shown(name)} in {root}, found none")
    return path
