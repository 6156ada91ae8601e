"""Images in class folders, with a line for everything that does not fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from robustvit.common.errors import UserError, nearest
from robustvit.data.read_photos import IMAGE_SUFFIXES


def list_class_images(
    folder: Path, classes: Sequence[str], what: str, spelled: Callable[[str], str] = str
) -> tuple[list[tuple[str, Path]], list[str]]:
    """List the images of class folders as (class, image), in the order of ``classes``, then by name; and problems.

    ``what`` is the folders' naming scheme, for messages; ``spelled`` turns a folder's name into one of ``classes``.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    inner = [entry for entry in entries if entry.is_dir()]
    flat = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES]
    if flat and not inner:
        raise UserError(
            f"expected class folders named by {what} in {folder}, found images directly "
            f"({name_some([entry.name for entry in flat])}): sort them into folders first"
        )
    rank = {name: place for place, name in enumerate(classes)}
    known = {entry: spelled(entry.name) for entry in inner if spelled(entry.name) in rank}
    problems = []
    if unknown := [entry.name for entry in inner if entry not in known]:
        problems.append(
            f"not classes of the set, left out: {name_some(unknown)}; folders are named by {what}"
            f"{_suggest(unknown[0], classes)}"
        )
    if outside := [entry.name for entry in flat]:
        problems.append(f"images outside class folders, left out of {folder}: {name_some(outside)}")
    if absent := [name for name in classes if name not in known.values()]:
        problems.append(f"no folder for {len(absent)} of {len(classes)} classes: {name_some(absent)}")
    found = []
    for entry in sorted(known, key=lambda entry: (rank[known[entry]], entry.name)):
        images, others = list_images(entry)
        found += [(known[entry], image) for image in images]
        problems += others
    return found, problems


def list_images(folder: Path) -> tuple[list[Path], list[str]]:
    """List the images in a folder by name, and a line if there is anything else."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    images = [folder / name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    others = [name for name in names if os.path.splitext(name)[1].lower() not in IMAGE_SUFFIXES]
    return images, [f"no images, left out of {folder}: {name_some(others)}"] if others else []


def name_some(names: Sequence[str]) -> str:
    """Return the first three of some names, and the number of others."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _suggest(name: str, classes: Sequence[str]) -> str:
    near = nearest(name, classes)
    # similar numbers, such as n01440764 or 17, mean nothing
    return f"; did you mean {near[0]!r} for {name!r}?" if near and not any(map(str.isdigit, name)) else ""
