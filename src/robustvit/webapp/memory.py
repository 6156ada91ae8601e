"""A bounded memory of what was computed last."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The last values by key, for any number of threads; the one unused for longest goes first.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, if it is still there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def keep(self, key: Hashable, value: Value) -> Value:
        """Keep a value, and give it back."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.most:
                self._values.popitem(last=False)
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made where it is not there; two threads may both make it."""
        found = self.get(key)
        return self.keep(key, make()) if found is None else found


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
