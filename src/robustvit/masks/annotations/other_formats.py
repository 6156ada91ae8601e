"""Names of JSON formats that are not the one expected, with the way to read them."""

from __future__ import annotations

from itertools import islice

_LOOKED_AT = 100  # entries of a long list


def name_format(content: object) -> str:
    """Return what a JSON value is, if it is another format than COCO's, with what to do; else an empty text."""
    if isinstance(content, list):
        return _name_list(content)
    if not isinstance(content, dict):
        return ""
    if "shapes" in content:
        return "a LabelMe file (read it as labelme)"
    if _any_has(content.get("annotations"), "segments_info"):
        return (
            "panoptic COCO, whose masks are PNG files of segment ids (convert it to COCO's detection format, with "
            "panoptic2detection_coco_format.py of panopticapi)"
        )
    if isinstance(content.get("image"), dict) and isinstance(content.get("annotations"), list):
        return "a file of SA-1B, which has one for each photo and no classes (join them into one COCO file)"
    if "_via_img_metadata" in content or _any_has(list(islice(content.values(), _LOOKED_AT)), "regions"):
        return "a project of the VGG Image Annotator (export its annotations as COCO)"
    if "detection_categories" in content:
        return "results of MegaDetector (read them as megadetector)"
    if isinstance(content.get("objects"), list) and "size" in content:
        return "a file of Supervisely (export it as COCO)"
    if "images" not in content and ("names" in content or "train" in content):
        return "what may be the settings of a YOLO data set (read its folder as yolo)"
    return ""


def _name_list(entries: list) -> str:
    if _any_has(entries, "data") and (_any_has(entries, "annotations") or _any_has(entries, "completions")):
        return "a JSON export of Label Studio (export it as COCO or YOLO)"
    if _any_has(entries, "detections"):
        return "results of MegaDetector (read them as megadetector)"
    return "a list of results, not of annotations (make it the annotations of a file with images and categories)"


def _any_has(entries: object, key: str) -> bool:
    return isinstance(entries, list) and any(isinstance(one, dict) and key in one for one in entries[:_LOOKED_AT])
