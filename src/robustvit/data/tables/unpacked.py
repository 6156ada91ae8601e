"""Pictures within a table, written to files: everything else reads files."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from robustvit.common.errors import UserError
from robustvit.common.files import new_file
from robustvit.common.given_sets import cache_folder
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.matching import compose
from robustvit.data.read_photos import IMAGE_SUFFIXES, kind_by_start

_LONGEST = 120  # characters of a name


class UnpackedPhotos:
    """Writes pictures to a folder of the cache, the same for every call on the same source.

    Args:
        source: the table or set, as the user named it, with its part.
        folder: that paths of pictures outside of the table are relative to.
    """

    def __init__(self, source: str, folder: Path) -> None:
        digest = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", source)[-60:].strip("-.") or "photos"
        self.source, self.folder, self.place = source, folder, cache_folder() / "photos" / f"{slug}-{digest}"
        self._written = 0
        self._taken: dict[str, set[str]] = defaultdict(set)

    def path_of(self, cell: object, column: str, number: int) -> str:
        """Return the path of a picture: of its own file, or of the one that its bytes are written to."""
        name, content = "", cell
        if isinstance(cell, Mapping):
            name, content = str(cell.get("path") or ""), cell.get("bytes")
        if isinstance(content, bytes):
            return str(self._write(content, column, self._choose_name(content, name, column, number)))
        return str(Path(self.folder, name)) if name and Path(self.folder, name).is_file() else name

    def _choose_name(self, content: bytes, name: str, column: str, number: int) -> str:
        """Return a name for a picture that no other picture of its column has."""
        plain = PureWindowsPath(name.partition("::")[0]).name  # zip://a/b.jpg::archive.zip
        ending = Path(plain).suffix.lower()
        ending = ending if ending in IMAGE_SUFFIXES else kind_by_start(content[:132])
        if not ending:
            raise UserError(
                f"row {number + 1} of {self.source} holds no picture that can be read in its column {column}: save it "
                "as PNG or JPEG, or leave the row out"
            )
        stem = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "-", compose(Path(plain).stem)).strip(". ")[:_LONGEST]
        stem = stem or f"{number:06d}"
        taken = self._taken[column]
        stem = stem if stem.casefold() not in taken else f"{stem}-{number:06d}"
        taken.add(stem.casefold())
        return stem + ending

    def _write(self, content: bytes, column: str, name: str) -> Path:
        path = self.place / (re.sub(r"[^A-Za-z0-9_-]+", "-", column) or "image") / name
        if not (path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content):
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path, flush=False) as file:
                file.write(content)
            self._written += 1
        return path

    def tell(self) -> None:
        """Say where pictures were written to, if any were."""
        if self._written:
            warn(
                f"{self.source}: {pluralize(self._written, 'picture')} written to {self.place}, where later calls find "
                "them; ROBUSTVIT_CACHE names another folder for it"
            )
