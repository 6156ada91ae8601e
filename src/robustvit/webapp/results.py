"""Files made for visitors, of which the last ones are kept."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path

__all__ = ["Results"]


class Results:
    """Places for files, each in a folder of its own; the oldest folder goes when there are too many.

    Args:
        folder: where they lie.
        most: how many are kept.
    """

    def __init__(self, folder: str | Path, most: int = 50) -> None:
        self.folder, self.most = Path(folder), most
        self.folder.mkdir(parents=True, exist_ok=True)
        self._made: deque[Path] = deque()
        self._lock = threading.Lock()

    def place(self, name: str) -> Path:
        """Where to write a file of that name."""
        with self._lock:
            self._made.append(Path(tempfile.mkdtemp(dir=self.folder)))
            while len(self._made) > self.most:
                shutil.rmtree(self._made.popleft(), ignore_errors=True)
            return self._made[-1] / name
