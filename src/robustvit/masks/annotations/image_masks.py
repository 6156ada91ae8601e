"""Masks as files, one for each photo: ids of classes, or how much each pixel belongs to the object."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize
from robustvit.data.mask_files import MASK_SUFFIXES, read_mask
from robustvit.data.photo_tree import files_below
from robustvit.data.read_photos import open_image
from robustvit.masks.annotations.category_names import LabelMap, read_label_map
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    AnnotatedPhoto,
    Annotations,
    BrokenEntry,
    PhotoFolder,
    photo_with_objects,
)
from robustvit.masks.annotations.orientation import upright_size, view_photo

_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif"})
_VOID_ID = 255
_VOID_COLOUR = (224, 224, 192)
_IMAGENET_S_IGNORE = 1000
_MOST_CLASSES = 128  # in one photo; a soft mask read as ids would give an object for each of its greys

_Decode = Callable[[Path, list[str]], list[AnnotatedObject]]


def read_class_masks(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, coding: Literal["voc", "imagenet-s"]
) -> Annotations:
    """List photos whose masks hold ids of classes, with one object for each class; pairs as ``read_plain_masks``.

    ``voc``: palette or grey images, 0 is background, 255 void; or colours that a ``labelmap.txt`` names.
    ``imagenet-s``: colour images, id = R + 256 G, 0 is background, 1000 ignored. ``categories`` holds the names from
    ``labelmap.txt`` or ``classes.txt`` in ``source`` or its parent; without them a class is named by its id.
    """
    problems: list[str] = []
    folder = expect_folder(source, "masks")
    labels = read_label_map([folder, folder.parent], problems) if coding == "voc" else LabelMap()
    decode: _Decode = partial(_voc_objects, labels=labels) if coding == "voc" else _imagenet_s_objects
    photos = _photos(folder, PhotoFolder(images), _LOSSLESS, decode, orientation, problems)
    return Annotations(photos, problems, tuple(dict.fromkeys(labels.by_id.values())))


def read_plain_masks(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, binary: bool = False
) -> Annotations:
    """List photos whose masks hold one object without a class, in grey or as ``.npy``.

    Masks mirror ``images`` by inner folder and stem; where one of the two is flat, the stem is enough.

    Args:
        source: the folder of masks.
        images: the folder of photos.
        binary: whether values count as 1 from half of the largest upwards, else as 0.
    """
    problems: list[str] = []
    folder = expect_folder(source, "masks")
    decode: _Decode = partial(_plain_object, binary=binary)
    photos = _photos(folder, PhotoFolder(images), MASK_SUFFIXES, decode, orientation, problems)
    return Annotations(photos, problems)


def _photos(
    source: Path,
    folder: PhotoFolder,
    suffixes: Collection[str],
    decode: _Decode,
    orientation: Orientation | None,
    problems: list[str],
) -> list[AnnotatedPhoto]:
    masks = folder.separate(source, files_below(source, suffixes))
    if not masks:
        raise UserError(f"expected masks ({', '.join(sorted(suffixes))}) in {source}, found none: check the path")
    wanted = {mask: place.removesuffix(mask.suffix) for place, mask in masks.items()}
    found = folder.match(wanted, problems, stem_only=True)
    folder.report_lacking(found, "a mask", problems)
    photos = []
    for mask, image in found.items():
        try:
            said = None if mask.suffix.lower() == ".npy" else upright_size(mask)
            view = view_photo(image, said, orientation, "the mask has")
        except BrokenEntry as error:
            problems.append(f"{mask}: {error}")
        except UserError as error:
            problems.append(str(error))
        else:
            content = partial(_content, mask)
            photos.append(
                photo_with_objects(image, partial(_decode, mask, image, view.size, decode), problems, view, content)
            )
    return sorted(photos, key=lambda photo: photo.image)


def _content(mask: Path) -> str:
    return hashlib.sha256(mask.read_bytes()).hexdigest()


def _expect_size(size: tuple[int, ...], expected: tuple[int, int], image: Path) -> None:
    if size != expected:
        raise BrokenEntry(
            f"the mask has {size[0]} x {size[1]} pixels (height x width), its photo {image} has "
            f"{expected[0]} x {expected[1]}"
        )


def _decode(
    mask: Path, image: Path, size: tuple[int, int], decode: _Decode, complaints: list[str]
) -> list[AnnotatedObject]:
    objects = decode(mask, complaints)
    if objects:
        try:
            _expect_size(objects[0].mask.shape, size, image)
        except BrokenEntry as error:
            raise UserError(f"{mask}: {error}: make them alike") from error
    elif not complaints:
        complaints.append(f"{mask}: no pixel is on an object")
    return objects


def _plain_object(path: Path, complaints: list[str], binary: bool) -> list[AnnotatedObject]:
    mask = read_mask(path, "soft")
    top = mask.max(initial=0)
    if binary and top > 0:
        mask = (mask >= top / 2).astype(np.float32)
    return [AnnotatedObject(None, mask)] if top > 0 else []


def _imagenet_s_objects(path: Path, complaints: list[str]) -> list[AnnotatedObject]:
    image = open_image(path)
    channels = np.asarray(image).astype(np.int64)
    if image.mode not in ("RGB", "RGBA") or channels[..., 2].any():
        raise UserError(
            f"expected a colour mask of ImageNet-S (id = R + 256 G, B = 0) in {path}, found other: check it"
        )
    ids = channels[..., 0] + 256 * channels[..., 1]
    ids[ids == _IMAGENET_S_IGNORE] = 0
    return _by_class(ids, {}, path)


def _voc_objects(path: Path, complaints: list[str], labels: LabelMap) -> list[AnnotatedObject]:
    image = open_image(path)
    if image.mode in ("RGB", "RGBA"):
        return _by_colour(np.asarray(image.convert("RGB")), labels, path, complaints)
    if image.mode not in ("1", "P", "L") and not image.mode.startswith("I"):
        raise UserError(
            f"expected ids of classes in {path}, found an image of mode {image.mode}: save it with a palette"
        )
    ids = np.asarray(image).astype(np.int64)
    ids[ids == _VOID_ID] = 0
    return _by_class(ids, labels.by_id, path)


def _by_colour(channels: np.ndarray, labels: LabelMap, path: Path, complaints: list[str]) -> list[AnnotatedObject]:
    if not labels.by_colour:
        raise UserError(
            f"expected ids of classes in {path}, found colours: save it with a palette or in grey, or add a "
            "labelmap.txt that names the colours"
        )
    packed = (channels.astype(np.int64) * (1 << 16, 1 << 8, 1)).sum(axis=-1)
    names = {(red << 16) + (green << 8) + blue: name for (red, green, blue), name in labels.by_colour.items()}
    void = (_VOID_COLOUR[0] << 16) + (_VOID_COLOUR[1] << 8) + _VOID_COLOUR[2]
    unknown = set(np.unique(packed).tolist()) - set(names) - {0, void}
    if unknown:
        colours = pluralize(len(unknown), "colour")
        complaints.append(f"{path}: {colours} that labelmap.txt does not name, taken as background")
        packed[np.isin(packed, sorted(unknown))] = 0
    packed[packed == void] = 0
    return _by_class(packed, names, path)


def _by_class(ids: np.ndarray, names: dict[int, str], path: Path) -> list[AnnotatedObject]:
    present = [number for number in np.unique(ids).tolist() if number > 0]
    if len(present) > _MOST_CLASSES:
        raise UserError(f"expected ids of classes in {path}, found {len(present)} of them: is it a grey mask?")
    return [AnnotatedObject(names.get(n, str(n)), (ids == n).astype(np.float32)) for n in present]
