"""The images that a COCO file lists: their ids, names and sizes, and the photos that they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.read_photos import MAX_PIXELS
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.ids import Id, as_id, whole_number
from robustvit.masks.annotations.listing import PhotoFolder
from robustvit.masks.annotations.orientation import View, view_photo

_NAMES = ("file_name", "filename", "coco_url")  # LVIS has addresses only


@dataclass(frozen=True)
class CocoImage:
    """A photo that a file lists, and the frame in which it was annotated."""

    path: Path
    view: View


def find_images(
    entries: list, folder: PhotoFolder, orientation: Orientation | None, problems: list[str]
) -> dict[Id, CocoImage | None]:
    """The listed images by id; None for unusable ones, whose annotations are silently ignored."""
    by_id = _by_id(entries, problems)
    names = {key: entry_name(entry) for key, entry in by_id.items() if entry is not None}
    found = folder.match(
        {key: name for key, name in names.items() if name}, problems, describe=lambda key: f"image id {shown(key)}"
    )
    images: dict[Id, CocoImage | None] = dict.fromkeys(by_id)
    for key, entry in by_id.items():
        try:
            if key in found and entry is not None:
                images[key] = CocoImage(found[key], view_photo(found[key], _size(entry, found[key]), orientation))
            elif entry is not None and not names[key]:
                raise BrokenEntry(f"expected a file_name, found {shown(entry.get('file_name'))}")
        except (BrokenEntry, UserError) as error:
            problems.append(f"image id {shown(key)}: {error}")
    return images


def _by_id(entries: list, problems: list[str]) -> dict[Id, dict | None]:
    """Entries by id; None for an id that several photos have, since their annotations cannot be told apart."""
    found: dict[Id, dict | None] = {}
    for number, entry in enumerate(entries):
        key = as_id(entry.get("id")) if isinstance(entry, dict) else None
        if key is None:
            given = entry.get("id") if isinstance(entry, dict) else entry
            problems.append(f"image number {number}: expected an id, found {shown(given)}; left out")
        elif key not in found:
            found[key] = entry
        elif (first := found[key]) is not None and first != entry:
            problems.append(
                f"image id {shown(key)} is listed twice, as {shown(entry_name(first))} and {shown(entry_name(entry))}: "
                "their annotations cannot be told apart, both are left out"
            )
            found[key] = None
    return found


def entry_name(entry: dict) -> str:
    """Return the path of an image as its entry has it; empty without one."""
    return next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), "")


def _size(entry: dict, path: Path) -> tuple[int, int] | None:
    """Height and width as the entry has them; None if it has neither."""
    given = entry.get("height"), entry.get("width")
    if given in ((None, None), (0, 0)):
        return None
    height, width = map(whole_number, given)
    if not height or not width or min(height, width) < 1:
        raise BrokenEntry(f"expected height and width of {path} above 0, got {shown(given[0])} and {shown(given[1])}")
    if height * width > MAX_PIXELS:
        raise BrokenEntry(f"{path} of {shown(height)} x {shown(width)} pixels is too large to be read")
    return height, width
