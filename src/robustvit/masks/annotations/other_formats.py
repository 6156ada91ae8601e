"""Names of JSON formats that are not the one expected, with the way to read them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

_LOOKED_AT = 100  # entries of a long list


def name_format(content: object) -> str:
    """Return what a JSON value is, if it is another format than COCO's, with what to do; else an empty text."""
    if isinstance(content, list):
        return _name_list(content)
    if not isinstance(content, dict):
        return ""
    return next((words for fits, words in _OBJECTS if fits(content)), "")


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


def _any_has(entries: object, key: str) -> bool:
    return isinstance(entries, list) and any(isinstance(one, dict) and key in one for one in entries[:_LOOKED_AT])


def _is_via(content: dict) -> bool:
    return "_via_img_metadata" in content or _any_has(list(islice(content.values(), _LOOKED_AT)), "regions")


_OBJECTS: tuple[tuple[Callable[[dict], bool], str], ...] = (
    (lambda content: "shapes" in content, "a LabelMe file (read it as labelme)"),
    (
        lambda content: _any_has(content.get("annotations"), "segments_info"),
        "panoptic COCO, whose masks are PNG files of segment ids (convert it to COCO's detection format, with "
        "panoptic2detection_coco_format.py of panopticapi)",
    ),
    (
        lambda content: isinstance(content.get("image"), dict) and isinstance(content.get("annotations"), list),
        "a file of SA-1B, which has one for each photo and no classes (read it as sa-1b)",
    ),
    (lambda content: "detection_categories" in content, "results of MegaDetector (read them as megadetector)"),
    (_is_via, "a project of the VGG Image Annotator (export its annotations as COCO)"),
    (
        lambda content: isinstance(content.get("objects"), list) and "size" in content,
        "a file of Supervisely (read it as supervisely)",
    ),
    (
        lambda content: isinstance(content.get("items"), list) and isinstance(content.get("categories"), dict),
        "a file of Datumaro (read it as datumaro)",
    ),
    (
        lambda content: isinstance(content.get("item"), dict) and isinstance(content.get("annotations"), list),
        "a file of Darwin, of V7 (export the set as COCO)",
    ),
    (
        lambda content: isinstance(content.get("instances"), list) and isinstance(content.get("metadata"), dict),
        "a file of SuperAnnotate (export the set as COCO)",
    ),
    (lambda content: "data_row" in content, "an export of Labelbox (convert it to COCO)"),
    (lambda content: isinstance(content.get("samples"), list), "a file of FiftyOne (read it as fiftyone)"),
    (
        lambda content: "images" not in content and ("names" in content or "train" in content),
        "what may be the settings of a YOLO data set (read its folder as yolo)",
    ),
)
