"""The values of ``--images``: a folder, a list, or a set of the Hugging Face hub or FiftyOne, or a part of one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder, is_archive

HUB, FIFTYONE = "hf:", "fiftyone:"
LIST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".txt")


def split_part(images: str | Path) -> tuple[str, str | None]:
    """Return a source, and the part of it that ``SOURCE#PART`` names, such as ``data.csv#val``."""
    name, mark, part = str(images).rpartition("#")
    return (name, part) if mark and part and not Path(images).exists() else (str(images), None)


def is_set(images: str | Path) -> bool:
    """Whether photos are in a set of the hub or of FiftyOne."""
    return str(images).startswith((HUB, FIFTYONE))


def is_list(images: str | Path) -> bool:
    """Whether photos are named by the rows of a table, not by a folder."""
    name, _ = split_part(images)
    return is_set(name) or (Path(name).suffix.lower() in LIST_SUFFIXES and not Path(name).is_dir())


def expect_source(images: str | Path) -> None:
    """Refuse a folder or list that does not exist; sets elsewhere are looked for when they are read."""
    name, part = split_part(images)
    if is_set(name):
        place = name.removeprefix(HUB)
        if name.startswith(HUB) and re.match(r"[./~\\]|[A-Za-z]:", place) and not Path(place).exists():
            raise UserError(
                f"expected a folder or file of a data set behind {HUB}, found none at {place}: check the path"
            )
    elif not is_list(images):
        if is_archive(name):
            raise UserError(
                f"expected a folder or a list of photos, got the archive {name}: unpack it, and name the folder"
            )
        if Path(name).is_file():
            endings = ", ".join(LIST_SUFFIXES)
            raise UserError(f"expected a folder of photos, or a list that ends in {endings}, found a file at {name}")
        if part is not None and Path(name).is_dir():
            raise UserError(f"expected no #{part} behind a folder: name the folder of that part, {Path(name) / part}")
        expect_folder(images, "photos")
    elif not Path(name).is_file():
        raise UserError(f"expected a list of photos, found none at {name}: check the path")


def root_of(images: str | Path, photos: Sequence[Path]) -> Path:
    """Return the folder that the names of photos are relative to: that given or of the list, or their common folder."""
    name, _ = split_part(images)
    root = Path(name).parent if is_list(images) else Path(name)
    if not is_set(name) and all(photo.is_relative_to(root) for photo in photos):
        return root
    return Path(os.path.commonpath([Path(os.path.abspath(photo)).parent for photo in photos]))


def places_in(photos: Sequence[Path], root: Path) -> list[str]:
    """Return the paths of photos relative to a folder, with slashes."""
    return [Path(os.path.relpath(photo, root)).as_posix() for photo in photos]
