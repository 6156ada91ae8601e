"""COCO: one JSON file with images, annotations and categories; outlines as polygons or run lengths."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeGuard

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.wording import pluralize
from robustvit.data.read_photos import MAX_PIXELS
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    Annotations,
    BrokenEntry,
    Claims,
    PhotoFolder,
    load_json,
    photo_with_objects,
    shown,
    upright_size,
)
from robustvit.masks.annotations.outlines import Frame, mask_tools, outline_points

_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class _Image:
    path: Path
    height: int
    width: int


def read_coco(source: Path, images: Path | None) -> Annotations:
    """List the photos that a COCO file names, with their objects; masks as ``read_annotations`` describes."""
    mask_tools()
    content = _load(source)
    folder = PhotoFolder(images)
    problems: list[str] = []
    names = _categories(content["categories"], problems)
    listed = _images(content["images"], folder, problems)
    by_image = _annotations(content["annotations"], listed, names, problems)
    photos = [
        photo_with_objects(image.path, partial(_decode, image, entries, names), problems)
        for key, entries in by_image.items()
        if (image := listed[key]) is not None
    ]
    if empty := sum(image is not None and key not in by_image for key, image in listed.items()):
        problems.append(f"{pluralize(empty, 'photo')} of {source} without a usable annotation")
    return Annotations(sorted(photos, key=lambda photo: photo.image), problems, tuple(dict.fromkeys(names.values())))


def _load(source: Path) -> dict[str, list]:
    content = load_json(source)
    found = "a list of results" if isinstance(content, list) else "something else"
    if isinstance(content, dict):
        lacking = [key for key in _KEYS if not isinstance(content.get(key), list)]
        if not lacking:
            return content
        found = f"no list of {' or '.join(lacking)}"
        if "shapes" in content:
            found = "a LabelMe file (read it as labelme)"
        elif "names" in content or "train" in content:
            found = "what may be the settings of a YOLO data set (read its folder as yolo)"
    raise UserError(f"expected COCO with the lists {', '.join(_KEYS)} in {source}, found {found}: check the format")


def _is_id(value: object) -> TypeGuard[int | str]:
    return type(value) in (int, str)


def _categories(entries: list, problems: list[str]) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for number, entry in enumerate(entries):
        key, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if not _is_id(key) or not isinstance(name, str) or not name:
            problems.append(f"category number {number}: expected an id and a name; left out")
        elif key in names:
            problems.append(f"category id {shown(key)} is listed twice: {shown(names[key])} holds")
        else:
            names[key] = name
    return names


def _images(entries: list, folder: PhotoFolder, problems: list[str]) -> dict[int | str, _Image | None]:
    """The listed images by id; None for unusable ones, whose annotations are silently ignored."""
    images: dict[int | str, _Image | None] = {}
    claims = Claims()
    for number, entry in enumerate(entries):
        key = entry.get("id") if isinstance(entry, dict) else None
        if not _is_id(key):
            problems.append(f"image number {number}: expected an id, found {shown(key)}; left out")
        elif key in images:
            problems.append(f"image id {shown(key)} is listed twice: the first one holds")
        else:
            images[key] = None
            try:
                image = _image(entry, folder)
                claims.take(image.path, f"image id {shown(key)}")
                images[key] = image
            except (BrokenEntry, UserError) as error:
                problems.append(f"image id {shown(key)}: {error}")
    return images


def _image(entry: dict, folder: PhotoFolder) -> _Image:
    name, height, width = entry.get("file_name"), entry.get("height"), entry.get("width")
    if not isinstance(name, str) or not name:
        raise BrokenEntry(f"expected a file_name, found {shown(name)}")
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        raise BrokenEntry(f"expected height and width of {shown(name)} above 0, got {shown(height)} and {shown(width)}")
    if height * width > MAX_PIXELS:
        raise BrokenEntry(f"{shown(name)} of {shown(height)} x {shown(width)} pixels is too large to be read")
    path = folder.named(name)
    real = upright_size(path)
    if real != (height, width):
        turned = "; its EXIF tag may turn it" if real == (width, height) else ""
        raise BrokenEntry(
            f"{path} has {real[0]} x {real[1]} pixels (height x width), the annotation says {height} x {width}{turned}"
        )
    return _Image(path, height, width)


def _annotations(
    entries: list, images: dict[int | str, _Image | None], names: dict[int | str, str], problems: list[str]
) -> dict[int | str, list[dict]]:
    by_image: dict[int | str, list[dict]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.append(f"annotation number {number}: expected an object, found {shown(entry)}; left out")
            continue
        key, category, where = entry.get("image_id"), entry.get("category_id"), _where(entry)
        if not _is_id(key) or key not in images:
            problems.append(f"{where}: unknown image id {shown(key)}; left out")
        elif not _is_id(category) or category not in names:
            problems.append(f"{where} of image id {shown(key)}: unknown category id {shown(category)}; left out")
        elif (image := images[key]) is None:
            continue
        elif not entry.get("segmentation"):
            problems.append(f"{image.path}: {where}: empty segmentation, perhaps only a box; left out")
        else:
            by_image[key].append(entry)
    return dict(by_image)


def _where(entry: dict) -> str:
    return f"annotation {shown(entry.get('id'))}"


def _decode(
    image: _Image, entries: list[dict], names: dict[int | str, str], complaints: list[str]
) -> list[AnnotatedObject]:
    frame = Frame(image.height, image.width)
    objects = []
    for entry in entries:
        where = f"{image.path}: {_where(entry)}"
        try:
            mask = _mask(entry["segmentation"], frame, where, complaints)
        except BrokenEntry as error:
            complaints.append(f"{where}: {error}; left out")
        else:
            objects.append(AnnotatedObject(names[entry["category_id"]], mask))
    if complaint := frame.complaint():
        complaints.append(f"{image.path}: {complaint}")
    return objects


def _mask(segmentation: object, frame: Frame, where: str, complaints: list[str]) -> np.ndarray:
    if isinstance(segmentation, dict):
        return decode_run_lengths(segmentation, frame.height, frame.width)
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise BrokenEntry("a segmentation that is neither a list of polygons nor run lengths")
    outlines, broken = [], []
    for polygon in segmentation:
        try:
            outlines.append(outline_points(polygon))
        except BrokenEntry as error:
            broken.append(error)
    if not outlines:
        raise broken[0]
    complaints.extend(f"{where}: {error}; this part is left out" for error in broken)
    return frame.fill(outlines)


_MOST_BITS = 35  # seven characters; a count in a photo of a size that is read at all has 28 bits


def decode_run_lengths(segmentation: dict, height: int, width: int) -> np.ndarray:
    """Decode ``{"size": [height, width], "counts": ...}``, where counts run down the columns, background first.

    The counts are checked here before anything is decoded: pycocotools reads beyond the end of broken ones.

    Returns:
        float32 ``(height, width)``, 0 or 1.

    Raises:
        BrokenEntry: a size that is not the photo's, counts that do not fill it, or no pixel on the object.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        given = " x ".join(map(shown, size)) if isinstance(size, list) and len(size) == 2 else shown(size)
        raise BrokenEntry(f"run lengths of size {given} (height x width), the photo has {height} x {width}")
    if isinstance(counts, str):
        counts = _unpack(counts)
    if not isinstance(counts, list) or not set(map(type, counts)) <= {int}:
        raise BrokenEntry("run lengths that are neither a list of whole numbers nor text")
    if min(counts, default=0) < 0:
        raise BrokenEntry("run lengths with a negative count: they are broken")
    if sum(counts) != height * width:
        raise BrokenEntry(f"run lengths that sum to {shown(sum(counts))}, not to {height} x {width} = {height * width}")
    values = (np.arange(len(counts)) % 2).astype(np.float32)
    mask = np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)
    if not mask.any():
        raise BrokenEntry("run lengths that cover no pixel of the photo")
    return mask


def _unpack(text: str) -> list[int]:
    """Counts from text: five bits a character, low ones first, from the fourth on as difference to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= _MOST_BITS:
            raise BrokenEntry("run lengths in text that is not packed as COCO does: they are broken")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise BrokenEntry("run lengths in text that is cut off")
    return counts
