"""Masks as files, one for each photo: ids of classes, or how much each pixel belongs to the object."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.options import MaskFormat, Orientation
from robustvit.common.wording import pluralize
from robustvit.data.folder_files import files_below
from robustvit.data.mask_files import read_ids, read_mask
from robustvit.data.mask_kinds import MOST_IDS
from robustvit.data.mask_pixels import MASK_SUFFIXES
from robustvit.data.mask_values import VOID_COLOUR, pack_colours
from robustvit.data.matching import without_number
from robustvit.data.read_photos import open_image
from robustvit.masks.annotations.annotated import AnnotatedPhoto, Annotations, photo_with_objects
from robustvit.masks.annotations.category_names import PIXEL_VALUES, LabelMap, read_label_map
from robustvit.masks.annotations.objects import AnnotatedObject, BrokenEntry
from robustvit.masks.annotations.orientation import upright_size, view_photo
from robustvit.masks.annotations.photo_folder import PhotoFolder

LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif"})

_Decode = Callable[[Path, list[str]], list[AnnotatedObject]]


def read_class_masks(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, coding: Literal["voc", "imagenet-s"]
) -> Annotations:
    """List photos whose masks hold ids of classes, with one object for each class; pairs as ``read_plain_masks``.

    ``voc``: palette or grey images, 0 is background, 255 void; VOC's colours, or those that a ``labelmap.txt`` names.
    ``imagenet-s``: colour images, id = R + 256 G, 0 is background, 1000 ignored. ``categories`` holds the names from
    ``labelmap.txt``, ``classes.txt`` or Roboflow's ``_classes.csv`` in ``source`` or its parent; without them a class
    is named by its id. ``source`` may be the folder of a VOC set, and one of Roboflow's that holds the photos too.
    """
    problems: list[str] = []
    folder = expect_folder(source, "masks")
    if (folder / "SegmentationClass").is_dir():
        images = images or next((one for one in (folder / "JPEGImages", folder / "images") if one.is_dir()), None)
        folder = folder / "SegmentationClass"
    parts = sorted(path.parent for path in folder.glob(f"*/{PIXEL_VALUES}"))
    if images is None and (parts or (folder / PIXEL_VALUES).is_file()):
        images = folder
    labels = read_label_map([folder, folder.parent, *parts], problems) if coding == "voc" else LabelMap()
    decode: _Decode = partial(_voc_objects, labels=labels) if coding == "voc" else _imagenet_s_objects
    found = PhotoFolder(images)
    photos = _photos(folder, found, LOSSLESS, decode, orientation, problems)
    advice = "" if labels.by_id else f"put their names into a classes.txt in {folder}, one a line, from id 1"
    return Annotations(photos, problems, tuple(dict.fromkeys(labels.by_id.values())), advice, found.folder)


def read_plain_masks(
    source: Path, images: Path | None, orientation: Orientation | None = None, *, kind: MaskFormat = "soft"
) -> Annotations:
    """List photos whose masks hold one object without a class.

    Masks mirror ``images`` by inner folder and stem; where one of the two is flat, the stem is enough.
    ``kind`` is what the files hold, see ``read_mask``.
    """
    problems: list[str] = []
    folder = expect_folder(source, "masks")
    decode: _Decode = partial(_plain_object, kind=kind)
    found = PhotoFolder(images)
    photos = _photos(folder, found, MASK_SUFFIXES, decode, orientation, problems)
    return Annotations(photos, problems, root=found.folder)


def _photos(
    source: Path,
    folder: PhotoFolder,
    suffixes: Collection[str],
    decode: _Decode,
    orientation: Orientation | None,
    problems: list[str],
) -> list[AnnotatedPhoto]:
    masks = folder.separate(source, files_below(source, suffixes, lambda inner: False))
    if not masks:
        raise UserError(f"expected masks ({', '.join(sorted(suffixes))}) in {source}, found none: check the path")
    together = _join_numbered(masks, folder)
    found = folder.match({mask: name for mask, (name, _) in together.items()}, problems, stem_only=True)
    if joined := [together[mask][1] for mask in found if len(together[mask][1]) > 1]:
        names = ", ".join(path.name for path in joined[0])
        problems.append(f"{pluralize(len(joined), 'photo')} with several masks, which are united (such as {names})")
    folder.report_lacking(found, "a mask", problems)
    pairs = [(mask, together[mask][1], image) for mask, image in found.items()]
    return sorted(_view_photos(pairs, decode, orientation, problems), key=lambda photo: photo.image)


def _view_photos(
    pairs: Sequence[tuple[Path, list[Path], Path]],
    decode: _Decode,
    orientation: Orientation | None,
    problems: list[str],
) -> Iterator[AnnotatedPhoto]:
    """Yield the photos that can be used; ``pairs`` are a mask, all masks of its photo, and the photo."""
    for mask, several, image in pairs:
        try:
            said = None if mask.suffix.lower() == ".npy" else upright_size(mask)
            view = view_photo(image, said, orientation, "the mask has")
        except BrokenEntry as error:
            problems.append(f"{mask}: {error}")
        except UserError as error:
            problems.append(str(error))
        else:
            read = partial(_decode, several, image, view.size, decode)
            yield photo_with_objects(image, read, problems, view, partial(_content, several))


def _join_numbered(masks: dict[str, Path], folder: PhotoFolder) -> dict[Path, tuple[str, list[Path]]]:
    """Return the name and the files of each mask by the first of these; ``a_mask`` and ``a_mask_1`` are together.

    A number counts as that of a mask only where no photo has it in its name, and the name without it finds a photo.
    """
    ordered = sorted(masks.items(), key=lambda item: (len(item[0]), item[0]))
    names = {mask: place.removesuffix(mask.suffix) for place, mask in ordered}
    own = folder.match(names, [], stem_only=True)
    numbered = {without_number(names[mask]) for mask in own}
    bare = {mask: without_number(name) for mask, name in names.items() if mask not in own}
    wanted = {name: name for name in bare.values() if name is not None and name not in numbered}
    known = folder.match(wanted, [], stem_only=True)
    first = {names[mask]: mask for mask in own}
    found: dict[Path, tuple[str, list[Path]]] = {mask: (names[mask], [mask]) for mask in own}
    for mask, name in bare.items():
        if name is None or name not in known:
            found[mask] = (names[mask], [mask])
        elif name in first:
            found[first[name]][1].append(mask)
        else:
            found[mask], first[name] = (name, [mask]), mask
    return found


def _content(masks: list[Path]) -> str:
    return " ".join(hashlib.sha256(mask.read_bytes()).hexdigest() for mask in masks)


def _decode(
    masks: list[Path], image: Path, size: tuple[int, int], decode: _Decode, complaints: list[str]
) -> list[AnnotatedObject]:
    return [one for mask in masks for one in _decode_one(mask, image, size, decode, complaints)]


def _decode_one(
    mask: Path, image: Path, size: tuple[int, int], decode: _Decode, complaints: list[str]
) -> list[AnnotatedObject]:
    try:
        objects = decode(mask, complaints)
    except UserError as error:
        said = str(error).replace("--mask-format ids", "--from voc").replace("--mask-format", "--from")
        raise UserError(said) from error
    if objects:
        if (given := objects[0].mask.shape) != size:
            raise UserError(
                f"{mask}: the mask has {given[0]} x {given[1]} pixels (height x width), its photo {image} has "
                f"{size[0]} x {size[1]}: make them alike"
            )
    elif not complaints:
        complaints.append(f"{mask}: no pixel is on an object")
    return objects


def _plain_object(path: Path, complaints: list[str], kind: MaskFormat) -> list[AnnotatedObject]:
    return [AnnotatedObject(None, read_mask(path, kind))]  # an empty one says that there is no object


def _imagenet_s_objects(path: Path, complaints: list[str]) -> list[AnnotatedObject]:
    return _by_class(read_ids(path, "imagenet-s"), {}, path)


def _voc_objects(path: Path, complaints: list[str], labels: LabelMap) -> list[AnnotatedObject]:
    if labels.by_colour:
        image = open_image(path)
        if image.mode in ("RGB", "RGBA"):
            return _by_colour(np.asarray(image.convert("RGB")), labels, path, complaints)
    objects = _by_class(read_ids(path), labels.by_id, path)
    if not objects:
        complaints.append(f"{path}: no pixel is on an object, as 0 is background and 255 void: is it --from binary?")
    return objects


def _by_colour(channels: np.ndarray, labels: LabelMap, path: Path, complaints: list[str]) -> list[AnnotatedObject]:
    packed, found = pack_colours(channels)
    names = {(red << 16) + (green << 8) + blue: name for (red, green, blue), name in labels.by_colour.items()}
    void = pack_colours(np.array(VOID_COLOUR))[0].item()
    unknown = set(found.tolist()) - set(names) - {0, void}
    if unknown:
        colours = pluralize(len(unknown), "colour")
        complaints.append(f"{path}: {colours} that labelmap.txt does not name, taken as background")
        packed[np.isin(packed, sorted(unknown))] = 0
    packed[packed == void] = 0
    return _by_class(packed, names, path)


def _by_class(ids: np.ndarray, names: dict[int, str], path: Path) -> list[AnnotatedObject]:
    present = [number for number in np.unique(ids).tolist() if number > 0]
    if len(present) > MOST_IDS:
        raise UserError(f"expected ids of classes in {path}, found {len(present)} of them: is it a grey mask?")
    return [AnnotatedObject(names.get(n, str(n)), (ids == n).astype(np.float32)) for n in present]
