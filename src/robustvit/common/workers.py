"""Worker processes that do not outlive the process they work for, and whose death is a line."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from robustvit.common.errors import UserError

# How PyTorch's ways of talking between processes say that the other end is gone.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "ProcessGroup", "gloo")


def lost_process(error: BaseException) -> bool:
    """Whether an error says that another process of a job started by torchrun or accelerate launch has died."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and any(words in str(error) for words in _GONE)


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Processes that jobs can be sent to, or, for none, this one, which does each job as it is sent.

    They are freshly started, and end when this process is killed; they would wait for jobs for ever.
    """
    if not workers:
        yield _Here()
        return
    # Forked processes would inherit the threads' locks of this one.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield executor
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died: for lack of memory (use fewer --workers), or because the calling script lacks "
            "if __name__ == '__main__'; what is done is kept"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


class _Here(Executor):
    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **options))
        except UserError as error:
            future.set_exception(error)
        return future


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
