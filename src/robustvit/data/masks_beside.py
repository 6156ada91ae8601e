"""Masks that lie beside their photos in one folder: ``a_mask.png``, or a black and white ``a.png`` beside ``a.jpg``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.wording import pluralize
from robustvit.data.folder_files import files_below
from robustvit.data.mask_pixels import MASK_SUFFIXES, MaskPixels, read_pixels
from robustvit.data.mask_values import FAINT, count_levels, pack_colours
from robustvit.data.matching import plain_form, without_mark, without_photo_word
from robustvit.data.read_photos import open_header

_LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".heic", ".heif", ".hif", ".avif"})
_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
_WORDS = re.compile(r"mask|seg|gt|truth|matte|alpha|label|annotation", re.IGNORECASE)  # that names of masks hold
_EXTREME = 0.8  # share of the pixels of a mask that are its darkest or brightest value; of photos it is a few per cent
_RIM = 4  # times as many pixels may lie between the two as there are of the rarer one: a photo on white has far more
_FLAT = 0.7  # share of the pixels of an object that are as their neighbour; of photos it is below a third
_CLASSES = 32  # values that most of these pixels have in a mask
_ROWS = 64  # that are looked at for this; sorting the colours of all pixels takes seconds
_LOOKED_AT = 16
_REMEMBERED = 4096  # pictures that were looked at
OF_MASKS = frozenset({"masks", "mask", "segmentations", "segmentationclass", "ground_truth"})  # names of folders


class _Looks(Enum):
    """A picture may look like a mask, grey (a soft mask or a grey photo), like a photo in colour, or be unclear."""

    MASK = auto()
    GREY = auto()
    PHOTO = auto()
    UNKNOWN = auto()


def masks_beside(files: Mapping[str, Path], masks: Path | None = None) -> dict[str, Path]:
    """Return the pictures that are masks of others in the same folder.

    These lie in an inner folder of masks (``cat/masks/a.png``), or have the name of a mask (``a_mask.png``) and pixels
    of a mask; or they are pictures without loss with the names and sizes of JPEGs or the like, grey, and black and
    white but for the rims of objects. A few pictures with such names are looked at, and decide for all. A picture that
    has a mask in the folder ``masks``, as the picture that it may belong to does, is a photo.
    """
    marked = {inside for inside in files if _WORDS.search(inside)}
    some_lossy = any(path.suffix.lower() in _LOSSY for path in files.values())
    if not marked and not some_lossy:
        return {}
    lossy: dict[tuple[str, str], Path] = {}
    places: dict[tuple[str, str], Path] = {}
    for inside, path in files.items():
        folder, stem = _place(inside)
        places[folder, stem] = places[folder, without_photo_word(stem)] = path
        if path.suffix.lower() in _LOSSY:
            lossy[folder, stem] = path
    found: dict[str, Path] = {}
    named: dict[str, Path] = {}  # the photo that the name speaks of
    twins: dict[str, Path] = {}  # the JPEG of the same name
    for inside, path in files.items():
        folder, stem = _place(inside)
        bare = without_mark(stem) if inside in marked else None
        if inside in marked and any(name.casefold() in OF_MASKS for name in folder.split("/")[1:]):
            found[inside] = path
        elif bare is not None and (photo := places.get((folder, bare))):
            named[inside] = photo
        elif path.suffix.lower() in _LOSSLESS and (photo := lossy.get((folder, stem))):
            twins[inside] = photo
    for inside in _find_masked(named, masks):
        del named[inside]
    if _are_masks(named, files, by_name=True):
        found |= {inside: files[inside] for inside in named}
    return found | ({inside: files[inside] for inside in twins} if _are_masks(twins, files, by_name=False) else {})


def _place(inside: str) -> tuple[str, str]:
    place = PurePosixPath(inside)
    return str(place.parent), plain_form(place.stem)


def _find_masked(named: Mapping[str, Path], masks: Path | None) -> list[str]:
    """Return the pictures that another folder has masks of, as well as of the photos that they may belong to."""
    if not named or masks is None or not masks.is_dir():
        return []
    there = {_place(inside) for inside in files_below(masks, MASK_SUFFIXES, lambda inner: False)}
    return [
        inside
        for inside, photo in named.items()
        if {_place(inside), (_place(inside)[0], plain_form(photo.stem))} <= there
    ]


def _are_masks(pairs: Mapping[str, Path], files: Mapping[str, Path], *, by_name: bool) -> bool:
    """Whether pictures, each with the photo that it may belong to, are masks: a few decide, or the set is refused."""
    sample = sorted(pairs)[:: -(-len(pairs) // _LOOKED_AT) or 1]
    looks: dict[_Looks, list[str]] = defaultdict(list)
    for inside in sample:
        looks[_look(files[inside], pairs[inside], by_name)].append(inside)
    masks, grey, photos = (looks[kind] for kind in (_Looks.MASK, _Looks.GREY, _Looks.PHOTO))
    if not masks:
        return False
    if photos or len(grey) > len(masks):
        raise UserError(
            f"{pluralize(len(pairs), 'picture')} may be masks of the photos beside them, or photos: "
            f"{files[masks[0]]} looks like a mask, {files[(photos or grey)[0]]} does not; move the masks to a folder "
            "of their own, and rename photos that have the name of another"
        )
    return True


def _look(path: Path, photo: Path, by_name: bool) -> _Looks:
    try:
        changed = path.stat()
    except OSError:
        return _Looks.UNKNOWN
    return _look_once(path, photo, by_name, changed.st_mtime_ns, changed.st_size)


@lru_cache(_REMEMBERED)
def _look_once(path: Path, photo: Path, by_name: bool, _changed: int, _size: int) -> _Looks:
    """Look at a picture; unless its name says that it is a mask, it must have the size of its photo, upright or not."""
    try:
        pixels = read_pixels(path)
        if (not pixels.in_colour and _is_black_and_white(pixels)) or (by_name and _is_flat(pixels)):
            looks = _Looks.MASK
        elif pixels.in_colour:
            looks = _Looks.PHOTO
        else:  # a soft mask, if its name says so and its photo is no grey one
            looks = _Looks.MASK if by_name and read_pixels(photo).in_colour else _Looks.GREY
        if by_name or looks is _Looks.PHOTO:
            return looks
        with open_header(photo) as other:
            return looks if pixels.values.shape in (other.size, other.size[::-1]) else _Looks.UNKNOWN
    except UserError:
        return _Looks.UNKNOWN


def _is_black_and_white(pixels: MaskPixels) -> bool:
    """Whether most greys are the darkest or brightest, and both are there; or a single one."""
    levels, counts = count_levels(pixels.values)
    noise = FAINT if pixels.lossy else 0
    dark, bright = levels <= levels[0] + noise, levels >= levels[-1] - noise
    extreme = float(counts[dark | bright].sum() / counts.sum())
    rarer = float(min(counts[dark].sum(), counts[bright].sum()) / counts.sum())
    return extreme >= _EXTREME and 1 - extreme <= _RIM * rarer


def _is_flat(pixels: MaskPixels) -> bool:
    """Whether the pixels that are not of the commonest value have few values, most of them that of their neighbour.

    Masks of ids of classes or colours are so, if the format keeps their values; shades of a backdrop do not count.
    """
    if pixels.lossy:
        return False
    rows = pixels.values[:: -(-len(pixels.values) // _ROWS)]
    values = pack_colours(rows)[0] if pixels.in_colour else rows
    levels, counts = np.unique(values, return_counts=True)
    others = values != levels[counts.argmax()]
    if pixels.in_colour:
        commonest = rows[~others][0].astype(np.int16)
        others = (np.abs(rows - commonest) > FAINT).any(axis=-1)
    falling = np.sort(np.unique(values[others], return_counts=True)[1])[::-1]
    few = falling[:_CLASSES].sum() >= _FLAT * falling.sum()
    same = (values[:, 1:] == values[:, :-1])[others[:, 1:]]
    return bool(few and (not len(same) or same.mean() >= _FLAT))
