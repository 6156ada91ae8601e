"""Which photos lie in a class folder, whose name is their class whatever the categories of their objects."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from robustvit.common.options import LabelFrom
from robustvit.data.matching import compose
from robustvit.masks.annotations.category_names import is_no_object

_SHOWN = 5
# Parts of a data set, and folders that say what is in them.
_PARTS = re.compile(
    r"(train|val|valid|validation|dev|test|eval)(ing)?(set|_?20\d\d)?"
    r"|(train|val|valid|validation|test)(ing)?[ _-]?(images?|imgs|photos|pictures|data)"
    r"|(images?|imgs|photos|pictures|data)[ _-]?(train|val|valid|validation|test)(ing)?"
    r"|images|imgs|photos|pictures|frames|data|dataset|obj_\w+_data|jpegimages|labels|masks|annotations",
    re.IGNORECASE,
)
# Units that annotation tools and cameras sort photos into.
_UNITS = re.compile(
    r"(task|job|project|batch|part|set|subset|split|fold|chunk|shard|session|sequence|seq|video|clip|scene|camera|cam"
    r"|folder|dir|upload|day|run|round)s?[ _-]?\d+|(19|20)\d\d([-_.]?\d\d){0,2}",
    re.IGNORECASE,
)


def class_folders(
    photos: Sequence[Path], root: Path | None, known: Collection[str], label_from: LabelFrom | None
) -> tuple[dict[Path, str | None], list[str]]:
    """Return the class folder of each photo, None for a photo whose class is the category of its objects.

    A folder is a class if it is named as a category, or if the photos lie in two folders or more whose names are not
    those of parts of a data set (``train``, ``task_1``, ``2026-05-01``). Without categories any folder is.

    Args:
        photos: the annotated photos.
        root: the folder of photos; None if they lie in no common one.
        known: names of the categories.
        label_from: ``folder`` takes any folder, ``largest`` and ``all`` only those named as a category; None decides
            as above.

    Returns:
        The folders, and a line that says how it was decided if folders and categories differ.
    """
    categories = {compose(name).casefold() for name in known}
    folders = {photo: _folder(photo, root, categories) for photo in photos}
    names = sorted({name for name in folders.values() if name is not None})
    strange = [name for name in names if compose(name).casefold() not in categories]
    if not known or label_from == "folder" or not strange:
        return folders, []
    several = len(names) > 1 and (len(strange) < len(names) or None not in folders.values())
    shown = ", ".join(strange[:_SHOWN]) + (", ..." if len(strange) > _SHOWN else "")
    if label_from is None and several:
        line = f"photos have the class of their folder, no category is named {shown}: --label-from largest takes"
        return folders, [f"{line} the category"]
    note = f"photos in {shown} have the category of their objects as class: --label-from folder takes the folder"
    kept = {photo: name if name not in strange else None for photo, name in folders.items()}
    return kept, [note] if label_from is None else []


def _folder(photo: Path, root: Path | None, categories: Collection[str]) -> str | None:
    """The first folder that may be a class, preferably one named as a category."""
    try:
        parts = photo.resolve().relative_to(root.resolve()).parts[:-1] if root is not None else ()
    except ValueError:
        return None
    named = next((part for part in parts if compose(part).casefold() in categories), None)
    classes = [part for part in parts if not _PARTS.fullmatch(part) and not is_no_object(part)]
    if categories:
        classes = [part for part in classes if not _UNITS.fullmatch(part)]
    return named or next(iter(classes), None)
