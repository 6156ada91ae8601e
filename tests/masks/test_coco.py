"""COCO files: known masks come back, broken entries are named, none crashes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from helpers.annotation_files import (
    FLAT,
    HEIGHT,
    WIDTH,
    blob_mask,
    box_mask,
    coco,
    complaints,
    compressed,
    inside,
    iou,
    labelme,
    mask_tools,
    only,
    read_coco,
    save_photo,
    star,
    uncompressed,
)
from robustvit.common.errors import UserError
from robustvit.masks.annotations.run_lengths import decode_run_lengths


@pytest.mark.parametrize("pack", [uncompressed, compressed])
@pytest.mark.parametrize("seed", range(4))
def test_coco_run_lengths_come_back_exactly(tmp_path, pack, seed):
    mask = blob_mask(seed)
    mask[0, 0] = seed % 2
    found = only(read_coco(coco(segmentation=pack(mask), iscrowd=1), tmp_path))
    assert found.category == "cat"
    assert np.array_equal(found.mask, mask)


def test_long_runs_in_text_match_pycocotools():
    mask = np.zeros((900, 700), dtype=bool)
    mask[100:800, 300:650] = True
    mask[5, 5] = mask[899, 699] = True
    packed = compressed(mask)
    assert np.array_equal(decode_run_lengths(packed, 900, 700), mask_tools.decode(packed))


def test_coco_polygons_of_one_object_are_joined(tmp_path):
    second = [2.0, 22.0, 8.0, 22.0, 8.0, 28.0, 2.0, 28.0]
    annotations = read_coco(coco(segmentation=[FLAT, second]), tmp_path)
    expected = box_mask()
    expected[22:28, 2:8] = True
    found = only(annotations)
    assert iou(found.mask, expected) > 0.95
    assert annotations.categories == ("cat",)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reach", [0.45, 0.8])
def test_polygons_match_a_plain_fill(tmp_path, seed, reach):
    height, width = 60, 80
    polygon = star(seed, height, width, reach)
    save_photo(tmp_path / "images" / "a.png", (width, height))
    (photo,) = read_coco(coco(height=height, width=width, segmentation=[polygon.ravel().tolist()]), tmp_path).photos
    assert iou(photo.read()[0].mask, inside(polygon, height, width)) > 0.97  # also where the frame cuts it


def test_coco_looks_by_path_then_by_name(tmp_path):
    for folder in ("one", "two"):
        save_photo(tmp_path / "images" / folder / "a.png")
    save_photo(tmp_path / "images" / "two" / "b.png")
    (photo,) = read_coco(coco(file_name="two/a.png"), tmp_path).photos
    assert photo.image.parent.name == "two"
    (photo,) = read_coco(coco(file_name="data\\two\\b.png"), tmp_path).photos
    assert photo.image.name == "b.png"
    assert "no photo" in complaints(read_coco(coco(file_name="other\\b.png"), tmp_path))  # it lies in two
    assert "several photos could be 'a.png'" in complaints(read_coco(coco(), tmp_path))


def test_one_broken_object_leaves_the_others(tmp_path):
    content = coco()
    broken = {**content["annotations"][0], "id": 8, "segmentation": {"size": [3, 3], "counts": [9]}}
    content["annotations"].append(broken)
    annotations = read_coco(content, tmp_path)
    (photo,) = annotations.photos
    assert len(photo.read()) == 1
    assert len(photo.read()) == 1
    assert len(annotations.problems) == 1  # said once
    assert "a.png: annotation 8: run lengths of size 3 x 3" in annotations.problems[0]


RUNS = {"size": [HEIGHT, WIDTH]}


ENTRY = coco()["images"][0]


BAD_COCO = {
    "wrong photo size": (coco(height=31), "30 x 44 pixels (height x width), the annotation says 31 x 44"),
    "huge": (coco(height=10**6, width=10**6), "the annotation says 1000000 x 1000000"),
    "wrong size as text": (coco(height="31"), "30 x 44 pixels (height x width), the annotation says 31 x 44"),
    "huge text": (coco(height="9" * 5000), "the annotation says '9999"),
    "negative size": (coco(height=-30), "the annotation says -30 x 44"),
    "boolean size": (coco(height=True), "the annotation says True x 44"),
    "no file name": (coco(file_name=None), "file_name"),
    "no photo": (coco(file_name="b.png"), "image id 1: no photo 'b.png'"),
    "path out": (coco(file_name="../../../etc/hostname"), "no photo"),
    "long name": (coco(file_name="n" * 5000), "no photo"),
    "null in name": (coco(file_name="a\0.png\n"), "no photo"),
    "same file twice": (coco(images=[ENTRY, {**ENTRY, "id": 2}]), "is listed twice, also by image id 1: left out"),
    "image without id": (coco(images=[{"file_name": "a.png"}, 3]), "expected an id"),
    "unknown image": (coco(image_id=9), "annotation 7: unknown image id 9"),
    "unknown category": (coco(category_id=[1]), "unknown category id a list"),
    "categories broken": (coco(categories=[{"id": 3}, 4]), "expected an id and a name"),
    "category twice": (
        coco(categories=[{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]),
        "category id 3 is listed twice, as 'cat' and 'dog': left out",
    ),
    "annotation broken": (coco(annotations=[None]), "annotation number 0"),
    "unused photo": (coco(annotations=[]), "1 photo of"),
    "empty": (coco(segmentation=[]), "annotation 7: empty segmentation"),
    "mixed list": (coco(segmentation=[FLAT, 3]), "neither a list of polygons"),
    "text": (coco(segmentation="abc"), "neither a list of polygons"),
    "two points": (coco(segmentation=[FLAT[:4]]), "polygon of 2 points"),
    "odd": (coco(segmentation=[FLAT[:7]]), "odd number"),
    "one part odd": (coco(segmentation=[FLAT, FLAT[:7]]), "this part is left out"),
    "nan": (coco(segmentation=[[float("nan"), *FLAT[1:]]]), "NaN"),
    "very large": (coco(segmentation=[[10**400, *FLAT[1:]]]), "NaN or infinite"),
    "words": (coco(segmentation=[["1", *FLAT[1:]]]), "not a list of numbers"),
    "outside": (coco(segmentation=[[-5.0, *FLAT[1:]]]), "polygon outside the frame: 1 of 4 points"),
    "far outside": (coco(segmentation=[[1e308, *FLAT[1:]]]), "polygon outside the frame: 1 of 4 points"),
    "all outside": (coco(segmentation=[[100 + number for number in FLAT]]), "covers no pixel"),
    "tangled": (coco(segmentation=[[0.0, 0.0, 44.0, 30.0] * 120_000]), "tangled"),
    "run size": (coco(segmentation={"size": [WIDTH, HEIGHT], "counts": [1320]}), "run lengths of size 44 x 30"),
    "run size odd": (coco(segmentation={"size": 4, "counts": [1320]}), "run lengths of size 4 "),
    "run sum": (coco(segmentation={**RUNS, "counts": [10, 20]}), "sum to 30, not to 30 x 44 = 1320"),
    "run huge": (coco(segmentation={**RUNS, "counts": [10**4200] * 3}), "sum to a huge number"),
    "run negative": (coco(segmentation={**RUNS, "counts": [1330, -10]}), "negative"),
    "run none": (coco(segmentation={**RUNS, "counts": None}), "neither a list"),
    "run nothing": (coco(segmentation={**RUNS, "counts": [1320]}), "covers no pixel"),
    "run text": (coco(segmentation={**RUNS, "counts": "\u00e9\u00e9"}), "not packed"),
    "run endless": (coco(segmentation={**RUNS, "counts": "o" * 50}), "not packed"),
    "run cut off": (coco(segmentation={**RUNS, "counts": "oo"}), "cut off"),
}


@pytest.mark.parametrize("name", BAD_COCO)
def test_broken_coco_is_named(tmp_path, name):
    content, words = BAD_COCO[name]
    assert words in complaints(read_coco(content, tmp_path))


NOT_COCO = {
    "list": ([], "a list of results"),
    "number": (3, "something else"),
    "lacking": ({"images": []}, "no list of annotations"),
    "labelme": (labelme(), "read it as labelme"),
    "yolo": ({"names": []}, "as yolo"),
}


@pytest.mark.parametrize("name", NOT_COCO)
def test_json_that_is_not_coco(tmp_path, name):
    content, words = NOT_COCO[name]
    with pytest.raises(UserError, match=words):
        read_coco(content, tmp_path)


def test_without_pycocotools(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(UserError, match="pip install pycocotools"):
        read_coco(coco(), tmp_path)
