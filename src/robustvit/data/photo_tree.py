"""Photos in a folder of any depth, each with the path of its mask in a mirrored folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.progress import warn
from robustvit.data.manifest import is_mask_folder
from robustvit.data.read_photos import IMAGE_SUFFIXES


@dataclass(frozen=True)
class PlacedPhoto:
    """A photo in a tree.

    Attributes:
        image: the file.
        mask: path of its mask, relative to the folder of masks.
        label: its class, the name of its folder; None in the root of the tree.
    """

    image: Path
    mask: Path
    label: str | None


def files_below(
    folder: Path, suffixes: Collection[str], leave_out: Callable[[Path], bool] = lambda inner: False
) -> dict[str, Path]:
    """Return files anywhere in a folder by their path in it, with slashes; sorted, without hidden ones.

    Folders for which ``leave_out`` is true are skipped.
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a parent would be followed forever
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".") and not leave_out(Path(place, name))]
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in suffixes and not name.startswith(".") and path.is_file():
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def photo_tree(root: str | Path, leave_out: str | Path | None = None) -> tuple[list[PlacedPhoto], list[str]]:
    """List all photos below a folder, in a fixed order, without hidden files and folders, the folder ``leave_out`` and
    folders of masks.

    Returns:
        The photos, and a line for each that is left out because another differs only in the ending of its name.
    """
    root, other = Path(root), None if leave_out is None else Path(leave_out).resolve()
    expect_folder(root, "photos")
    found: dict[Path, PlacedPhoto] = {}
    problems: list[str] = []

    def holds_masks(folder: Path) -> bool:
        if own := folder.resolve() == other:
            return own
        if masks := is_mask_folder(folder):
            warn(f"{folder} holds masks made before: it is left out")
        return masks

    for inside, path in files_below(root, IMAGE_SUFFIXES, holds_masks).items():
        place = Path(inside).with_suffix(".png")
        if place in found:
            problems.append(f"{path}: {found[place].image.name} beside it has the same mask; rename one")
            continue
        found[place] = PlacedPhoto(path, place, Path(inside).parent.name or None)
    if not found:
        raise UserError(f"expected photos in {root}, found none ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return list(found.values()), problems


def photos_below(folder: str) -> list[Path]:
    """List photos of backgrounds anywhere in a folder."""
    found = list(files_below(expect_folder(folder, "backgrounds"), IMAGE_SUFFIXES).values())
    if not found:
        raise UserError(f"expected photos of backgrounds in {folder}, found none ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found
