"""Find paths of this machine in shared files, and remove them from sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from robustvit.common.errors import UserError

# An absolute POSIX path with at least one folder, not part of a URL or a relative path; or a Windows path with a drive.
_TEXT = (".json", ".md", ".txt", ".yaml")
_ABSOLUTE = re.compile(r"(?<![\w.:/<~-])/[^\s/:'\"<>,;)\]]+(?:/[^\s/:'\"<>,;)\]]*)+|\b[A-Za-z]:\\[^\s'\"<>,;)\]]+")


def machine_paths(text: str) -> list[str]:
    """Return absolute paths in a text, in order.

    Paths whose first folder does not exist on this machine count as names: ``/m/01g317`` is a class of Open Images.
    """
    return [found for found in _ABSOLUTE.findall(text) if "\\" in found or Path("/", found.split("/")[1]).exists()]


def without_paths(text: str, folders: Iterable[str | Path] = ()) -> str:
    """Replace paths of this machine in a text by ``a local file``, and known ones by ``a local folder``.

    Known paths may be relative; see ``check_shareable``.
    """
    known = _longer_than_a_word(folders)
    for path in sorted(known | set(machine_paths(text)), key=len, reverse=True):
        text = text.replace(path, "a local folder" if path in known else "a local file")
    return text


def _longer_than_a_word(paths: Iterable[str | Path]) -> set[str]:
    return {str(path) for path in paths if len(Path(path).parts) > 1}


def check_shareable(folder: Path, paths: Iterable[str | Path]) -> None:
    """Check that no file contains a path of this machine: a known one, or in text files any absolute one.

    Known relative paths of a single word are ignored: they could be any word.
    """
    known = _longer_than_a_word(paths)
    known |= {f"{path}/" for path in (Path.home(), Path.cwd()) if len(path.parts) > 1}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        readable = file.suffix in _TEXT
        # A few bytes occur by chance in any large file of weights.
        found = [path for path in sorted(known) if (readable or len(path) > 5) and path.encode() in content]
        if readable:
            found += machine_paths(content.decode("utf-8", "replace"))
        if found:
            raise UserError(
                f"{file.name} contains a path of this machine ({found[0]}): remove it from the run's files, then "
                "share the run"
            )
