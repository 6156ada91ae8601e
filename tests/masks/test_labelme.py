"""LabelMe files: known masks come back, broken shapes are named, none crashes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import (
    BOX,
    HEIGHT,
    WIDTH,
    blob_mask,
    box_mask,
    coco,
    complaints,
    iou,
    labelme,
    only,
    read_labelme,
    save_photo,
    write_json,
)
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.boxes import draw_ellipse

pytest.importorskip("pycocotools.mask")

RECTANGLES = {
    "two corners": [[30, 20], [10, 5]],
    "four corners": BOX,
}


def test_labelme_polygon(tmp_path):
    annotations = read_labelme(labelme(), tmp_path)
    found = only(annotations)
    assert found.category == "cat"
    assert annotations.categories == ("cat",)
    assert iou(found.mask, box_mask()) > 0.95


@pytest.mark.parametrize("name", RECTANGLES)
def test_labelme_rectangles_are_boxes(tmp_path, name):
    (photo,) = read_labelme(labelme(shape_type="rectangle", points=RECTANGLES[name]), tmp_path)
    (found,) = photo.read()
    assert found.boxed
    assert np.array_equal(found.mask, draw_ellipse((10, 5, 30, 20), (HEIGHT, WIDTH)))
    (found,) = photo.read(boxes=BoxReading("box", feather=0))
    assert np.array_equal(found.mask, box_mask())


def test_a_turned_rectangle_is_an_outline(tmp_path):
    turned = [[20, 2], [30, 12], [20, 22], [10, 12]]
    (found,) = read_labelme(labelme(shape_type="rectangle", points=turned), tmp_path).photos[0].read()
    assert not found.boxed
    assert found.mask.sum() == pytest.approx(200, abs=20)


def test_labelme_circle(tmp_path):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = (rows - 12) ** 2 + (columns - 20) ** 2 <= 25
    found = only(read_labelme(labelme(shape_type="circle", points=[[20, 12], [23, 16]]), tmp_path))
    assert np.array_equal(found.mask, expected)


@pytest.mark.parametrize(("left", "top"), [(10, 5), (-3, -2), (40, 25)])
def test_labelme_mask(tmp_path, left, top):
    inner = blob_mask()[:12, :9]
    stream = io.BytesIO()
    Image.fromarray(inner.astype(np.uint8)).save(stream, "PNG")
    shape = {"shape_type": "mask", "points": [[left, top], [left + 8, top + 11]]}
    found = only(read_labelme(labelme(mask=base64.b64encode(stream.getvalue()).decode(), **shape), tmp_path))
    expected = np.zeros((HEIGHT + 24, WIDTH + 24), dtype=bool)
    expected[top + 12 : top + 24, left + 12 : left + 21] = inner
    assert np.array_equal(found.mask, expected[12 : 12 + HEIGHT, 12 : 12 + WIDTH])


def test_labelme_group_is_one_object(tmp_path):
    content = labelme(group_id=4)
    part = {**content["shapes"][0], "points": [[2, 22], [8, 22], [8, 28], [2, 28]]}
    other = {**part, "group_id": None}
    content["shapes"] += [part, other]
    (photo,) = read_labelme(content, tmp_path).photos
    joined, alone = photo.read()
    assert joined.mask.sum() == box_mask().sum() + 36
    assert alone.mask.sum() == 36


def test_labelme_photo_in_another_folder(tmp_path):
    save_photo(tmp_path / "photos" / "inner" / "a.png")
    source = write_json(labelme(imagePath="..\\photos\\inner\\a.png"), tmp_path / "json" / "a.json").parent
    assert only(read_annotations("labelme", source, None)).category == "cat"
    write_json(labelme(imagePath="C:\\set\\inner\\a.png"), source / "a.json")
    assert only(read_annotations("labelme", source, tmp_path / "photos")).category == "cat"
    assert "no photo" in complaints(read_annotations("labelme", source, None))
    write_json(labelme(imagePath="..\\elsewhere\\a.png"), source / "a.json")
    assert "inner/a.png is another" in complaints(read_annotations("labelme", source, tmp_path / "photos"))


BAD_LABELME = {
    "line": (labelme(shape_type="line"), "shape 0 ('cat'): a shape of type 'line' is not an area"),
    "type": (labelme(shape_type=["x"]), "a shape of type a list"),
    "two points": (labelme(points=BOX[:2]), "polygon of 2 points"),
    "three numbers": (labelme(points=[[1, 2, 3]] * 4), "expected points"),
    "words": (labelme(points=[["1", 2]] * 4), "not a list of numbers"),
    "no points": (labelme(points=None), "expected points"),
    "circle of one point": (labelme(shape_type="circle", points=[[1, 2]]), "expected 2 points"),
    "circle nan": (labelme(shape_type="circle", points=[[1, float("nan")], [1, 2]]), "NaN"),
    "circle outside": (labelme(shape_type="circle", points=[[900, 900], [901, 900]]), "covers no pixel"),
    "mask without image": (labelme(shape_type="mask"), "without its image"),
    "mask broken": (labelme(shape_type="mask", mask="abcd"), "broken"),
    "mask not base64": (labelme(shape_type="mask", mask="\u00e9"), "broken"),
    "outside": (labelme(points=[[-4, 5], *BOX[1:]]), "polygon outside the frame: 1 of 4 points"),
    "label": (labelme(label=None), "expected a label"),
    "shape": (labelme(shapes=[3]), "shape 0: expected a shape"),
    "size": (labelme(imageHeight=31), "the annotation says 31 x 44"),
    "image path": (labelme(imagePath=5), "expected an imagePath"),
    "no photo": (labelme(imagePath="b.png"), "no photo 'b.png'"),
    "not a photo": (labelme(imagePath="a.json"), "not an image"),
    "coco": (coco(), "read it as coco"),
    "list": ([1], "expected LabelMe"),
    "results": ([{"image_id": 1}], "found a list of results, not of annotations"),
}


@pytest.mark.parametrize("name", BAD_LABELME)
def test_broken_labelme_is_named(tmp_path, name):
    content, words = BAD_LABELME[name]
    found = complaints(read_labelme(content, tmp_path))
    assert words in found
    assert "a.json" in found or "a.png" in found


def test_two_labelme_files_for_one_photo(tmp_path):
    write_json(labelme(), tmp_path / "b.json")
    read_labelme(labelme(), tmp_path)
    assert "listed twice" in complaints(read_annotations("labelme", tmp_path, None))


@pytest.mark.parametrize("label", ["_background_", "__ignore__", "Background"])
def test_the_background_is_no_object(tmp_path, label):
    content = labelme()
    whole = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]
    content["shapes"].append({**content["shapes"][0], "label": label, "points": whole})
    annotations = read_labelme(content, tmp_path)
    assert only(annotations).category == "cat"
    assert annotations.categories == ("cat",)


def test_the_folder_of_a_file_counts(tmp_path):
    for name in ("cat", "dog"):
        save_photo(tmp_path / "photos" / name / "a.png")
        write_json(labelme(), tmp_path / "json" / name / "a.json")
    write_json(labelme(), tmp_path / "json" / "cow" / "a.json")
    annotations = read_annotations("labelme", tmp_path / "json", tmp_path / "photos")
    assert [photo.image.parent.name for photo in annotations] == ["cat", "dog"]
    assert "cow/a.json: no photo 'cow/a.png'" in complaints(annotations)


def test_composed_letters(tmp_path):
    save_photo(tmp_path / "e\u0301.png")
    write_json(labelme(imagePath="\u00e9.png"), tmp_path / "a.json")
    assert only(read_annotations("labelme", tmp_path, None)).category == "cat"


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation", "quadrilateral"])
def test_four_corners_are_an_outline(tmp_path, kind):
    assert np.array_equal(only(read_labelme(labelme(shape_type=kind), tmp_path)).mask > 0.5, box_mask())


def test_a_file_that_was_moved_beside_its_photo(tmp_path):
    found = read_labelme(labelme(imagePath="..\\photos\\a.png"), tmp_path)
    assert len(found.photos) == 1
    assert "'../photos/a.png' is taken for a.png beside it" in complaints(found)


def test_a_file_without_a_shape_is_counted(tmp_path):
    found = read_labelme(labelme(shapes=[]), tmp_path)
    assert found.photos == []
    assert "1 photo of" in complaints(found)
