"""The photos that masks are made for, each with the place of its mask: those of a folder, of a list or of a set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustvit.common.photo_options import ColumnOptions
from robustvit.common.progress import warn
from robustvit.data.find_photos import find_photos
from robustvit.data.photo_tree import PlacedPhoto, photo_tree
from robustvit.data.pixels import Pixels
from robustvit.data.tables.source import is_list, places_in, root_of


def place_photos(
    source: str, leave_out: str, pixels: Pixels, columns: ColumnOptions
) -> tuple[list[PlacedPhoto], list[str], Path]:
    """List the photos of a source in a fixed order; see ``photo_tree``, for lists too.

    Returns:
        The photos, a line for each that is left out, and the folder that their masks mirror.
    """
    if not is_list(source):
        photos, problems = photo_tree(source, leave_out, pixels, columns.class_folders == "inner")
        return photos, problems, Path(source)
    notes: list[str] = []
    listed = find_photos(source, labelled=False, pixels=pixels, columns=columns, notes=notes)
    for line in notes:
        warn(line)
    root = root_of(source, [photo.image for photo in listed])
    found: dict[Path, PlacedPhoto] = {}
    problems = []
    for photo, inside in zip(listed, places_in([photo.image for photo in listed], root), strict=True):
        place = Path(inside).with_suffix(".png")
        placed = PlacedPhoto(photo.image, place, photo.class_name, photo.pixels)
        if (other := found.get(place)) is None:
            found[place] = placed
        elif other != replace(placed, label=other.label):  # a photo may have several classes, and one mask
            problems.append(f"{photo.image}: {other.image.name} beside it has the same mask; rename one")
    return list(found.values()), problems, root
