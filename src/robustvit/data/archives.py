"""Unpacking photos from an untrusted zip archive: nothing is written outside the folder or beyond the limits."""

from __future__ import annotations

import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from robustvit.common.errors import UserError
from robustvit.common.output_paths import check_own_folder
from robustvit.common.progress import warn
from robustvit.data.folder_files import is_hidden
from robustvit.data.mask_pixels import MASK_SUFFIXES
from robustvit.data.notes import ReadCount
from robustvit.data.read_photos import IMAGE_SUFFIXES

_SUFFIXES = IMAGE_SUFFIXES | MASK_SUFFIXES
_CHUNK = 1 << 20
_LONGEST_PART = 200  # of a path, in bytes of UTF-8: file systems take 255


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits on the contents of an archive.

    Attributes:
        files: number of photos and masks.
        bytes: size of all of them, unpacked.
        ratio: of unpacked to packed bytes, per file; photos hardly shrink, masks do.
        depth: number of nested folders.
    """

    files: int = 2_000
    bytes: int = 2_000_000_000
    ratio: float = 1_000.0
    depth: int = 8


def extract_photos(
    archive: str | Path,
    folder: str | Path,
    limits: ArchiveLimits | None = None,
    notes: list[str] | None = None,
) -> list[Path]:
    """Unpack the photos and masks of a zip archive into a folder, which must be new or empty; return the files, sorted.

    Only files with the endings of images and masks are unpacked; others are counted, and hidden ones and those that
    systems add (``__MACOSX``) are ignored. All names are checked before anything is written, and sizes are counted
    while unpacking, since an archive may lie about them. If the archive is refused half-way, the unpacked files are
    removed. The images are not decoded here: ``open_image`` refuses those that are too large.

    Args:
        archive: a zip file.
        folder: where to unpack; created if it does not exist.
        limits: on its contents; ``ArchiveLimits()`` when left out.
        notes: list that gets a line on files that are not unpacked; it is printed when left out.
    """
    limits = limits or ArchiveLimits()
    folder = Path(folder)
    if folder.is_symlink():
        raise UserError(f"expected a new or empty folder to unpack into, {folder} is a link: name another")
    check_own_folder(folder, option="the folder to unpack into")
    fresh = not folder.exists()
    try:
        with zipfile.ZipFile(archive) as opened:
            count = ReadCount(Path(Path(archive).name), "file")
            members = _check_members(opened, Path(archive), limits, count)
            if count.note:
                warn(count.note) if notes is None else notes.append(count.note)
            folder.mkdir(parents=True, exist_ok=True)
            return _unpack(opened, members, folder, Path(archive), limits)
    except Exception as error:  # a broken archive can raise any error
        _clear(folder, fresh)
        if isinstance(error, UserError):
            raise
        if isinstance(error, FileNotFoundError):
            raise UserError(f"expected a zip file at {archive}, found none: check the path") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot unpack {archive}: {reason}; make the zip file again") from error


def _clear(folder: Path, remove: bool) -> None:
    """Remove the unpacked files; the folder was empty or missing before."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if remove:
        folder.rmdir()


def _check_members(
    opened: zipfile.ZipFile, archive: Path, limits: ArchiveLimits, count: ReadCount
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Return the members to unpack, by their paths in the folder."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for member in opened.infolist():
        place = _check_path(member, archive, limits)
        if member.is_dir() or any(map(is_hidden, place.parts)):
            continue
        if (suffix := place.suffix.lower()) not in _SUFFIXES:
            count.leave_out(f"ending in {suffix}" if suffix else "without an ending", str(place))
            continue
        if str(place).casefold() in seen:
            raise UserError(f"{archive} holds two files called {str(place)!r}: rename one")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # other methods unpack in one piece
            raise UserError(f"{archive} uses a compression that is not supported: make an ordinary zip file")
        if member.flag_bits & 1:
            raise UserError(f"{archive} is encrypted: make it without a password")
        seen.add(str(place).casefold())
        found[place] = member
        if len(found) > limits.files:
            raise UserError(f"{archive} holds more than the {limits.files:,} photos and masks allowed: take fewer")
    count.read = len(found)
    if not found:
        raise UserError(f"expected photos in {archive}, found none ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if sum(member.file_size for member in found.values()) > limits.bytes:
        raise UserError(f"{archive} unpacks to more than the {limits.bytes:,} bytes allowed: take fewer photos")
    return found


def _check_path(member: zipfile.ZipInfo, archive: Path, limits: ArchiveLimits) -> PurePosixPath:
    """Return the path of a member; refuse every name that could lead elsewhere, even if it is not unpacked."""
    name = member.orig_filename.replace("\\", "/")
    place = PurePosixPath(name)
    absolute = place.is_absolute() or (len(name) > 1 and name[1] == ":")
    if absolute or ".." in place.parts or any(ord(character) < 32 for character in name) or not place.parts:
        raise UserError(f"{archive} holds {name[:200]!r}, a name that leads out of the folder or is invalid: refused")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{archive} holds the link {name[:200]!r}: put the file itself there")
    if len(place.parts) > limits.depth + 1 or any(len(part.encode()) > _LONGEST_PART for part in place.parts):
        raise UserError(f"{archive} holds {name[:200]!r}..., a path too long or too deep: shorten it")
    return place


def _unpack(
    opened: zipfile.ZipFile,
    members: dict[PurePosixPath, zipfile.ZipInfo],
    folder: Path,
    archive: Path,
    limits: ArchiveLimits,
) -> list[Path]:
    left = limits.bytes
    written = []
    for inside, member in members.items():
        target = folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        allowed = min(left, int(limits.ratio * max(member.compress_size, 1)))
        with opened.open(member) as source, target.open("xb") as sink:
            size = _copy(source, sink, allowed)
        if size > allowed:
            what = f"the {limits.bytes:,} bytes" if allowed == left else f"{limits.ratio:g} times its packed size"
            raise UserError(
                f"{archive}: {str(inside)!r} unpacks to more than {what} allowed: it may be a bomb; refused"
            )
        left -= size
        written.append(target)
    return sorted(written)


def _copy(source, sink: BinaryIO, allowed: int) -> int:
    """Copy until the end or until more than allowed was read; return the number of bytes read."""
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > allowed:
            break
        sink.write(chunk)
    return size
