"""COCO: one JSON file with images, annotations and categories; outlines as polygons or run lengths, or boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.coco_images import CocoImage, find_images, name_image
from robustvit.masks.annotations.files import load_json
from robustvit.masks.annotations.kept_verdicts import doubt_of
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedBox, MarkedPhoto
from robustvit.masks.annotations.other_formats import name_format
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import draw_segmentation
from robustvit.masks.annotations.values import Id, IdTable, as_dict, as_id, expect_box, whole_number

_OF_PART = "_annotations.coco.json"
_BOX = ("bbox", "score", "iscrowd")
_Names = dict[Id, str | None]


def read_coco(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos that a COCO file names, with their objects; masks as ``read_annotations`` describes.

    Without categories there is one class without a name. Ids may be numbers or texts, images may lack their sizes. Of a
    folder as Roboflow writes it, the files ``_annotations.coco.json`` of all parts are read, each with the photos
    beside it; of another, the only JSON file, with the photos in its folder ``images``.
    """
    listing = PhotoListing(source, orientation)
    if not source.is_dir():
        return listing.finish(images, _read_file(source, PhotoFolder(images), listing))
    files = list(files_below(source, {".json"}).values())
    paths = [path for path in files if path.name == _OF_PART]
    if len(files) == 1 and not paths:
        folder = PhotoFolder.find(images, source / "images", source)
        return listing.finish(folder.folder, _read_file(files[0], folder, listing))
    if not paths:
        load_json(source)  # which refuses a folder, and names a file in it
    if len(paths) > 1:
        names = [path.parent.name for path in paths]
        one = paths[names.index("train") if "train" in names else 0].parent
        listing.problems.append(f"{source}: all of {', '.join(names)} are read; name {one} to read that part alone")
    known = [name for path in paths for name in _read_file(path, PhotoFolder(images or path.parent), listing)]
    return listing.finish(images or source, known)


def _read_file(source: Path, folder: PhotoFolder, listing: PhotoListing) -> list[str]:
    """Add the photos of a file; return the names of its categories."""
    content = _load(source)
    names = _categories(content["categories"], listing.problems)
    images = find_images(content["images"], folder, listing.problems)
    by_image = _annotations(content["annotations"], images, names, listing.problems)
    usable = {key: image for key, image in images.items() if image is not None}
    marked = {key: _photo(image, by_image[key], names) for key, image in usable.items()}
    listing.add(marked, {key: image.path for key, image in usable.items()}, name_image)
    return [name for name in names.values() if name is not None]


def _load(source: Path) -> dict[str, list]:
    content = load_json(source)
    found = {"categories": [], **as_dict(content)}
    lacking = [key for key in ("images", "annotations", "categories") if not isinstance(found.get(key), list)]
    other = name_format(content)
    if isinstance(content, dict) and not lacking and not other:
        return found
    other = other or (f"no list of {' or '.join(lacking)}" if isinstance(content, dict) else "something else")
    raise UserError(
        f"expected COCO with the lists images, annotations, categories in {source}, found {other}: check the format"
    )


def _categories(entries: list, problems: list[str]) -> _Names:
    """Return names by id; None for an id of several names. Without names, all objects are of one class."""
    names: _Names = {}
    for number, entry in enumerate(entries):
        key, name = as_id(as_dict(entry).get("id")), as_dict(entry).get("name")
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
    """Return the usable annotations by image, each with the id of its category."""
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


def _photo(image: CocoImage, entries: list[tuple[Id | None, dict]], names: _Names) -> MarkedPhoto:
    marked = [(None if category is None else names.get(category), entry) for category, entry in entries]

    def content() -> str:
        return json.dumps(
            [(name, entry.get("segmentation") or {key: entry.get(key) for key in _BOX}) for name, entry in marked]
        )

    doubt = next((reason for _, entry in marked if (reason := doubt_of(entry))), "")
    return MarkedPhoto(str(image.path), image.size, [_area(name, entry) for name, entry in marked], content, doubt)


def _area(name: str | None, entry: dict) -> MarkedArea | MarkedBox:
    where, score = _where(entry), entry.get("score")
    if entry.get("segmentation"):
        return MarkedArea(name, partial(draw_segmentation, entry["segmentation"]), where, score)
    read, crowd = partial(expect_box, entry["bbox"], sides=True), whole_number(entry.get("iscrowd")) == 1
    return MarkedBox(name, read, where, score, sides=True, crowd=crowd)
