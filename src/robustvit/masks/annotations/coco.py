"""COCO: one JSON file with images, annotations and categories; outlines as polygons or run lengths, or boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import pluralize, shown
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.boxes import as_confidence, corners_of, doubt_corners, doubt_units
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.coco_images import CocoImage, find_images
from robustvit.masks.annotations.ids import Id, IdTable, as_id, whole_number
from robustvit.masks.annotations.kept_verdicts import doubt_of
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    AnnotatedPhoto,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    load_json,
    photo_with_objects,
)
from robustvit.masks.annotations.other_formats import name_format
from robustvit.masks.annotations.outlines import Frame, mask_tools
from robustvit.masks.annotations.segmentation import segmentation_mask, upright_rectangle

_OF_PART = "_annotations.coco.json"
_BOX = ("bbox", "score", "iscrowd")
_Names = dict[Id, str | None]


def read_coco(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos that a COCO file names, with their objects; masks as ``read_annotations`` describes.

    Without categories there is one class without a name. Ids may be numbers or texts, images may lack their sizes. Of a
    folder as Roboflow writes it, the files ``_annotations.coco.json`` of all parts are read, each with the photos
    beside it; of another, the only JSON file, with the photos in its folder ``images``.
    """
    mask_tools()
    problems: list[str] = []
    if not source.is_dir():
        return _read_file(source, images, orientation, problems)
    files = list(files_below(source, {".json"}).values())
    paths = [path for path in files if path.name == _OF_PART]
    if len(files) == 1 and not paths:
        inner = source / "images"
        return _read_file(files[0], images or (inner if inner.is_dir() else source), orientation, problems)
    if not paths:
        load_json(source)  # which refuses a folder, and names a file in it
    parts = [_read_file(path, images or path.parent, orientation, problems) for path in paths]
    if len(paths) > 1:
        names = [path.parent.name for path in paths]
        one = paths[names.index("train") if "train" in names else 0].parent
        problems.append(f"{source}: all of {', '.join(names)} are read; name {one} to read that part alone")
    photos = sorted((photo for part in parts for photo in part), key=lambda photo: photo.image)
    known = tuple(dict.fromkeys(name for part in parts for name in part.categories))
    return Annotations(photos, problems, known, root=images or source)


def _read_file(source: Path, images: Path | None, orientation: Orientation | None, problems: list[str]) -> Annotations:
    content = _load(source)
    folder = PhotoFolder(images)
    names = _categories(content["categories"], problems)
    listed = find_images(content["images"], folder, orientation, problems)
    by_image = _annotations(content["annotations"], listed, names, problems)
    photos = [_photo(image, by_image[key], names, problems) for key, image in listed.items() if image and by_image[key]]
    if empty := [image.path for key, image in listed.items() if image is not None and not by_image[key]]:
        first = f"the first is {empty[0]}"
        problems.append(f"{pluralize(len(empty), 'photo')} of {source} without a usable annotation, {first}")
    known = [name for name in names.values() if name is not None]
    photos.sort(key=lambda photo: photo.image)
    categories = tuple(dict.fromkeys(known))
    return Annotations(photos, problems, categories, root=images, doubts=_doubts(by_image, listed, source))


def _load(source: Path) -> dict[str, list]:
    content = load_json(source)
    if isinstance(content, dict):
        found = {"categories": [], **content}
        lacking = [key for key in ("images", "annotations", "categories") if not isinstance(found.get(key), list)]
        other = name_format(content)
        if not lacking and not other:
            return found
        found_words = other or f"no list of {' or '.join(lacking)}"
    else:
        found_words = name_format(content) or "something else"
    raise UserError(
        f"expected COCO with the lists images, annotations, categories in {source}, found {found_words}: "
        "check the format"
    )


