"""Masks that lie beside their photos in one folder: ``a_mask.png``, or a black and white ``a.png`` beside ``a.jpg``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from robustvit.common.errors import UserError
from robustvit.data.matching import plain_form, without_mark
from robustvit.data.read_photos import open_header, open_image

_LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".heic", ".heif", ".hif", ".avif"})
_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
_WORDS = re.compile(r"mask|seg|gt|truth|matte|alpha|label|annotation", re.IGNORECASE)  # that names of masks hold
_EXTREME = 0.8  # share of the pixels of a mask that are its darkest or brightest value; of photos it is a few per cent
_LOOKED_AT = 32
OF_MASKS = frozenset({"masks", "mask", "segmentations", "segmentationclass", "ground_truth"})  # names of folders


def masks_beside(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return those of some pictures that are the masks of others in the same folder.

    A name says so (``a_mask.png``), or a folder in that of the photos (``cat/masks/a.png``); or pictures without loss
    have the names and sizes of JPEGs or the like, and are black and white but for the rims of objects. If most of those
    that are looked at are, all of them are masks.

    Args:
        files: pictures by their paths in a folder, with slashes.
    """
    suspects = [inside for inside in files if _WORDS.search(inside)]
    if any(path.suffix.lower() in _LOSSY for path in files.values()):
        suspects = [
            inside for inside, path in files.items() if path.suffix.lower() in _LOSSLESS or _WORDS.search(inside)
        ]
    if not suspects:
        return {}
    stems: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for inside, path in files.items():
        stems[_place(inside)].append(path)
    found: dict[str, Path] = {}
    pairs: dict[str, Path] = {}  # the JPEG of the same name
    for inside in suspects:
        path, (folder, stem) = files[inside], _place(inside)
        bare = without_mark(stem)
        lossy = [one for one in stems[folder, stem] if one.suffix.lower() in _LOSSY]
        inner = any(name.casefold() in OF_MASKS for name in folder.split("/")[1:])
        if inner or (bare is not None and (folder, bare) in stems):
            found[inside] = path
        elif lossy and path.suffix.lower() in _LOSSLESS:
            pairs[inside] = lossy[0]
    sample = list(pairs)[:: -(-len(pairs) // _LOOKED_AT) or 1]
    masks = [inside for inside in sample if _is_mask(files[inside], pairs[inside])]
    if 2 * len(masks) >= len(sample):
        return found | {inside: files[inside] for inside in pairs}
    return found | {inside: files[inside] for inside, photo in pairs.items() if _is_mask(files[inside], photo)}


def _place(inside: str) -> tuple[str, str]:
    place = PurePosixPath(inside)
    return str(place.parent), plain_form(place.stem)


def _is_mask(path: Path, photo: Path) -> bool:
    """Whether a picture has the size of a photo, upright or not, and hardly other pixels than black and white ones."""
    try:
        with open_header(photo) as other:
            sizes = other.size, other.size[::-1]
        image = open_image(path)
        if image.size not in sizes:
            return False
        values = np.asarray(image.convert("L"))
    except (UserError, ValueError):
        return False
    return bool(np.isin(values, (values.min(), values.max())).mean() >= _EXTREME)
