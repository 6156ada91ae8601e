"""The images that a COCO file lists: their ids, names and sizes, and the photos that they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustvit.common.wording import shown
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.values import Id, as_dict, as_id

_NAMES = ("file_name", "filename", "coco_url")  # LVIS has addresses only


@dataclass(frozen=True)
class CocoImage:
    """A photo that a file lists, and its height and width there."""

    path: Path
    size: tuple[object, object]


def name_image(key: Id) -> str:
    """Return what to call an image in a complaint."""
    return f"image id {shown(key)}"


def find_images(entries: list, folder: PhotoFolder, problems: list[str]) -> dict[Id, CocoImage | None]:
    """Return the listed images by id; None for unusable images, whose annotations are silently ignored."""
    by_id = _by_id(entries, problems)
    names = {key: entry_name(entry) for key, entry in by_id.items() if entry is not None}
    found = folder.match({key: name for key, name in names.items() if name}, problems, describe=name_image)
    images: dict[Id, CocoImage | None] = dict.fromkeys(by_id)
    for key, entry in by_id.items():
        if key in found and entry is not None:
            images[key] = CocoImage(found[key], (entry.get("height"), entry.get("width")))
        elif entry is not None and not names[key]:
            problems.append(f"{name_image(key)}: expected a file_name, found {shown(entry.get('file_name'))}")
    return images


def _by_id(entries: list, problems: list[str]) -> dict[Id, dict | None]:
    """Return entries by id; None for an id of several photos, since their annotations cannot be told apart."""
    found: dict[Id, dict | None] = {}
    for number, entry in enumerate(entries):
        key = as_id(as_dict(entry).get("id"))
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
