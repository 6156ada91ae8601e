"""Names of JSON formats that are not the one expected, with the way to read them."""

from __future__ import annotations

from itertools import islice

from robustvit.masks.annotations.values import as_list, holds

_LOOKED_AT = 100  # entries of a long list
# The types of the values that an object of each format has under some names.
_OBJECTS: tuple[tuple[dict[str, type], str], ...] = (
    ({"shapes": object}, "a LabelMe file (read it as labelme)"),
    (
        {"image": dict, "annotations": list},
        "a file of SA-1B, which has one for each photo and no classes (read it as sa-1b)",
    ),
    ({"detection_categories": object}, "results of MegaDetector (read them as megadetector)"),
    ({"objects": list, "size": object}, "a file of Supervisely (read it as supervisely)"),
    ({"items": list, "categories": dict}, "a file of Datumaro (read it as datumaro)"),
    ({"item": dict, "annotations": list}, "a file of Darwin, of V7 (export the set as COCO)"),
    ({"instances": list, "metadata": dict}, "a file of SuperAnnotate (export the set as COCO)"),
    ({"data_row": object}, "an export of Labelbox (convert it to COCO)"),
    ({"samples": list}, "a file of FiftyOne (read it as fiftyone)"),
)


def name_format(content: object) -> str:
    """Return what a JSON value is, if it is another format than COCO's, with what to do; else an empty text."""
    if isinstance(content, list):
        return _name_list(content)
    if not isinstance(content, dict):
        return ""
    if _any_has(content.get("annotations"), "segments_info"):
        return (
            "panoptic COCO, whose masks are PNG files of segment ids (convert it to COCO's detection format, with "
            "panoptic2detection_coco_format.py of panopticapi)"
        )
    if "_via_img_metadata" in content or _any_has(list(islice(content.values(), _LOOKED_AT)), "regions"):
        return "a project of the VGG Image Annotator (export its annotations as COCO)"
    if named := next((words for kinds, words in _OBJECTS if holds(content, **kinds)), ""):
        return named
    settings = "images" not in content and ("names" in content or "train" in content)
    return "what may be the settings of a YOLO data set (read its folder as yolo)" if settings else ""


def _name_list(entries: list) -> str:
    if _any_has(entries, "data") and (_any_has(entries, "annotations") or _any_has(entries, "completions")):
        return "a JSON export of Label Studio (read it as label-studio)"
    if _any_has(entries, "image") and _any_has(entries, "annotations"):
        return "CreateML's JSON (export the set as COCO)"
    if _any_has(entries, "labels") and _any_has(entries, "name"):
        return "labels of BDD100K or Scalabel (convert them to COCO)"
    if _any_has(entries, "detections"):
        return "results of MegaDetector (read them as megadetector)"
    return "a list of results, not of annotations (make it the annotations of a file with images and categories)"


def _any_has(entries: object, name: str) -> bool:
    return any(holds(one, **{name: object}) for one in as_list(entries)[:_LOOKED_AT])
