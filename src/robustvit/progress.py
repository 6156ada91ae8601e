"""Progress bars on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["bar", "console", "track"]

console = Console(stderr=True)


def bar() -> Progress:
    """A progress bar with counts and time left; draws nothing when the error stream is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(items: Any, description: str) -> Iterator[Any]:
    """Iterate over anything that has a length, with a progress bar."""
    with bar() as progress:
        yield from progress.track(items, total=len(items), description=description)
