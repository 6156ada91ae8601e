"""Paths of this machine in what is about to be shared: found, and taken out of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from robustvit.common.errors import UserError

# An absolute POSIX path of at least one folder and a name, which is no part of a URL or of a relative path; a path of
# Windows with its drive.
_TEXT = (".json", ".md", ".txt", ".yaml")
_ABSOLUTE = re.compile(r"(?<![\w.:/<~-])/[^\s/:'\"<>,;)\]]+(?:/[^\s/:'\"<>,;)\]]*)+|\b[A-Za-z]:\\[^\s'\"<>,;)\]]+")


def machine_paths(text: str) -> list[str]:
    """Absolute paths in a text, in order; those that begin with no folder of this machine's root are taken for names
    (``/m/01g317`` is a class of Open Images)."""
    return [found for found in _ABSOLUTE.findall(text) if "\\" in found or Path("/", found.split("/")[1]).exists()]


def without_paths(text: str) -> str:
    """A text in which every path of this machine is replaced by the words ``a local file``."""
    for path in sorted(set(machine_paths(text)), key=len, reverse=True):
        text = text.replace(path, "a local file")
    return text


def check_shareable(folder: Path, places: Iterable[str | Path]) -> None:
    """Make sure that no file names a path of this machine.

    Args:
        folder: every file in it is read; text files for any absolute path, others for ``places``.
        places: paths that a run knows, looked for as they stand in every file. Relative ones of a single word are
            passed over: they could be any word.
    """
    known = {str(place) for place in places if len(Path(place).parts) > 1}
    known |= {f"{place}/" for place in (Path.home(), Path.cwd()) if len(place.parts) > 1}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        readable = file.suffix in _TEXT
        # A few bytes come up in any large file of weights.
        found = [place for place in sorted(known) if (readable or len(place) > 5) and place.encode() in content]
        if readable:
            found += machine_paths(content.decode("utf-8", "replace"))
        if found:
            raise UserError(
                f"{file.name} would name a path of this machine ({found[0]}): take it out of the run's files, and "
                "share the run then"
            )
