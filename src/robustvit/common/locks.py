"""Locks on folders, so that two processes never write to the same one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from robustvit.common.errors import UserError
from robustvit.common.progress import warn

_LOCK, _FILE = ".lock", ".lock.held"
LOCKS = (_LOCK, _FILE)  # names of the files, which remain in the folder
_SECONDS_TO_LET_GO = 8  # processes that read photos for a command that was killed notice it after 5
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def lock_folder(folder: str | Path, *, who: str, enabled: bool = True) -> Iterator[None]:
    """Create a folder and lock it; the lock of a process that dies is released.

    Some network file systems have no locks. There a file serves as the lock; a process that is killed leaves it behind.
    ``who`` names another process that holds the lock, such as ``another run``. Of several processes of a job, only the
    main one is ``enabled`` to lock.
    """
    if not enabled:
        yield
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = _acquire(folder, who)
    try:
        yield
    finally:
        lock.release()


def _acquire(folder: Path, who: str) -> BaseFileLock:
    busy = f"{who} is writing to {folder}: wait for its end, stop it, or name another --out"
    lock: BaseFileLock = FileLock(folder / _LOCK, timeout=_SECONDS_TO_LET_GO)
    try:
        lock.acquire()
        return lock
    except Timeout as error:
        raise UserError(busy) from error
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _WITHOUT_LOCKS:
            raise
    lock = SoftFileLock(folder / _FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{busy}; if nothing is, remove {folder / _FILE}, left behind by a killed process") from error
    warn(f"{folder} is on a disk without file locks: the file {_FILE} in it locks the folder while this runs")
    return lock
