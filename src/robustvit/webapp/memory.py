"""Bounded stores: recent values, recent files, and the files of visitors."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from robustvit.common.files import folder_bytes

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A thread-safe cache of at most ``most`` values, which drops the least recently used one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def keep(self, key: Hashable, value: Value) -> Value:
        """Store a value and return it."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.most:
                self._values.popitem(last=False)
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, computed if missing; two threads may both compute it."""
        value = self.get(key)
        return self.keep(key, make()) if value is None else value


class Results:
    """Paths for result files, each in a new folder; the oldest folder is removed when there are more than ``most``."""

    def __init__(self, folder: str | Path, most: int = 50) -> None:
        self.folder, self.most = Path(folder), most
        self.folder.mkdir(parents=True, exist_ok=True)
        self._made: deque[Path] = deque()
        self._lock = threading.Lock()

    def new_path(self, name: str) -> Path:
        """Return a path for a new file of that name."""
        with self._lock:
            self._made.append(Path(tempfile.mkdtemp(dir=self.folder)))
            while len(self._made) > self.most:
                shutil.rmtree(self._made.popleft(), ignore_errors=True)
            return self._made[-1] / name


class StoredFiles:
    """The files that visitors uploaded to a folder, of at most ``most`` bytes together."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._coming = 0

    @contextmanager
    def room_for(self, size: int) -> Iterator[bool]:
        """Hold room for a file while it arrives; whether there is room."""
        fits = self._coming + size + folder_bytes(self.folder) <= self.most
        self._coming += size * fits
        try:
            yield fits
        finally:
            self._coming -= size * fits
