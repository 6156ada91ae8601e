"""Photos in a folder of any depth: which files are read, which are left out and why, and the class of each photo.

The table of what is accepted is in ``docs/howto/photos.md``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.progress import warn
from robustvit.data.folder_files import is_hidden, walk
from robustvit.data.manifest import is_mask_folder
from robustvit.data.masks_beside import OF_MASKS, masks_beside
from robustvit.data.matching import compose
from robustvit.data.notes import HIDDEN, ReadCount
from robustvit.data.read_photos import IMAGE_SUFFIXES, kind_of

_NO_PICTURES = frozenset(
    {".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml"}
    | {".ini", ".cfg", ".html", ".htm", ".py", ".ipynb", ".sh", ".pdf", ".db", ".sha256", ".md5"}
)
_IN_MASKS = "in an inner folder of masks"
_BESIDE = "that are masks of photos beside them, used if this folder is named as that of the masks too"
_INNER = 5  # names of inner folders in a message
_PARTS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"})
_LAYOUT = frozenset({"images", "image", "photos", "jpegimages", "labels", "annotations"})


class PhotoTree:
    """The photos in a folder and its inner folders, and a count of every other file.

    Args:
        root: the folder.
        leave_out: a folder in it without photos, such as that of the masks.
        inner: whether the class of a photo is the folder that it lies in, not the folder at the top.

    Attributes:
        photos: photos by their path in the folder, with slashes, sorted folder by folder.
        masks: masks that lie beside their photos, by path; they are left out unless ``leave_out`` is the folder itself.
        count: files seen, read and left out.
        unread: paths of files that look like photos, but whose ending is not read.
    """

    def __init__(self, root: str | Path, leave_out: str | Path | None = None, inner: bool = False) -> None:
        self.root = expect_folder(root, "photos")
        self.photos: dict[str, Path] = {}
        self.count = ReadCount(self.root, "file")
        self.unread: list[str] = []
        self._lists: list[Path] = []  # files that may be lists of photos
        self.inner = inner
        self._other = None if leave_out is None else Path(leave_out).resolve()
        used = self._other == self.root.resolve()
        for inside, path in walk(self.root, lambda folder: _holds_masks(folder, self._other), self.count.leave_out):
            reason = _explain_unread(inside, path)
            if reason == _IN_MASKS and used:
                continue  # they are used
            if reason:
                self.count.leave_out(reason, inside)
                self._lists += [path] if path.suffix.lower() in (".csv", ".tsv", ".jsonl") else []
                if path.suffix.lower() not in IMAGE_SUFFIXES | _NO_PICTURES and not is_hidden(path.name):
                    self.unread.append(inside)
            else:
                self.photos[inside] = path
        self.masks = masks_beside(self.photos, None if used else self._other)
        for inside in self.masks:
            del self.photos[inside]
            if not used:
                self.count.leave_out(_BESIDE, inside)
        self.photos = dict(sorted(self.photos.items(), key=lambda item: PurePosixPath(item[0]).parts))
        self.count.read = len(self.photos)

    @property
    def folders(self) -> list[str]:
        """Names of the folders directly in it, with photos or without."""
        inner = [path for path in self.root.iterdir() if path.is_dir() and not is_hidden(path.name)]
        return sorted(path.name for path in inner if not is_mask_folder(path) and path.resolve() != self._other)

    @cached_property
    def parts(self) -> list[str]:
        """Names of folders above the class folders, such as train and test; empty if the classes are at the top."""
        tops = sorted({inside.partition("/")[0] for inside in self.photos})
        named = bool(tops) and all(name.casefold() in _PARTS | _LAYOUT | OF_MASKS for name in tops)
        above = all(inside.count("/") >= 2 for inside in self.photos)
        return tops if named and (above or (len(tops) > 1 and all("/" in inside for inside in self.photos))) else []

    @property
    def main_part(self) -> str:
        """The part to name first: that for training, else any that is not of masks."""
        return min(self.parts, key=lambda name: (not name.casefold().startswith("train"), name.casefold() in OF_MASKS))

    def class_of(self, inside: str) -> str | None:
        """Return the class of a photo: its folder at the top, or below a part such as train, or its inner folder."""
        folders = inside.split("/")[:-1]
        if not folders:
            return None
        deep = len(folders) > 1 and self.parts
        return compose(folders[-1] if self.inner else folders[1] if deep else folders[0])

    def expect_photos(self, what: str = "photos") -> None:
        """Refuse a folder in which nothing was read; the line names what is there."""
        if self.photos:
            return
        there = f" ({self.count.note.removesuffix('.')})" if self.count.seen else ""
        fix = describe_endings()
        if self._lists:
            fix = f"if {min(self._lists)} lists photos, name that file; {fix}"
        if any(inside.lower().endswith(".parquet") for inside in self.unread):
            fix = f"name the parquet file itself, or hf:{self.root} for a set of several"
        raise UserError(f"expected {what} in {self.root} or in folders in it, found none{there}: {fix}")


def describe_nesting(images: Sequence[Path], names: Sequence[str]) -> str:
    """Return a sentence for a message on classes ``names``, if the only one has folders of photos in it."""
    if len(names) != 1 or not images:
        return ""
    parents = {image.parent for image in images}
    place = Path(os.path.commonpath(parents))
    inner = sorted({parent.relative_to(place).parts[0] for parent in parents if parent != place})
    if len(inner) < 2 or compose(names[0]) not in map(compose, place.parts):
        return ""
    listed = ", ".join(inner[:_INNER]) + (", ..." if len(inner) > _INNER else "")
    return f". The photos lie deeper, in folders of {place} ({listed}): if these are the classes, name {place}"


def describe_endings() -> str:
    """Return the endings of photos that are read, for messages."""
    return f"photos end in {', '.join(sorted(IMAGE_SUFFIXES))}; convert others to PNG or JPEG"


def _explain_unread(inside: str, path: Path) -> str:
    """Return why a file is not read as a photo; empty if it is."""
    if is_hidden(path.name):
        return HIDDEN
    suffix = path.suffix.lower()
    if (path.is_symlink() and not path.exists()) or (suffix in IMAGE_SUFFIXES and not path.is_file()):
        return "that are links to nothing, or no files"
    if suffix not in IMAGE_SUFFIXES:
        if not suffix and (kind := kind_of(path)):
            return f"without an ending that are photos, to be renamed to {kind}"
        return f"ending in {suffix}" if suffix else "without an ending"
    if any(folder.casefold() in OF_MASKS for folder in inside.split("/")[1:-1]):
        return _IN_MASKS
    return ""


def _holds_masks(folder: Path, other: Path | None) -> bool:
    if folder.resolve() == other:
        return True
    if masks := is_mask_folder(folder):
        warn(f"{folder} holds masks made before: it is left out")
    return masks


def list_backgrounds(folder: str) -> list[Path]:
    """List photos of backgrounds anywhere in a folder."""
    expect_folder(folder, "backgrounds")
    tree = PhotoTree(folder)
    tree.expect_photos("photos of backgrounds")
    if tree.count.note:
        warn(tree.count.note)
    return [path for _, path in sorted(tree.photos.items())]
