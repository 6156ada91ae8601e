"""Readers of annotations: objects marked in photos with other tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.files import is_archive
from robustvit.common.options import Orientation
from robustvit.data.matching import compose
from robustvit.masks.annotations.annotated import Annotations, settle_views
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.category_names import is_no_object
from robustvit.masks.annotations.coco import read_coco
from robustvit.masks.annotations.csv_boxes import read_csv_boxes
from robustvit.masks.annotations.cvat import read_cvat
from robustvit.masks.annotations.datumaro import read_datumaro
from robustvit.masks.annotations.detect import detect_format
from robustvit.masks.annotations.fiftyone import read_fiftyone
from robustvit.masks.annotations.image_folder import read_image_folder
from robustvit.masks.annotations.image_masks import read_class_masks, read_plain_masks
from robustvit.masks.annotations.kaggle import read_kaggle
from robustvit.masks.annotations.label_studio import read_label_studio
from robustvit.masks.annotations.labelme import read_labelme
from robustvit.masks.annotations.megadetector import read_megadetector
from robustvit.masks.annotations.sa1b import read_sa1b
from robustvit.masks.annotations.supervisely import read_supervisely
from robustvit.masks.annotations.voc_xml import read_voc, read_voc_xml
from robustvit.masks.annotations.yolo import read_yolo

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
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "supervisely": read_supervisely,
    "sa-1b": read_sa1b,
    "imagefolder": read_image_folder,
    "kaggle": read_kaggle,
    "kaggle-rows": partial(read_kaggle, by_rows=True),
    "fiftyone": read_fiftyone,
    "datumaro": read_datumaro,
    "csv-boxes": read_csv_boxes,
}
_WITH_SEVERAL: dict[str, Callable[..., Annotations]] = {"label-studio": read_label_studio, "fiftyone": read_fiftyone}


def read_annotations(
    format: str,
    source: str | Path,
    images: str | Path | None,
    orientation: Orientation | None = None,
    which: str | None = None,
    *,
    boxes: BoxReading | None = None,
) -> Annotations:
    """List the photos of an annotated data set, with a way to read the objects of each.

    Masks come as float32 ``(H, W)`` in [0, 1], in the upright size of the photo, without background objects and objects
    to be ignored. ``problems`` lists errors in the annotations. The first ``read`` of a photo adds the objects that
    cannot be decoded, which are left out; it raises UserError if none is left, and returns an empty list if the
    annotation says that there is no object.

    Args:
        format: one of ``FORMATS``, or ``auto`` to tell it from the files.
        source: the file or folder of the annotations, as ``docs/reference/mask-files.md`` lists for each format.
        images: the folder of the photos; may be None where the format says where they are.
        orientation: whether photos with an EXIF orientation were annotated ``upright`` or as ``stored``; None decides
            by the sizes in the annotation, where they show it.
        which: which of several annotations of a photo to use: ``newest`` (label-studio), or the name of a field
            (fiftyone).
        boxes: how boxes become masks; by default, ellipses.
    """
    form = resolve_format(format, source)
    place, folder = Path(source), None if images is None else Path(images)
    if which is None:
        found = FORMATS[form](place, folder, orientation)
    elif form in _WITH_SEVERAL:
        found = _WITH_SEVERAL[form](place, folder, orientation, which=which)
    else:
        raise UserError(f"--which belongs to {' and '.join(_WITH_SEVERAL)}, got it with {form}: leave it out")
    boxes = boxes or BoxReading()
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


def resolve_format(format: str, source: str | Path) -> str:
    """Return the name of a format; for ``auto``, of the format that the files have."""
    expect_one_of("the annotation format", format, [*FORMATS, "auto"])
    if is_archive(source):
        raise UserError(f"expected annotations, got the archive {source}: unpack it, and name the folder or file in it")
    return detect_format(source) if format == "auto" else format
