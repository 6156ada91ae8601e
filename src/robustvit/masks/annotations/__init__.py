"""Readers of annotations: objects marked in photos with other tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.options import Orientation
from robustvit.data.matching import compose
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.category_names import is_no_object
from robustvit.masks.annotations.coco import read_coco
from robustvit.masks.annotations.image_masks import read_class_masks, read_plain_masks
from robustvit.masks.annotations.labelme import read_labelme
from robustvit.masks.annotations.listing import AnnotatedObject, AnnotatedPhoto, Annotations, settle_views
from robustvit.masks.annotations.megadetector import read_megadetector
from robustvit.masks.annotations.voc_xml import read_voc, read_voc_xml
from robustvit.masks.annotations.yolo import read_yolo

__all__ = ["FORMATS", "AnnotatedObject", "AnnotatedPhoto", "Annotations", "BoxReading", "read_annotations"]

FORMATS: dict[str, Callable[[Path, Path | None, Orientation | None], Annotations]] = {
    "coco": read_coco,
    "yolo": read_yolo,
    "labelme": read_labelme,
    "imagenet-s": partial(read_class_masks, coding="imagenet-s"),
    "voc": read_voc,
    "voc-xml": read_voc_xml,
    "megadetector": read_megadetector,
    "grey": partial(read_plain_masks, kind="auto"),
    "soft": read_plain_masks,
    "binary": partial(read_plain_masks, kind="binary"),
    "inverted": partial(read_plain_masks, kind="inverted"),
    "trimap": partial(read_plain_masks, kind="trimap"),
}


def read_annotations(
    format: str,
    source: str | Path,
    images: str | Path | None,
    orientation: Orientation | None = None,
    *,
    boxes: BoxReading | None = None,
) -> Annotations:
    """List the photos of an annotated data set, with a way to read the objects of each.

    Masks come as float32 ``(H, W)`` in [0, 1], in the upright size of the photo. Objects of the background and of what
    is to be ignored are left out. ``problems`` lists what is wrong; ``read`` of a photo adds, the first time, what
    cannot be decoded, leaves such objects out, and raises UserError if none is left. It returns an empty list if the
    annotation says that there is no object.

    Args:
        format: one of ``FORMATS``.
        source: the JSON file (coco, labelme), the folder of label files or masks, or the YAML file of a YOLO data set.
        images: the folder of the photos; may be None for labelme, and for a YOLO data set that holds them.
        orientation: whether photos with an EXIF orientation were annotated ``upright`` or as ``stored``; None says so
            only where their size shows it.
        boxes: how boxes become masks; by default, ellipses.

    Raises:
        UserError: a file that cannot be read, or boxes in doubt, with the option to name.
    """
    expect_one_of("the annotation format", format, FORMATS)
    boxes = boxes or BoxReading()
    found = FORMATS[format](Path(source), None if images is None else Path(images), orientation)
    for answer, question in found.doubts.items():
        if not getattr(boxes, answer):
            raise UserError(question)
    boxes.usual_confidence = found.min_confidence
    settled = settle_views(found)
    return replace(
        settled,
        photos=[replace(photo, read=partial(photo.read, boxes=boxes)) for photo in settled],
        categories=tuple(compose(name) for name in found.categories if not is_no_object(name)),
    )
