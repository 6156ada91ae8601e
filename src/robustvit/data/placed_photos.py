"""The photos that masks are made for, each with the path of its mask: those of a folder, of a list or of a set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from robustvit.common.photo_options import ColumnOptions
from robustvit.common.progress import warn
from robustvit.data.find_photos import find_photos
from robustvit.data.photo_scales import settle_pixels
from robustvit.data.photo_tree import PhotoTree
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.tables.source import is_list, places_in, root_of


@dataclass(frozen=True)
class PlacedPhoto:
    """A photo and the path of its mask.

    Attributes:
        image: the file.
        mask: path of its mask, relative to the folder of masks.
        label: its class; None if it has none.
        pixels: how its pixels are read.
    """

    image: Path
    mask: Path
    label: str | None
    pixels: Pixels = PLAIN


def place_photos(
    source: str, leave_out: str, pixels: Pixels, columns: ColumnOptions
) -> tuple[list[PlacedPhoto], list[str], Path]:
    """List the photos of a folder, list or set in a fixed order; see ``place_folder`` for folders.

    Returns:
        The photos, a line for each that is left out, and the folder that their masks mirror.
    """
    if not is_list(source):
        return *place_folder(source, leave_out, pixels, columns.class_folders == "inner"), Path(source)
    notes: list[str] = []
    listed = find_photos(source, labelled=False, pixels=pixels, columns=columns, notes=notes)
    for line in notes:
        warn(line)
    files = [photo.image for photo in listed]
    root = root_of(source, files)
    masks = [Path(inside).with_suffix(".png") for inside in places_in(files, root)]
    pairs = zip(listed, masks, strict=True)
    return *_leave_out_twins(PlacedPhoto(one.image, mask, one.class_name, one.pixels) for one, mask in pairs), root


def place_folder(
    root: str | Path, leave_out: str | Path | None = None, pixels: Pixels = PLAIN, inner: bool = False
) -> tuple[list[PlacedPhoto], list[str]]:
    """List all photos below a folder, in a fixed order, without hidden files and folders, the folder ``leave_out`` and
    folders of masks.

    Returns:
        The photos, and a line for each that is left out: its ending is not read, or another photo differs only in the
        ending of its name.
    """
    tree = PhotoTree(root, leave_out, inner)
    tree.expect_photos()
    settled = settle_pixels(tree.photos.values(), pixels)
    photos, problems = _leave_out_twins(
        PlacedPhoto(path, Path(inside).with_suffix(".png"), tree.class_of(inside), settled.photos.get(path, pixels))
        for inside, path in sorted(tree.photos.items())
    )
    for line in (*settled.notes, *([tree.count.note] if tree.count.note else [])):
        warn(line)
    unread = [f"{tree.root / inside}: its ending is not read; convert it to PNG or JPEG" for inside in tree.unread]
    return photos, unread + problems


def _leave_out_twins(photos: Iterable[PlacedPhoto]) -> tuple[list[PlacedPhoto], list[str]]:
    """Return the photos, each once, without those whose mask would be that of another; and a line for each of these."""
    found: dict[Path, PlacedPhoto] = {}
    problems = []
    for photo in photos:
        other = found.setdefault(photo.mask, photo)
        if other != replace(photo, label=other.label):  # a photo may have several classes, and one mask
            problems.append(f"{photo.image}: {other.image.name} beside it has the same mask; rename one")
    return list(found.values()), problems
