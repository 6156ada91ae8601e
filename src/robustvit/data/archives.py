"""Photos and masks out of a zip archive that anybody may have made."""

from __future__ import annotations

import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robustvit.data.masks import MASK_SUFFIXES
from robustvit.data.photos import IMAGE_SUFFIXES
from robustvit.errors import UserError

__all__ = ["ArchiveLimits", "extract_photos"]

_CHUNK = 2**20
_TAKEN = (IMAGE_SUFFIXES | MASK_SUFFIXES) - {".npy"}


@dataclass(frozen=True)
class ArchiveLimits:
    """Bounds on an archive.

    Attributes:
        files: photos and masks in it.
        total_bytes: of all of them, unpacked.
        file_bytes: of each, unpacked.
        ratio: unpacked over packed size of a file, above which it is taken for a bomb; photos hardly shrink.
    """

    files: int = 2000
    total_bytes: int = 1000 * 2**20
    file_bytes: int = 50 * 2**20
    ratio: float = 200.0


def extract_photos(archive: str | Path, folder: str | Path, limits: ArchiveLimits | None = None) -> list[Path]:
    """Unpack the photos and masks of a zip archive; whatever else is in it stays there.

    Args:
        archive: zip file.
        folder: where to write, new or empty.
        limits: bounds on the archive.

    Returns:
        The files written, sorted.

    Raises:
        UserError: not a zip file, broken or encrypted; a name that leads out of the folder, a link, too many files, too
            many bytes. Some files may have been written by then.
    """
    limits, folder = limits or ArchiveLimits(), Path(folder)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [entry for entry in opened.infolist() if _wanted(entry)]
            _check(members, limits)
            left, written = limits.total_bytes, []
            for entry in members:
                path = folder.joinpath(*_parts(entry.filename))
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _write(opened, entry, path, min(left, limits.file_bytes))
                written.append(path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise UserError(
            f"cannot read {Path(archive).name} as a zip archive ({type(error).__name__}: {error}); pack the folder "
            "anew with plain zip, without a password"
        ) from error
    return sorted(written)


def _wanted(entry: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    hidden = name.name.startswith(".") or "__MACOSX" in name.parts
    return not entry.is_dir() and not hidden and name.suffix.lower() in _TAKEN


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the file that a member's name says, none of which may lead elsewhere."""
    plain = name.replace("\\", "/")
    parts = tuple(part for part in plain.split("/") if part not in ("", "."))
    drive = bool(parts) and ":" in parts[0]
    if plain.startswith("/") or drive or ".." in parts or any(ord(letter) < 32 for letter in plain):
        raise UserError(f"refused the archive: {name!r} in it leads out of its folder; pack the folder anew")
    return parts


def _check(members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    if not members:
        raise UserError("expected photos in the archive, found none: pack a folder with one folder of photos per class")
    if len(members) > limits.files:
        raise UserError(
            f"expected at most {limits.files} photos and masks in the archive, found {len(members)}: pack fewer"
        )
    names = [_parts(entry.filename) for entry in members]
    if len({tuple(part.lower() for part in name) for name in names}) < len(names):
        raise UserError("refused the archive: two files in it have one name; pack the folder anew")
    for entry in members:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"refused the archive: {entry.filename!r} is a link; pack the files themselves")
        if entry.file_size > limits.ratio * max(entry.compress_size, 1024):
            raise UserError(
                f"refused the archive: {entry.filename!r} unpacks to far more than a photo of its size would"
            )
    if sum(entry.file_size for entry in members) > limits.total_bytes:
        raise UserError(f"expected at most {limits.total_bytes // 2**20} MB of photos in the archive: pack fewer")


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, most: int) -> int:
    """Unpack one file and count its bytes as they come: what the archive says of them may be a lie."""
    count = 0
    with opened.open(entry) as source, path.open("xb") as target:
        while part := source.read(_CHUNK):
            count += len(part)
            if count > most:
                raise UserError(f"refused the archive: {entry.filename!r} is larger than is taken; pack smaller photos")
            target.write(part)
    return count
