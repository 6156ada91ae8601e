"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from robustvit.errors import UserError

__all__ = ["check_new_file", "check_own_page", "check_place", "read_json", "write_json", "write_text"]


def check_place(path: str | Path) -> None:
    """Make sure that a file or folder can be made at a path, before work is spent on it.

    Raises:
        UserError: its nearest existing parent is no folder, or may not be written to.
    """
    parent = Path(path).absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"cannot write {path}: {parent} is a file; name another place")
    if not os.access(parent, os.W_OK):
        raise UserError(f"cannot write {path}: no permission to write in {parent}; name another place")


def check_new_file(path: str | Path) -> None:
    """Make sure that a new file can be made at a path, before work is spent on it.

    Raises:
        UserError: there is something already, or the place may not be written to.
    """
    if Path(path).exists():
        raise UserError(f"{path} exists already: name another file as --out")
    check_place(path)


def check_own_page(path: str | Path, mark: str, kind: str) -> None:
    """Make sure that an HTML page can be written at a path: it is free, or holds an older page of the same kind.

    Args:
        path: of the page.
        mark: stands in the first 500 characters of such pages.
        kind: what to call them, as ``a report``.

    Raises:
        UserError: something else is there, or the place may not be written to.
    """
    path = Path(path)
    check_place(path)
    if path.is_dir():
        raise UserError(f"expected an HTML file to write, {path} is a folder: name a file")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            if mark not in file.read(500):
                raise UserError(f"{path} exists and is not {kind} of ours, found another file: name another place")


def write_text(text: str, path: str | Path) -> None:
    """Write a text file beside its place and move it there, so that a kill leaves the old one or the new one."""
    path = Path(path)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def write_json(value: Any, path: str | Path) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_text(json.dumps(value, indent=1, ensure_ascii=False), path)


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: no such file, or it is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"cannot read {path}: it is broken or cut off ({reason}); make or get it again") from error
