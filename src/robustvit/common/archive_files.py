"""Archives, which must be unpacked before photos or annotations in them are read."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

_OTHERS = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def is_archive(path: str | Path) -> bool:
    """Whether a file is a zip or tar archive, or one of 7-Zip, RAR, gzip, bzip2, xz or Zstandard, whatever its name."""
    if not Path(path).is_file():  # reading a pipe would block forever
        return False
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
        known = start.startswith(_OTHERS) or zipfile.is_zipfile(path)
        return known or (any(start) and tarfile.is_tarfile(path))  # zeros would be an archive of nothing
    except OSError:
        return False
