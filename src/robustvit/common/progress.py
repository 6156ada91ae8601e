"""Progress bars on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from robustvit.common.errors import printable

console = Console(stderr=True)
_latest: list[Progress] = []


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


def bar(*, speed: bool = False) -> Progress:
    """A progress bar with counts, time left and, with ``speed``, images per second; silent off a terminal."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [_Speed()] * speed + [TimeRemainingColumn()]
    shown = console.is_terminal
    # A disabled bar of an older rich ends with an empty line all the same; a quiet console swallows it.
    made = Progress(*columns, console=console if shown else Console(quiet=True), transient=True, disable=not shown)
    _latest[:] = [made]
    return made


def state() -> tuple[str, float, float] | None:
    """What the latest bar shows, also off a terminal: description, steps done and steps in all; None before it starts.

    For a process that tells another how far its work is.
    """
    tasks = [task for made in _latest for task in made.tasks]
    if not tasks:
        return None
    return tasks[-1].description, tasks[-1].completed, tasks[-1].total or 0.0


def track(items: Any, description: str) -> Iterator[Any]:
    """Iterate over anything that has a length, with a progress bar."""
    with bar() as progress:
        yield from progress.track(items, total=len(items), description=description)


def warn(text: str) -> None:
    """Say something on the error stream that a user should know, whatever characters it holds."""
    console.print(printable(text), style="yellow", markup=False, soft_wrap=True)
