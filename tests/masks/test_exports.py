"""Sets that Datumaro and FiftyOne export, and SA-1B's files: every kind of area, and what is broken by name."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.annotation_files import (
    BOX,
    FLAT,
    HEIGHT,
    WIDTH,
    blob_mask,
    box_mask,
    complaints,
    compressed,
    iou,
    only,
    save_mask,
    save_photo,
    write_json,
)
from helpers.tool_files import SHARES, datumaro, fiftyone, packed_array, sa1b
from robustvit import UserError, make_masks
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading

SHARP = BoxReading(shape="box", feather=0)


def read_datumaro(folder, *entries: dict):
    save_photo(folder / "images" / "train" / "a.png")
    write_json(datumaro(*entries), folder / "annotations" / "train.json")
    return read_annotations("datumaro", folder, None, boxes=SHARP)


def read_fiftyone(folder, which: str | None = None, **fields: dict):
    save_photo(folder / "data" / "a.png")
    write_json(fiftyone(**fields), folder / "samples.json")
    return read_annotations("fiftyone", folder, None, which=which, boxes=SHARP)


DATUMARO = {
    "polygon": ({"type": "polygon", "points": FLAT}, box_mask()),
    "mask": ({"type": "mask", "rle": compressed(blob_mask())}, blob_mask()),
    "bbox": ({"type": "bbox", "bbox": [10, 5, 20, 15]}, box_mask()),
    "turned": ({"type": "bbox", "bbox": [12.5, 2.5, 15, 20], "attributes": {"rotation": 90}}, box_mask()),
}


@pytest.mark.parametrize("name", DATUMARO)
def test_datumaro(tmp_path, name):
    entry, expected = DATUMARO[name]
    found = only(read_datumaro(tmp_path, {"label_id": 0, **entry}))
    assert found.category == "cat"
    assert iou(found.mask, expected) > 0.99


def test_datumaro_ellipse_is_given_by_its_box(tmp_path):
    found = only(read_datumaro(tmp_path, {"type": "ellipse", "points": [10, 5, 30, 20], "label_id": 0}))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    assert np.array_equal(found.mask > 0.5, ((columns - 20) / 10) ** 2 + ((rows - 12.5) / 7.5) ** 2 <= 1)


def test_datumaro_parts_hold_photos_of_the_same_name(tmp_path):
    for part in ("train", "val"):
        save_photo(tmp_path / "images" / part / "a.png")
        write_json(datumaro(), tmp_path / "annotations" / f"{part}.json")
    assert len(read_annotations("datumaro", tmp_path, None, boxes=SHARP).photos) == 2
    (photo,) = read_annotations("datumaro", tmp_path / "annotations" / "val.json", None, boxes=SHARP)
    assert photo.image.parent.name == "val"


BROKEN_DATUMARO = {
    "caption": ({"type": "caption"}, "left out: 1 caption"),
    "no box": ({"type": "bbox", "bbox": [1, 2]}, "expected four numbers"),
    "size": ({"type": "mask", "rle": {"size": [3, 3], "counts": [9]}}, "run lengths of size 3 x 3"),
    "points": ({"type": "polygon", "points": [1, 2, 3]}, "odd number"),
    "nan": ({"type": "ellipse", "points": [float("nan")] * 4}, "NaN"),
}


@pytest.mark.parametrize("name", BROKEN_DATUMARO)
def test_broken_datumaro_is_named(tmp_path, name):
    entry, words = BROKEN_DATUMARO[name]
    assert words in complaints(read_datumaro(tmp_path, entry))


def detection(**further: object) -> dict:
    box = [10 / WIDTH, 5 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]
    one = {"_cls": "Detection", "label": "cat", "bounding_box": box, **further}
    return {"_cls": "Detections", "detections": [one]}


def test_fiftyone_detections(tmp_path):
    inner = blob_mask()[:15, :20]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:20, 10:30] = inner
    found = only(read_fiftyone(tmp_path, ground_truth=detection(mask=packed_array(inner))))
    assert np.array_equal(found.mask > 0.5, expected)
    save_mask((255 * inner).astype(np.uint8), tmp_path / "fields" / "a.png")
    found = only(read_fiftyone(tmp_path, ground_truth=detection(mask_path="fields/a.png")))
    assert np.array_equal(found.mask > 0.5, expected)
    assert iou(only(read_fiftyone(tmp_path, ground_truth=detection())).mask, box_mask()) == 1
    small = np.array([[True, False], [False, True]])
    found = only(read_fiftyone(tmp_path, ground_truth=detection(mask=packed_array(small))))
    assert found.mask[5:12, 10:20].all()
    assert not found.mask[5:12, 21:30].any()


def test_fiftyone_polylines_and_segmentations(tmp_path):
    line = {"_cls": "Polyline", "label": "cat", "points": [SHARES], "closed": True, "filled": True}
    assert iou(only(read_fiftyone(tmp_path, poly=line)).mask, box_mask()) > 0.99
    opened = {**line, "closed": False, "filled": False}
    assert "1 open Polyline" in complaints(read_fiftyone(tmp_path, poly=opened))
    ids = 2 * box_mask().astype(np.uint8)
    ids[0, 0] = 7
    write_json({"info": {"mask_targets": {"seg": {"2": "dog"}}}}, tmp_path / "metadata.json")
    (photo,) = read_fiftyone(tmp_path, seg={"_cls": "Segmentation", "mask": packed_array(ids)})
    assert {one.category: one.mask.sum() for one in photo.read()} == {"dog": 300, "7": 1}


def test_fiftyone_asks_which_field(tmp_path):
    fields = {"ground_truth": detection(), "predictions": detection(label="dog")}
    with pytest.raises(UserError, match="'ground_truth', 'predictions': say --which ground_truth"):
        read_fiftyone(tmp_path, **fields)
    (photo,) = read_fiftyone(tmp_path, which="predictions", **fields)
    assert photo.read()[0].category == "dog"
    with pytest.raises(UserError, match="got 'x'"):
        read_fiftyone(tmp_path, which="x", **fields)


def test_fiftyone_boxes_of_labels_json(tmp_path):
    save_photo(tmp_path / "data" / "in" / "a.png")
    box = {"label": 1, "bounding_box": [10 / WIDTH, 5 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]}
    write_json({"classes": ["dog", "cat"], "labels": {"in/a": [box], "b": None}}, tmp_path / "labels.json")
    found = read_annotations("auto", tmp_path, None, boxes=SHARP)
    assert "no photo 'b'" in complaints(found)
    assert [one.category for one in found.photos[0].read()] == ["cat"]


BROKEN_FIFTYONE = {
    "no box": (detection(bounding_box=[1]), "a detection whose numbers are missing"),
    "outside": (detection(mask_path="../../etc/passwd"), "expected a mask below"),
    "no mask": (detection(mask_path="fields/b.png"), "found none"),
    "objects": (detection(mask=packed_array(np.zeros((2, 2, 2)))), "not a mask of height x width"),
    "rubbish": (detection(mask={"$binary": {"base64": "abcd"}}), "not NumPy's"),
    "size": ({"_cls": "Segmentation", "mask": packed_array(np.ones((3, 3), np.uint8))}, "the photo has 30 x 44"),
    "huge": (
        detection(bounding_box=[0, 0, 900, 900], mask=packed_array(np.ones((3, 3), bool))),
        "larger than the photo",
    ),
}


@pytest.mark.parametrize("name", BROKEN_FIFTYONE)
def test_broken_fiftyone_is_named(tmp_path, name):
    field, words = BROKEN_FIFTYONE[name]
    assert words in complaints(read_fiftyone(tmp_path, ground_truth=field))


def test_several_areas_without_classes_are_doubtful(tmp_path):
    other = np.zeros((HEIGHT, WIDTH), bool)
    other[2:5, 2:8] = True
    save_photo(tmp_path / "set" / "a.png")
    write_json(sa1b(box_mask(), other), tmp_path / "set" / "a.json")
    (record,) = make_masks(str(tmp_path / "set"), out=str(tmp_path / "m"), from_="sa-1b").records
    assert record.verdict == "doubtful"
    assert record.reason.startswith("its annotation marks several areas")


def test_broken_sa1b_is_named(tmp_path):
    save_photo(tmp_path / "a.png")
    content = sa1b(box_mask())
    content["annotations"] += [3, {"segmentation": None}]
    found = complaints(read_annotations("sa-1b", write_json(content, tmp_path / "a.json"), None, boxes=SHARP))
    assert "annotation 1: expected an object with a segmentation" in found
    assert "annotation 2: a segmentation that is neither" in found
    assert "found something else" in complaints(
        read_annotations("sa-1b", write_json([BOX], tmp_path / "a.json"), None, boxes=SHARP)
    )
