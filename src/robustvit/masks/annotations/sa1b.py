"""SA-1B, and SAM's automatic masks in its form: a JSON file for each photo, run lengths without classes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from robustvit.common.options import Orientation
from robustvit.masks.annotations.annotated import Annotations
from robustvit.masks.annotations.coco_images import entry_name
from robustvit.masks.annotations.files import read_json_files
from robustvit.masks.annotations.listing import PhotoListing
from robustvit.masks.annotations.marked import MarkedArea, MarkedPhoto
from robustvit.masks.annotations.objects import BrokenEntry
from robustvit.masks.annotations.photo_folder import PhotoFolder
from robustvit.masks.annotations.shapes import Frame, draw_whole_segmentation
from robustvit.masks.annotations.values import holds

_DOUBT = "its annotation marks several areas without names, so it is unknown which of them is the object"


def read_sa1b(source: Path, images: Path | None, orientation: Orientation | None = None) -> Annotations:
    """List the photos of SA-1B's files; masks as ``read_annotations`` describes.

    ``source`` is a folder of JSON files or one of them. Photos are looked up in ``images``, else beside the files. The
    areas have no classes and may be parts or background: all of a photo are taken together, and the mask is doubtful if
    there are several.
    """
    listing = PhotoListing(source, orientation)
    marked: dict[Path, MarkedPhoto] = {}
    for path, content in read_json_files(source, "SA-1B", "an image and annotations", is_sa1b, listing.problems):
        image, entries = content["image"], content["annotations"]
        areas = [
            MarkedArea(None, partial(_draw, entry), f"annotation {number}") for number, entry in enumerate(entries)
        ]
        name = entry_name(image) or path.stem
        size = image.get("height"), image.get("width")
        marked[path] = MarkedPhoto(name, size, areas, partial(json.dumps, entries), _DOUBT if len(areas) > 1 else "")
    folder = PhotoFolder.find(images, source if source.is_dir() else source.parent)
    listing.match(marked, folder)
    return listing.finish(folder.folder)


def is_sa1b(content: object) -> bool:
    """Whether a JSON value is SA-1B's annotation of a photo."""
    return holds(content, image=dict, annotations=list)


def _draw(entry: object, frame: Frame) -> np.ndarray:
    if not isinstance(entry, dict):
        raise BrokenEntry("expected an object with a segmentation")
    return draw_whole_segmentation(entry.get("segmentation"), frame)
