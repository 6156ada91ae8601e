"""Signals that end a run: SIGTERM, Ctrl-C and a closed terminal take effect once finished work is saved."""

from __future__ import annotations

import atexit
import errno
import io
import multiprocessing
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from robustvit.common.errors import causes_of

_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
SIGNALS = tuple(number for number in (signal.SIGTERM, signal.SIGINT, _HANGUP) if number is not None)


class Stopped(KeyboardInterrupt):
    """Raised when signal ``number`` ends a command; ``run`` is the folder of the run that was saved, if any."""

    def __init__(self, number: int, run: Path | None = None) -> None:
        super().__init__(f"stopped by {_name(number)}" + ("" if run is None else f"; {run} is saved"))
        self.number, self.run = number, run

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect after a signal: 143 for SIGTERM, 130 for Ctrl-C, 129 for SIGHUP."""
        return 128 + self.number


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def reading_processes(workers: int) -> dict[str, Any]:
    """Return options of a ``DataLoader`` whose workers survive a signal to the process group until all is saved."""
    if workers:
        # At exit Python sends workers SIGTERM, which they ignore, and waits for them: kill them instead.
        atexit.unregister(_kill_daemons)  # registered by an earlier call
        atexit.register(_kill_daemons)
    return {"num_workers": workers, "worker_init_fn": _ignore_signals}


def _ignore_signals(_worker: int) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _kill_daemons() -> None:
    daemons = [process for process in multiprocessing.active_children() if process.daemon]
    if daemons and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise an error
    for process in daemons:
        process.kill()


def _raise(number: int, _: FrameType | None) -> None:
    _leave_closed_terminal(number)
    raise Stopped(number)


def _leave_closed_terminal(number: int) -> None:
    """Redirect output to nowhere after a hang-up: writing to the closed terminal would fail before the run is saved."""
    if number != _HANGUP:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):  # the stream was closed before
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                os.dup2(nowhere, stream)
    os.close(nowhere)


class _Terminal(io.FileIO):
    """A terminal that may close: what is written to it afterwards is lost, and is no error."""

    def write(self, data: Any) -> int:
        """Write bytes; return how many."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


def outlive_terminals() -> None:
    """Let output to a terminal go nowhere once it has closed.

    Writing to it fails then. A run that ignores the hang-up goes on, and others are saved whatever comes first.
    """
    if _HANGUP is None:
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            raw = io.BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
            wrapped = io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
            setattr(sys, name, wrapped)


@contextmanager
def _handle(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals, in the main thread only. A hang-up that ``nohup`` ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before.get(_HANGUP) == signal.SIG_IGN:
        del before[_HANGUP]
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise ``Stopped`` on these signals inside a ``with`` block, so that files and workers are closed."""
    with _handle(_raise):
        yield


def stop_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the stop behind an error: a signal within a library's C code may become an error of the library."""
    return next((one for one in causes_of(error) if isinstance(one, KeyboardInterrupt)), None)


@contextmanager
def name_stopped_run(run: Path) -> Iterator[None]:
    """Name the run that can be resumed if a signal ends a ``with`` block."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Stopped(getattr(stopped, "number", signal.SIGINT), run) from None


class StopSignals:
    """Holds signals until a loop can stop; ``asked`` is the first signal, or 0. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = 0
        self._at_once = False

    def _take(self, number: int, _: FrameType | None) -> None:
        _leave_closed_terminal(number)
        impatient = self.asked == number == signal.SIGINT
        self.asked = self.asked or number
        if self._at_once or impatient:
            raise Stopped(number)

    @contextmanager
    def hold(self) -> Iterator[StopSignals]:
        """Hold signals inside a ``with`` block."""
        with _handle(self._take):
            yield self

    @contextmanager
    def at_once(self, enabled: bool = True) -> Iterator[None]:
        """Mark work inside ``hold`` that can stop at any moment: a signal raises ``Stopped`` there."""
        if self.asked and enabled:
            raise Stopped(self.asked)
        self._at_once = enabled
        try:
            yield
        finally:
            self._at_once = False
