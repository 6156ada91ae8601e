"""Progress bars, shown only on a terminal, and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from robustvit.common.errors import printable

Item = TypeVar("Item", covariant=True)


class SizedIterable(Protocol[Item]):
    """Items with a length, such as a list or a ``DataLoader``."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Item]: ...


console = Console(stderr=True)
_latest: list[Progress] = []


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


def bar(*, speed: bool = False) -> Progress:
    """Return a progress bar with counts, time left and, with ``speed``, images per second; hidden off a terminal."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [_Speed()] * speed + [TimeRemainingColumn()]
    shown = console.is_terminal
    # A disabled bar of an older rich still ends with an empty line; a quiet console drops it.
    made = Progress(*columns, console=console if shown else Console(quiet=True), transient=True, disable=not shown)
    _latest[:] = [made]
    return made


def state() -> tuple[str, float, float] | None:
    """Return description, steps done and total steps of the latest bar, or None before it starts.

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


def warn(text: str) -> None:
    """Print a warning to stderr, whatever characters it holds."""
    console.print(printable(text), style="yellow", markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print a result to stderr as it comes, while a command goes on."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
