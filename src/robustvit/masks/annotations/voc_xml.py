"""Pascal VOC: an XML file for each photo, with a box, or an outline, for each object."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from robustvit.common.errors import UserError
from robustvit.common.options import Orientation
from robustvit.common.wording import shown
from robustvit.data.folder_files import files_below
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.files import read_files, read_xml
from robustvit.masks.annotations.image_masks import LOSSLESS, read_class_masks
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedBox, MarkedPhoto
from robustvit.masks.annotations.objects import Box, BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import Frame, Outline, outline_points


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
    listing = PhotoListing(source, orientation)
    files: dict[Path, Element] = {}
    for path, root in read_files(source, "VOC's", ".xml", read_xml, listing.problems):
        if root.tag == "annotation":
            files[path] = root
        else:
            line = f"expected VOC's XML with an <annotation>, found <{root.tag:.40}>; left out"
            listing.problems.append(f"{path}: {line}")
    above = source if source.is_dir() else source.parent
    folder = PhotoFolder.find(images, above / "JPEGImages", above.parent / "JPEGImages", above)
    found = _find_photos(above, files, folder, listing.problems)
    folder.report_lacking(found, "an XML file", listing.problems)
    listing.add({path: _photo(path, root) for path, root in files.items()}, found)
    return listing.finish(folder.folder)


def _find_photos(root: Path, files: dict[Path, Element], folder: PhotoFolder, problems: list[str]) -> dict[Path, Path]:
    """The photo with the name of each file in the folder ``root``, else the one that the file names."""
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


def _photo(path: Path, root: Element) -> MarkedPhoto:
    areas: list[MarkedArea | MarkedBox] = []
    for number, element in enumerate(root.iterfind("object"), 1):
        name = _text(element, "name") or None
        where = f"object {number} ({shown(name)})"
        if (outline := element.find("polygon")) is not None and len(outline):
            areas.append(MarkedArea(name, partial(_outline, outline), where))
        else:
            areas.append(MarkedBox(name, partial(_box, element), where))

    def content() -> str:
        return tostring(root, encoding="unicode")

    return MarkedPhoto(str(path), _size(root), areas, content, nothing=True, where=str(path))


def _outline(element: Element, frame: Frame) -> Outline:
    """An outline, stored as x1, y1, x2, y2, ... or as a list of pt with x and y."""
    if points := element.findall("pt"):
        return frame.outline(outline_points([_number(point, side) for point in points for side in ("x", "y")]))
    numbers: list[float] = []
    while element.find(f"x{len(numbers) // 2 + 1}") is not None:
        number = len(numbers) // 2 + 1
        numbers += [_number(element, f"x{number}"), _number(element, f"y{number}")]
    return frame.outline(outline_points(numbers))


def _box(element: Element) -> Box:
    """Corners of the box: the first pixel has the number 1, and the last belongs to the object."""
    box = element.find("bndbox")
    if box is None:
        raise BrokenEntry("expected a bndbox, found none")
    left, top, right, bottom = (_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
    if right <= left or bottom <= top:
        raise BrokenEntry(f"a box from {left:g}, {top:g} to {right:g}, {bottom:g}")
    if max(right, bottom) <= 1:  # shares, or there is no pixel
        return Box(left, top, right, bottom)
    return Box(left - 1, top - 1, right, bottom)


def _number(element: Element, name: str) -> float:
    text = _text(element, name)
    try:
        return float(text)
    except ValueError as error:
        raise BrokenEntry(f"expected a number as {name}, found {shown(text)}") from error
