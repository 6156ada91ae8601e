"""Pascal VOC: an XML file for each photo, with a box, or an outline, for each object."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.boxes import doubt_units
from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.image_masks import LOSSLESS, read_class_masks
from robustvit.masks.annotations.listing import (
    AnnotatedObject,
    AnnotatedPhoto,
    Annotations,
    BoxedObject,
    MarkedObject,
    PhotoFolder,
    photo_with_objects,
)
from robustvit.masks.annotations.objects import Corners
from robustvit.masks.annotations.orientation import View, view_photo
from robustvit.masks.annotations.outlines import Frame, as_rectangle, outline_points
from robustvit.masks.annotations.xml_files import read_xml


def read_voc(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List photos with VOC's class masks, see ``read_class_masks``; where there are XML files alone, with those."""
    boxes = source.suffix.lower() == ".xml" or (source.is_dir() and bool(files_below(source, {".xml"})))
    if (source / "SegmentationClass").is_dir():
        return read_class_masks(source, images, orientation, coding="voc")
    if boxes and source.is_dir() and files_below(source, LOSSLESS):
        raise UserError(
            f"found images and XML files in {source}: say --from voc-xml to read the XML files, or name the folder of "
            "the class masks alone"
        )
    if boxes:
        return read_voc_xml(source, images, orientation)
    return read_class_masks(source, images, orientation, coding="voc")


def read_voc_xml(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of VOC's XML files; masks as ``read_annotations`` describes.

    ``source`` is an XML file or a folder of them. The photo of a file has its name, or is the one that ``filename`` in
    it names; photos are looked up in ``images``, else in the folder ``JPEGImages`` beside ``source``, else in
    ``source``. Pixels count from 1. A file without an object means that there is none.
    """
    problems: list[str] = []
    files = _read_files(source, problems)
    folder = PhotoFolder(images or _photos(source))
    found = _find_photos(source, files, folder, problems)
    folder.report_lacking(found, "an XML file", problems)
    photos: list[AnnotatedPhoto] = []
    for path, image in found.items():
        try:
            view = view_photo(image, _size(files[path]), orientation)
        except (BrokenEntry, UserError) as error:
            problems.append(f"{path}: {error}; left out")
            continue
        decode, content = partial(_decode, path, view, files[path]), partial(_content, files[path])
        photos.append(photo_with_objects(image, decode, problems, view, content))
    objects = [one for root in files.values() for one in root.iterfind("object")]
    names = sorted({name for one in objects if (name := _text(one, "name"))})
    doubt = doubt_units(list(filter(None, map(_known_box, objects))), "pixels", source)
    photos.sort(key=lambda photo: photo.image)
    doubts = {"units": doubt} if doubt else {}
    return Annotations(photos, problems, tuple(names), root=folder.folder, doubts=doubts)


def _photos(source: Path) -> Path:
    folder = source if source.is_dir() else source.parent
    beside = [folder / "JPEGImages", folder.parent / "JPEGImages"]
    return next((place for place in beside if place.is_dir()), folder)


def _read_files(source: Path, problems: list[str]) -> dict[Path, Element]:
    """Root elements of the XML files; those that are something else become problem lines."""
    if not source.exists():
        raise UserError(f"expected VOC's XML files at {source}, found nothing: check the path")
    paths = list(files_below(source, {".xml"}).values()) if source.is_dir() else [source]
    if not paths:
        raise UserError(f"expected XML files in {source}, found none: check the path and the format")
    found = {}
    for path in paths:
        try:
            root = read_xml(path)
        except UserError as error:
            problems.append(f"{error}; left out")
            continue
        if root.tag == "annotation":
            found[path] = root
        else:
            problems.append(f"{path}: expected VOC's XML with an <annotation>, found <{root.tag:.40}>; left out")
    return found


def _find_photos(
    source: Path, files: dict[Path, Element], folder: PhotoFolder, problems: list[str]
) -> dict[Path, Path]:
    """The photo with the name of each file, else the one that the file names."""
    root = source if source.is_dir() else source.parent
    stems = {path: path.relative_to(root).with_suffix("").as_posix() for path in files}
    lost: list[str] = []
    found = folder.match(stems, lost, stem_only=True)
    named = {path: name for path in files if path not in found and (name := _text(files[path], "filename"))}
    if not named:
        problems.extend(lost)
        return found
    taken = set(found.values())
    others = folder.match(named, problems)
    problems.extend(
        f"{path}: no photo of its name; left out" for path in files if path not in found and path not in named
    )
    for path, image in others.items():
        if image in taken:
            problems.append(f"{path}: it names {image}, which another XML file describes; left out")
    return found | {path: image for path, image in others.items() if image not in taken}


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _size(root: Element) -> tuple[int, int] | None:
    """Height and width; None where the tool wrote none, or 0."""
    given = [_text(root, f"size/{side}") for side in ("height", "width")]
    if not all(side.isdecimal() and len(side) < 10 and int(side) for side in given):
        return None
    return int(given[0]), int(given[1])


def _content(root: Element) -> str:
    return tostring(root, encoding="unicode")


def _decode(path: Path, view: View, root: Element, complaints: list[str]) -> list[MarkedObject]:
    frame = Frame(*view.size)
    found: list[MarkedObject] = []
    for number, element in enumerate(root.iterfind("object"), 1):
        name = _text(element, "name") or None
        where = f"{path}: object {number} ({shown(name)})"
        try:
            if (outline := element.find("polygon")) is not None and len(outline):
                points = _outline(outline)
                found.append(AnnotatedObject(name, frame.fill([points]), as_rectangle(points)))
            else:
                found.append(BoxedObject(name, _box(element), where))
        except BrokenEntry as error:
            complaints.append(f"{where}: {error}; left out")
    if complaint := frame.complaint():
        complaints.append(f"{path}: {complaint}")
    return found


def _outline(element: Element) -> np.ndarray:
    """Points of an outline, stored as x1, y1, x2, y2, ... or as a list of pt with x and y."""
    if points := element.findall("pt"):
        return outline_points([_number(point, side) for point in points for side in ("x", "y")])
    numbers: list[float] = []
    while element.find(f"x{len(numbers) // 2 + 1}") is not None:
        number = len(numbers) // 2 + 1
        numbers += [_number(element, f"x{number}"), _number(element, f"y{number}")]
    return outline_points(numbers)


def _box(element: Element) -> Corners:
    """Corners of the box: the first pixel has the number 1, and the last belongs to the object."""
    box = element.find("bndbox")
    if box is None:
        raise BrokenEntry("expected a bndbox, found none")
    left, top, right, bottom = (_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
    if right <= left or bottom <= top:
        raise BrokenEntry(f"a box from {left:g}, {top:g} to {right:g}, {bottom:g}")
    if max(right, bottom) <= 1:  # shares, or there is no pixel
        return left, top, right, bottom
    return left - 1, top - 1, right, bottom


def _known_box(element: Element) -> Corners | None:
    try:
        return _box(element)
    except BrokenEntry:
        return None


def _number(element: Element, name: str) -> float:
    text = _text(element, name)
    try:
        return float(text)
    except ValueError as error:
        raise BrokenEntry(f"expected a number as {name}, found {shown(text)}") from error
