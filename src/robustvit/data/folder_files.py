"""Files anywhere in a folder, without hidden ones; links to folders are followed once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from robustvit.data.manifest import is_mask_folder
from robustvit.data.notes import HIDDEN

SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or belongs to the system: ``.git``, ``._a.jpg``, ``Thumbs.db``."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def files_below(
    folder: Path, suffixes: Collection[str], leave_out: Callable[[Path], bool] = is_mask_folder
) -> dict[str, Path]:
    """Return the files anywhere in a folder, without hidden ones, by their paths in it, with slashes, sorted.

    Inner folders for which ``leave_out`` is true are skipped; by default those that ``make_masks`` wrote.
    """
    return dict(
        sorted(
            (inside, path)
            for inside, path in walk(folder, leave_out)
            if path.suffix.lower() in suffixes and not is_hidden(path.name) and path.is_file()
        )
    )


def walk(
    folder: Path, leave_out: Callable[[Path], bool], skip: Callable[[str, str], None] = lambda reason, name: None
) -> Iterator[tuple[str, Path]]:
    """Yield every file with its path in the folder.

    Links to folders are followed after the folders themselves, each folder once; ``skip`` receives the reason and the
    path of folders that are not read.
    """
    seen: set[str] = set()
    top = os.path.realpath(folder)
    folders, links = deque([folder]), deque[Path]()
    while folders or links:
        place = folders.popleft() if folders else links.popleft()
        inside, real = place.relative_to(folder).as_posix(), os.path.realpath(place)
        if real in seen or (place != folder and Path(top).is_relative_to(real)):  # or it would be followed forever
            skip("that are links to a folder read already, or around this one", inside)
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            skip("that are folders without permission to read", inside)
            continue
        for entry in entries:
            path = Path(place, entry.name)
            if not _is_folder(entry):
                yield path.relative_to(folder).as_posix(), path
            elif is_hidden(entry.name):
                skip(HIDDEN, f"{path.relative_to(folder).as_posix()}/")
            elif not leave_out(path):
                (links if entry.is_symlink() else folders).append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
