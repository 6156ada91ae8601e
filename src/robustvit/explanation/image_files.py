"""Photos to explain as files, also those that are given as objects."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory


class ImageFiles:
    """Photos as files: those that are given as objects lie in a folder that is removed with this object.

    Attributes:
        files: of all photos; paths stay as they are.
    """

    def __init__(self, given: object) -> None:
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        self._folder: TemporaryDirectory[str] | None = None
        self.files: list[str] = []
        for one in listed:
            self.files += [str(one)] if isinstance(one, (str, Path)) else self._write(one)

    def name_of(self, file: Path) -> Path:
        """Return a file's path, or its bare name if it lies in the folder that is removed."""
        return Path(file.name) if self._folder and Path(self._folder.name) in file.parents else file

    def _write(self, given: object) -> list[str]:
        from robustvit.explanation.given_images import as_pictures  # PyTorch takes a second to import

        if self._folder is None:
            self._folder = TemporaryDirectory()
        written: list[str] = []
        for picture in as_pictures(given):
            place = Path(self._folder.name, f"image-{len(self.files) + len(written) + 1}.png")
            picture.save(place)
            written.append(str(place))
        return written
