"""Reading and writing files: whole or not at all, never a pipe, and the errors of a full disk in a line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from robustvit.common.errors import UserError, causes_of, did_you_mean

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # of some network file systems
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_OF_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_LONGEST_NAME = 255  # bytes, on nearly every file system
_LARGEST = 2_000_000_000  # bytes of a list or record
_ARCHIVES = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def expect_folder(folder: str | Path | None, of: str) -> Path:
    """Return a folder of ``photos``, for example; refuse it if it is not named or does not exist."""
    if folder is None:
        raise UserError(f"expected a folder of {of}, none was named: name it")
    if not Path(folder).is_dir():
        what = "a file" if Path(folder).is_file() else "none"
        found, fix = ("an archive", "unpack it") if is_archive(folder) else (what, _similar_folder(Path(folder)))
        raise UserError(f"expected a folder of {of}, found {found} at {folder}: {fix}")
    return Path(folder)


def _similar_folder(missing: Path) -> str:
    """Suggest the folder that may have been meant by one that does not exist."""
    beside = missing.parent
    known = [str(beside / one.name) for one in beside.iterdir() if one.is_dir()] if beside.is_dir() else []
    return did_you_mean(str(missing), known) or "check the path"


def is_file(path: str | Path) -> bool:
    """Whether a file exists at a path; false for text that cannot be a path because it is too long or has a null."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_archive(path: str | Path) -> bool:
    """Whether a file is a zip or tar archive, or one of 7-Zip, RAR, gzip, bzip2, xz or Zstandard, whatever its name."""
    if not Path(path).is_file():  # reading a pipe would block forever
        return False
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
        known = start.startswith(_ARCHIVES) or zipfile.is_zipfile(path)
        return known or (any(start) and tarfile.is_tarfile(path))  # zeros would be an archive of nothing
    except OSError:
        return False


def folder_bytes(folder: str | Path) -> int:
    """Return the bytes of all readable files below a folder, without links."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process may be writing or removing it
                total += 0 if (file := Path(parent, name)).is_symlink() else file.stat().st_size
    return total


def fresh_name(path: str | Path) -> Path:
    """Return the path that a file is written to before it is moved; always the same, so that leftovers can be found."""
    path = Path(path)
    name = f".{path.name}.new"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.new"
    return path.with_name(name)


@contextmanager
def new_file(path: str | Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """Open a file next to its path for writing bytes, and move it there once all of it is on the disk.

    Killing the process, a power cut or a full disk at any moment leaves the old file or the new one. Without ``flush``
    nothing waits for the disk, and a power cut may lose the file; this is fine for one of many pictures.
    """
    path = Path(path)
    fresh = fresh_name(path)
    try:
        with explain_full_disk(path):
            with fresh.open("wb") as file:
                yield file
                if flush:
                    file.flush()
                    _flush(file.fileno())
            os.replace(fresh, path)
            if flush:
                sync_folder(path.parent)
    except BaseException:
        fresh.unlink(missing_ok=True)  # half a file is useless and takes up space
        raise


@contextmanager
def explain_full_disk(path: str | Path) -> Iterator[None]:
    """Turn the error of a full disk into a line that says what to do."""
    try:
        yield
    except Exception as error:
        number = _find_error_number(error)
        if number not in _NO_ROOM:
            raise
        raise UserError(
            f"cannot write {path}: {os.strerror(number)}; what was saved before is intact: make room and continue"
        ) from error


def _find_error_number(error: BaseException) -> int:
    """Return the system's error number behind an error; 0 if there is none."""
    for cause in causes_of(error):  # PyTorch wraps the error of the file
        if isinstance(cause, OSError) and cause.errno:
            return cause.errno
        if found := re.search(r"(?:\(os error |Os \{ code: )(\d+)", str(cause)):  # messages of safetensors, new and old
            return int(found[1])
    return 0


def sync_folder(path: str | Path, files: bool = False) -> None:
    """Flush a folder's list of names to the disk; with ``files``, also the contents of its files."""
    if os.name != "posix":  # elsewhere folders cannot be opened
        return
    path = Path(path)
    for place in [*(sorted(path.iterdir()) if files else []), path]:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            _flush(descriptor)
        finally:
            os.close(descriptor)


def _flush(descriptor: int) -> None:
    """Flush a file or folder to the disk, if its file system supports that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def encode_text(text: str) -> bytes:
    """Encode a text as UTF-8; file names that are not UTF-8 become the bytes that they have on the disk.

    ``decode("utf-8", "surrogateescape")`` reads them back. Surrogates that stand for no byte are written as escapes.
    """
    return _SURROGATE_OF_NO_BYTE.sub(_escape, text).encode("utf-8", "surrogateescape")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def write_text(text: str, path: str | Path) -> None:
    """Write a text file whole or not at all; see ``new_file`` and ``encode_text``."""
    with new_file(path) as file:
        file.write(encode_text(text))


def write_json(value: object, path: str | Path) -> None:
    """Write a value as readable JSON, whole or not at all; surrogates as the escapes of JSON, which read back."""
    write_text(_SURROGATE.sub(_escape, json.dumps(value, indent=1, ensure_ascii=False)), path)


def read_bytes(path: str | Path, most: int = _LARGEST) -> bytes:
    """Read a file of at most ``most`` bytes; refuse anything else before reading, as a pipe or device may have no end.

    A file that is missing or cannot be read raises ``OSError``.
    """
    path = Path(path)
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # reading a folder fails by itself
        raise UserError(f"refused to read {path}: it is a pipe or a device, not a file; name a file")
    if found.st_size > most:
        raise UserError(f"refused to read {path}: it has {found.st_size:,} bytes, expected at most {most:,}")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:  # files of /proc have no size
        raise UserError(f"refused to read {path}: it has more than {most:,} bytes, the most that is expected")
    return content


def read_settings(path: str | Path) -> dict[str, Any] | None:
    """Read a JSON object, the settings that a folder was written with; None if it is missing or broken."""
    with suppress(UserError):
        found = read_json(path)
        return found if isinstance(found, dict) else None
    return None


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(read_bytes(path).decode("utf-8"))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"cannot read {path}: it is broken or cut off ({reason}); make or download it again") from error


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the number of each line, from 1, and its object; empty lines are skipped."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as lines of JSON in UTF-8: check the path, or write it again") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise UserError(f'{path}, line {number}: expected a JSON object such as {{"file_name": "a.jpg"}}: fix it')
        yield number, entry
