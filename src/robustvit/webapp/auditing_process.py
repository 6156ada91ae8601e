"""Run an audit in another process, so that it blocks nobody and its memory is freed."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError

_EVERY = 0.3  # seconds between progress reports


def audit_apart(
    settings: dict[str, Any], tell: Callable[[str, float, float], None], seconds: float, threads: int = 1
) -> tuple[str, list[str]]:
    """Run ``audit`` in a new process.

    Args:
        settings: options of the audit; models are given by name, not as modules.
        tell: called with the current step, the work done and the total.
        seconds: time limit.
        threads: number of threads of the process.

    Returns:
        The verdict in a word, and the lines of the printed audit without its files.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, settings, threads), daemon=True)
    process.start()
    theirs.close()
    end = time.monotonic() + seconds
    try:
        while True:
            if time.monotonic() > end:
                raise UserError(f"the audit was stopped after {seconds / 60:.0f} minutes: pack fewer photos")
            if not ours.poll(_EVERY):
                continue
            kind, *content = ours.recv()
            if kind == "progress":
                tell(*content)
            elif kind == "done":
                return content[0], content[1]
            else:
                raise UserError(content[0])
    except EOFError as error:
        process.join(5)
        raise UserError(
            f"the audit process died (exit code {process.exitcode}), perhaps out of memory: pack fewer photos"
        ) from error
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(connection: Connection, settings: dict[str, Any], threads: int) -> None:
    import torch

    from robustvit.audits.audit import audit
    from robustvit.common.progress import state

    torch.set_num_threads(threads)
    over = threading.Event()
    told: list[Any] = [None]

    def report() -> None:
        while not over.wait(_EVERY):
            if (now := state()) is not None and now != told[0]:
                told[0] = now
                connection.send(("progress", *now))

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    outcome: tuple[Any, ...]
    try:
        result = audit(**settings)
        lines = [line for line in str(result).splitlines() if not line.startswith(("page: ", "record: "))]
        source = result.found.model.source
        if (path := Path(source.removeprefix("local-dir:"))).exists():  # do not show paths to visitors
            lines[0] = lines[0].replace(source, path.name, 1)
        outcome = ("done", result.reliance, lines)
    except UserError as error:
        outcome = ("error", str(error))
    except MemoryError:
        outcome = ("error", "the audit ran out of memory: pack fewer photos")
    over.set()
    reporter.join()
    connection.send(outcome)
    connection.close()
