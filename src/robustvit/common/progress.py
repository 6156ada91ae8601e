"""Progress, as a bar on a terminal and a line every 30 seconds elsewhere, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from robustvit.common.errors import printable, with_renamed_options
from robustvit.common.workers import job_rank

Item = TypeVar("Item", covariant=True)


class SizedIterable(Protocol[Item]):
    """Items with a length, such as a list or a ``DataLoader``."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Item]: ...


console = Console(stderr=True)
QUIET = 30.0  # seconds between two lines where there is no terminal
_latest: list[Progress] = []
_said: list[set[str] | None] = [None]  # warnings of a command; None outside of ``saying_once``


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


class _Lines(Progress):
    """Progress as a line from time to time, for logs and continuous integration."""

    def add_task(self, *args: Any, **options: Any) -> TaskID:
        """Add a task; its first line comes ``QUIET`` seconds later."""
        self._said = self.get_time()
        return super().add_task(*args, **options)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count steps."""
        super().advance(task_id, advance)
        self._say(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task."""
        super().update(task_id, **changes)
        self._say(task_id)

    def track(
        self,
        sequence: Iterable[Item],
        total: float | None = None,
        completed: int = 0,
        task_id: TaskID | None = None,
        description: str = "Working...",
        update_period: float = 0.1,
    ) -> Iterator[Item]:
        """Iterate over items; rich counts them in a thread, which ends if nothing is drawn."""
        task = self.add_task(description, total=total, completed=completed) if task_id is None else task_id
        for item in sequence:
            yield item
            self.advance(task)

    def _say(self, task_id: TaskID) -> None:
        now = self.get_time()
        task = next((one for one in self.tasks if one.id == task_id), None)
        if now - self._said < QUIET or task is None or task.finished or job_rank() != 0:
            return
        self._said = now
        done = f"{task.completed:,.0f}" + ("" if task.total is None else f" of {task.total:,.0f}")
        left = task.time_remaining
        when = "" if left is None else f", {timedelta(seconds=round(left))} left"
        console.print(f"{task.description}: {done}{when}", markup=False, highlight=False, soft_wrap=True)


def bar(*, speed: bool = False) -> Progress:
    """Return a progress bar with counts, time left and, with ``speed``, images per second.

    Without a terminal, a line every ``QUIET`` seconds says the same.
    """
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [_Speed()] * speed + [TimeRemainingColumn()]
    shown = console.is_terminal
    # A disabled bar of an older rich still ends with an empty line; a quiet console drops it.
    kind = Progress if shown else _Lines
    made = kind(
        *columns,
        console=console if shown else Console(quiet=True),
        transient=True,
        disable=not shown,
        speed_estimate_period=QUIET if shown else 20 * QUIET,
    )
    _latest[:] = [made]
    return made


def latest_progress() -> tuple[str, float, float] | None:
    """Return description, steps done and total steps of the latest bar, or None before the first.

    It works without a terminal too, so that a process can report its progress to another.
    """
    tasks = [task for made in _latest for task in made.tasks]
    if not tasks:
        return None
    return tasks[-1].description, tasks[-1].completed, tasks[-1].total or 0.0


def track(items: SizedIterable[Item], description: str) -> Iterator[Item]:
    """Iterate over items with a progress bar."""
    with bar() as progress:
        yield from progress.track(items, total=len(items), description=description)


@contextmanager
def saying_once(*known: str) -> Iterator[None]:
    """Print each warning once within a ``with`` block, however often a model is loaded, and ``known`` ones never."""
    before = _said[0]
    _said[0] = {*(before or ()), *known}
    try:
        yield
    finally:
        _said[0] = before


def warn(text: str) -> None:
    """Print a warning to stderr, whatever characters it contains."""
    if _said[0] is not None:
        if text in _said[0]:
            return
        _said[0].add(text)
    console.print(printable(with_renamed_options(text)), style="yellow", markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print an intermediate result to stderr while a command runs."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