def _categories(entries: list, problems: list[str]) -> _Names:
    """Names by id; None for an id of several names. Without any, one class without a name, under no id."""
    names: _Names = {}
    for number, entry in enumerate(entries):
        key, name = (as_id(entry.get("id")), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if key is None or not isinstance(name, str) or not name:
            problems.append(f"category number {number}: expected an id and a name; left out")
        elif names.setdefault(key, name) != name:
            problems.append(
                f"category id {shown(key)} is listed twice, as {shown(names[key])} and {shown(name)}: left out"
            )
            names[key] = None
    if not entries:
        problems.append("no categories in the file: all objects are of one class, a photo has the class of its folder")
    return names


def _annotations(
    entries: list, images: dict[Id, CocoImage | None], names: _Names, problems: list[str]
) -> dict[Id, list[tuple[Id | None, dict]]]:
    """Usable annotations by image, each with the id of its category."""
    image_ids, category_ids = IdTable(images), IdTable(names)
    only = next(iter(names)) if len(names) == 1 else None
    by_image: dict[Id, list[tuple[Id | None, dict]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.append(f"annotation number {number}: expected an object, found {shown(entry)}; left out")
            continue
        key, given, where = image_ids.find(entry.get("image_id")), entry.get("category_id"), _where(entry)
        category = only if given is None else category_ids.find(given)
        if key is None or key not in images:
            problems.append(f"{where}: unknown image id {shown(entry.get('image_id'))}; left out")
        elif names and category not in names:
            problems.append(f"{where} of image id {shown(key)}: unknown category id {shown(given)}; left out")
        elif (image := images[key]) is None:
            continue
        elif category is not None and names.get(category, "") is None:
            problems.append(f"{image.path}: {where}: category id {shown(given)} has several names; left out")
        elif not entry.get("segmentation") and not entry.get("bbox"):
            problems.append(f"{image.path}: {where}: empty segmentation and no box; left out")
        else:
            by_image[key].append((category, entry))
    return by_image


def _where(entry: dict) -> str:
    return f"annotation {shown(entry.get('id'))}"


def _photo(
    image: CocoImage, entries: list[tuple[Id | None, dict]], names: _Names, problems: list[str]
) -> AnnotatedPhoto:
    marked = [(None if category is None else names.get(category), entry) for category, entry in entries]

    def content() -> str:
        return json.dumps(
            [(name, entry.get("segmentation") or {key: entry.get(key) for key in _BOX}) for name, entry in marked]
        )

    doubt = next((reason for _, entry in marked if (reason := doubt_of(entry))), "")
    return photo_with_objects(image.path, partial(_decode, image, marked), problems, image.view, content, doubt)


def _decode(image: CocoImage, entries: list[tuple[str | None, dict]], complaints: list[str]) -> list[MarkedObject]:
    frame = Frame(*image.view.size)
    objects: list[MarkedObject] = []
    for name, entry in entries:
        where = f"{image.path}: {_where(entry)}"
        try:
            if entry.get("segmentation"):
                objects.append(_outlined(name, entry, frame, where, complaints))
            else:
                objects.append(_boxed(name, entry, where))
        except BrokenEntry as error:
            complaints.append(f"{where}: {error}; left out")
    if complaint := frame.complaint():
        complaints.append(f"{image.path}: {complaint}")
    return objects


def _outlined(name: str | None, entry: dict, frame: Frame, where: str, complaints: list[str]) -> AnnotatedObject:
    mask, broken = segmentation_mask(entry["segmentation"], frame)
    complaints.extend(f"{where}: {line}" for line in broken)
    return AnnotatedObject(name, mask, upright_rectangle(entry["segmentation"]), as_confidence(entry.get("score")))


def _boxed(name: str | None, entry: dict, where: str) -> BoxedObject:
    corners = corners_of(entry["bbox"], sides=True)
    crowd = whole_number(entry.get("iscrowd")) == 1
    return BoxedObject(name, corners, where, "pixels", as_confidence(entry.get("score")), crowd)


def _doubts(
    by_image: dict[Id, list[tuple[Id | None, dict]]], images: dict[Id, CocoImage | None], source: Path
) -> dict[str, str]:
    boxes, framed = [], []
    for key, entries in by_image.items():
        for _, entry in entries:
            if not entry.get("segmentation") and (image := images[key]) is not None:
                with suppress(BrokenEntry):
                    boxes.append(corners_of(entry["bbox"], sides=True))
                    framed.append((entry["bbox"], image.view.size))
    doubt = doubt_units(boxes, "pixels", source) or doubt_corners(framed, source)
    return {"units": doubt} if doubt else {}
