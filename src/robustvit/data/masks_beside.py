"""Masks that lie beside their photos in one folder: ``a_mask.png``, or a black and white ``a.png`` beside ``a.jpg``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from robustvit.common.errors import UserError
from robustvit.data.matching import plain_form, without_mark
from robustvit.data.read_photos import open_header, open_image

_LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".heic", ".heif", ".hif", ".avif"})
_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
_MOST_TONES = 16  # a photo has more


def masks_beside(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return those of some pictures that are the masks of others in the same folder.

    A name says so (``a_mask.png`` beside ``a.jpg``); or a picture without loss has the name and the size of a JPEG or
    the like, and few tones.

    Args:
        files: pictures by their paths in a folder, with slashes.
    """
    stems: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for inside, path in files.items():
        stems[_place(inside)].append(path)
    found = {}
    for inside, path in files.items():
        folder, stem = _place(inside)
        bare = without_mark(stem)
        marked = bare is not None and (folder, bare) in stems
        lossy = [one for one in stems[folder, stem] if one.suffix.lower() in _LOSSY]
        if marked or (lossy and path.suffix.lower() in _LOSSLESS and _has_few_tones(path, lossy[0])):
            found[inside] = path
    return found


def _place(inside: str) -> tuple[str, str]:
    place = PurePosixPath(inside)
    return str(place.parent), plain_form(place.stem)


def _has_few_tones(path: Path, photo: Path) -> bool:
    """Whether a picture has the size of a photo, upright or not, and as few tones as a mask."""
    try:
        with open_header(photo) as other:
            sizes = other.size, other.size[::-1]
        image = open_image(path)
        return image.size in sizes and image.getcolors(_MOST_TONES) is not None
    except (UserError, ValueError):
        return False
