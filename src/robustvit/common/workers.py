"""Worker processes, which end with their parent, and the other processes of a job; if one dies, a line says so."""

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

# Words in the errors of PyTorch's backends if the other process is gone.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "ProcessGroup", "gloo")


_JOB = ("WORLD_SIZE", "RANK", "LOCAL_RANK")  # set by torchrun and accelerate launch in each process of a job


def _variable(name: str, otherwise: int) -> int:
    """Return an environment variable that is a whole number."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else otherwise


def job_rank() -> int:
    """Return the number of this process in a job of torchrun or accelerate launch; 0 if there is no such job."""
    return _variable("RANK", 0) if _variable("WORLD_SIZE", 1) > 1 else 0


def check_job() -> None:
    """Refuse environment variables that describe half a job, such as a shell or a cluster leaves behind."""
    given = {name: os.environ[name] for name in _JOB if os.environ.get(name, "-1") not in ("", "-1")}
    size, rank = _variable("WORLD_SIZE", 1), _variable("RANK", -1)
    whole = all(value.isdecimal() for value in given.values()) and size > 0
    if whole and (0 <= rank < size if size > 1 else "LOCAL_RANK" not in given or "WORLD_SIZE" in given):
        return
    said = ", ".join(f"{name}={value:.40}" for name, value in given.items())
    raise UserError(
        f"expected WORLD_SIZE and RANK as torchrun and accelerate launch set them, but the environment has {said}: "
        "start with one of these, or unset " + " and ".join(given)
    )


def lost_process(error: BaseException) -> bool:
    """Whether an error means that another process of a job of torchrun or accelerate launch has died."""
    return _variable("WORLD_SIZE", 1) > 1 and any(words in str(error) for words in _GONE)


def describe_lost_memory(error: BaseException) -> str:
    """Return what to do if an error means that memory was too small; otherwise an empty text."""
    text = str(error)
    if "shared memory" in text or "Bus error" in text:
        return (
            "no shared memory is left for the processes that read photos, as in a container with a small /dev/shm: use "
            "--workers 0, or start the container with more, such as --shm-size 8g"
        )
    if "DataLoader worker" in text:
        return "a process that reads photos died, perhaps for lack of memory: use fewer --workers"
    if isinstance(error, MemoryError):
        return "the memory of this machine is too small: use a smaller --batch-size, or fewer --workers"
    if type(error).__name__ == "OutOfMemoryError":  # of PyTorch, for GPUs
        return "the memory of the GPU is too small: use a smaller --batch-size, or --device cpu"
    return ""


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor]:
    """Start worker processes for jobs; without workers, each job runs in this process when it is submitted.

    The processes are spawned, and end when this process is killed instead of waiting for jobs forever.
    """
    if not workers:
        yield _ThisProcess()
        return
    # Forked processes would inherit locks held by threads of this one.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield executor
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died: for lack of memory (use fewer --workers), or because the calling script lacks "
            "if __name__ == '__main__'; finished work is kept"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


class _ThisProcess(Executor):
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
