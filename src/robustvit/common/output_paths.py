"""Checks before any work that a result can be written to a path, and that no file of the user is overwritten."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from robustvit.common.errors import UserError


def check_writable(path: str | Path, *, inside: bool = False) -> None:
    """Check that a file or folder can be created at a path, or ``inside`` it."""
    place = Path(path).absolute()
    parents = [place] * inside + [*place.parents]
    parent = next((folder for folder in parents if folder.exists()), Path(place.anchor))  # the root has no parents
    if not parent.is_dir():
        raise UserError(f"cannot write {path}: {parent} is a file; name another path")
    if not os.access(parent, os.W_OK):
        raise UserError(f"cannot write {path}: no permission to write in {parent}; name another path")


def check_own_folder(
    folder: str | Path, own: bool = False, *, command: str = "", option: str = "--out", ignore: Collection[str] = ()
) -> bool:
    """Check that a folder can be written to: it is new, empty, or was written by the same command before.

    Args:
        folder: path of the folder.
        own: whether it was written by that command.
        command: name of the command; empty if the folder must be new or empty.
        option: option that names the folder.
        ignore: names of files that do not count.

    Returns:
        Whether the folder holds what the command wrote.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"expected a folder as {option}, {folder} is a file: name a new or empty folder")
    check_writable(folder, inside=True)
    if not folder.is_dir() or all(path.name in ignore for path in folder.iterdir()):
        return False
    if not own:
        other = f"was not written by robustvit {command}" if command else "is not empty"
        raise UserError(f"{folder} exists and {other}: name a new or empty folder as {option}")
    return True


def check_new_file(path: str | Path, option: str = "--out") -> None:
    """Check that a new file can be created at the path that an option names."""
    if Path(path).exists():
        raise UserError(f"{path} exists already: name another file as {option}")
    check_writable(path)


def check_own_page(path: str | Path, mark: str, kind: str) -> None:
    """Check that an HTML page can be written to a path: it is free, or has an older page of the same ``kind``.

    Such pages, ``a report`` for example, have ``mark`` in their first 500 characters.
    """
    path = Path(path)
    check_writable(path)
    if path.is_dir():
        raise UserError(f"expected an HTML file to write, {path} is a folder: name a file")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            if mark not in file.read(500):
                raise UserError(f"{path} exists and is not {kind} written by robustvit: name another file")


def page_and_record(out: str | Path, mark: str, what: str) -> tuple[Path, Path]:
    """Return the paths of an HTML page and of the record next to it, after checking that both can be written."""
    page = Path(out)
    record = page.with_suffix(".json")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"expected --out to end in .html, got {page}: the record goes beside it as .json")
    check_own_page(page, mark, what)
    check_own_page(record, mark, f"the record of {what}")
    return page, record
