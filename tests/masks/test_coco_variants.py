"""COCO as other tools write it: ids of another type, less than all, other nestings; and other JSON called by name."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.annotation_files import (
    BOX,
    FLAT,
    HEIGHT,
    WIDTH,
    box_mask,
    coco,
    complaints,
    compressed,
    only,
    read_coco,
    save_photo,
    uncompressed,
    write_json,
)
from robustvit.common.errors import UserError
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.to_masks import check_categories

pytest.importorskip("pycocotools.mask")


def with_ids(listed, named, kind: str) -> dict:
    """COCO whose images or categories have the id ``listed``, and whose annotation has ``named``."""
    content = coco(**{f"{kind}_id": named})
    content["images" if kind == "image" else "categories"][0]["id"] = listed
    return content


@pytest.mark.parametrize("kind", ["image", "category"])
@pytest.mark.parametrize(
    ("listed", "named"),
    [(1, "1"), ("1", 1), (1, 1.0), (1.0, 1), ("000000000009", 9), (9, "000000000009"), ("1.0", 1), ("a-1", "a-1 ")],
)
def test_ids_of_another_type_mean_the_same(tmp_path, kind, listed, named):
    found = only(read_coco(with_ids(listed, named, kind), tmp_path))
    assert found.category == "cat"
    assert np.array_equal(found.mask, box_mask())


@pytest.mark.parametrize(("listed", "named"), [(1, "a"), (1, 1.5), (1, True), ("1", None), (1, [1])])
def test_ids_that_mean_nothing_known_are_named(tmp_path, listed, named):
    assert "unknown image id" in complaints(read_coco(with_ids(listed, named, "image"), tmp_path))


def test_the_type_tells_ids_apart_and_doubt_is_named(tmp_path):
    for name in ("a.png", "b.png"):
        save_photo(tmp_path / "images" / name)
    content = coco(image_id="1")
    content["images"] = [{"id": 1, "file_name": "a.png"}, {"id": "1", "file_name": "b.png"}]
    (photo,) = read_coco(content, tmp_path).photos
    assert photo.image.name == "b.png"
    content["annotations"][0]["image_id"] = "01"
    assert "unknown image id '01'" in complaints(read_coco(content, tmp_path))


def test_one_id_for_two_photos_leaves_both_out(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        save_photo(tmp_path / "images" / name)
    content = coco()
    second = {**content["images"][0], "file_name": "a.jpg"}
    content["images"] += [
        second,
        {**second, "id": 2, "file_name": "b.png"},
        {**second, "id": "3"},
        {**second, "id": 3.0},
    ]
    content["annotations"] += [{**content["annotations"][0], "id": 8, "image_id": 2}]
    annotations = read_coco(content, tmp_path)
    assert [photo.image.name for photo in annotations] == ["b.png"]
    assert "image id 1 is listed twice, as 'a.png' and 'a.jpg': their annotations cannot be told apart" in complaints(
        annotations
    )
    content["images"] = [content["images"][0]] * 2  # the same entry twice tells the same
    assert [photo.image.name for photo in read_coco(content, tmp_path)] == ["a.png"]


def test_a_category_id_of_two_names_is_left_out_alone(tmp_path):
    content = coco()
    content["categories"] += [{"id": 3, "name": "dog"}, {"id": 4, "name": "cow"}]
    content["annotations"] += [{**content["annotations"][0], "id": 8, "category_id": 4}]
    annotations = read_coco(content, tmp_path)
    assert [found.category for found in annotations.photos[0].read()] == ["cow"]
    assert "category id 3 has several names" in complaints(annotations)


@pytest.mark.parametrize(
    "name", ["background", "_background_", "__BACKGROUND__", "bg", "__ignore__", "Un-labeled", "void"]
)
def test_the_background_is_no_object(tmp_path, name):
    content = coco()
    content["categories"] += [{"id": 0, "name": name}]
    whole = {
        **content["annotations"][0],
        "category_id": 0,
        "segmentation": [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]],
    }
    content["annotations"].append(whole)
    annotations = read_coco(content, tmp_path)
    assert annotations.categories == ("cat",)
    assert np.array_equal(only(annotations).mask, box_mask())
    content["annotations"] = [whole]
    assert f"{name!r} is not an object" in complaints(read_coco(content, tmp_path))


def test_a_class_whose_name_only_holds_such_a_word_is_an_object(tmp_path):
    content = coco()
    content["categories"][0]["name"] = "background dancer"
    assert only(read_coco(content, tmp_path)).category == "background dancer"


@pytest.mark.parametrize(
    "size", [{}, {"height": None, "width": None}, {"height": 0, "width": 0}, {"height": 30.0}, {"height": "30.0"}]
)
def test_images_without_sizes_or_with_sizes_of_another_type(tmp_path, size):
    content = coco()
    entry = {"id": 1, "file_name": "a.png"} | size
    content["images"] = [entry | ({"width": 44.0} if size.get("height") else {})]
    assert np.array_equal(only(read_coco(content, tmp_path)).mask, box_mask())


@pytest.mark.parametrize("categories", [None, []])
def test_without_categories_there_is_one_class(tmp_path, categories):
    content = coco()
    content["annotations"].append({**content["annotations"][0], "id": 8, "category_id": 9})
    del content["annotations"][0]["category_id"]
    if categories is None:
        del content["categories"]
    else:
        content["categories"] = categories
    annotations = read_coco(content, tmp_path)
    assert [found.category for found in annotations.photos[0].read()] == [None, None]
    assert "no categories in the file" in complaints(annotations)


def test_one_category_needs_no_id(tmp_path):
    content = coco()
    del content["annotations"][0]["category_id"]
    assert only(read_coco(content, tmp_path)).category == "cat"


OUTLINES = {
    "flat": FLAT,
    "pairs": BOX,
    "list of pairs": [BOX],
    "run lengths of floats": {key: [float(n) for n in value] for key, value in uncompressed(box_mask()).items()},
    "size of floats": compressed(box_mask()) | {"size": [float(HEIGHT), float(WIDTH)]},
}


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_in_other_nestings(tmp_path, name):
    assert np.array_equal(only(read_coco(coco(segmentation=OUTLINES[name]), tmp_path)).mask, box_mask())


def test_run_lengths_with_a_part_of_a_pixel_are_broken(tmp_path):
    counts = {"size": [HEIGHT, WIDTH], "counts": [0.5, HEIGHT * WIDTH - 0.5]}
    assert "neither a list of whole numbers" in complaints(read_coco(coco(segmentation=counts), tmp_path))


OTHERS = {
    "panoptic": (coco(segments_info=[{"id": 1, "category_id": 3}]), "panoptic COCO"),
    "sa-1b": ({"image": {"image_id": 1}, "annotations": []}, "SA-1B"),
    "via": ({"_via_img_metadata": {}, "_via_settings": {}}, "VGG Image Annotator"),
    "via export": ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator"),
    "supervisely": ({"objects": [], "size": {"height": 3, "width": 3}}, "Supervisely"),
    "label studio": ([{"data": {"image": "a.jpg"}, "annotations": []}], "Label Studio"),
    "results": ([{"image_id": 1, "segmentation": []}], "a list of results"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_called_by_name(tmp_path, name):
    content, words = OTHERS[name]
    with pytest.raises(UserError, match=words):
        read_coco(content, tmp_path)


def test_photos_of_another_folder_are_not_taken(tmp_path):
    save_photo(tmp_path / "images" / "task2" / "f.png")
    content = coco(file_name="task1/f.png")
    content["images"].append({**content["images"][0], "id": 2, "file_name": "task2/f.png"})
    content["annotations"].append({**content["annotations"][0], "id": 8, "image_id": 2, "segmentation": [FLAT[:6]]})
    for first in (content["images"], content["images"][::-1]):
        annotations = read_coco({**content, "images": first}, tmp_path)
        assert only_mask(annotations) < box_mask().sum()  # the triangle is of task2
        assert "image id 1: no photo 'task1/f.png'" in complaints(annotations)


def only_mask(annotations) -> float:
    (photo,) = annotations.photos
    return photo.read()[0].mask.sum()


def test_a_folder_of_several_files_leads_to_one_of_them(tmp_path):
    read_coco(coco(), tmp_path / "set" / "train")
    read_coco(coco(), tmp_path / "set" / "val")
    with pytest.raises(UserError, match=r"got the folder .*: name .*train/instances\.json"):
        read_annotations("coco", tmp_path / "set", tmp_path / "set")


def test_letters_of_categories_may_be_composed_otherwise(tmp_path):
    content = coco()
    content["categories"][0]["name"] = "ba\u0308r"
    annotations = read_coco(content, tmp_path)
    assert only(annotations).category == "b\u00e4r"
    check_categories(annotations, ["b\u00e4r"])


def test_addresses_name_photos_too(tmp_path):
    save_photo(tmp_path / "train2017" / "a.png")
    content = coco()
    content["images"] = [{"id": 1, "coco_url": "http://images.cocodataset.org/train2017/a.png"}]
    source = write_json(content, tmp_path / "lvis.json")
    assert only(read_annotations("coco", source, tmp_path / "train2017")).category == "cat"


def test_boxes_that_are_two_corners_are_asked_about(tmp_path):
    content = coco(segmentation=[], bbox=[20, 15, WIDTH, HEIGHT])
    with pytest.raises(UserError, match="fit as two corners"):
        read_coco(content, tmp_path)
    box = coco(segmentation=[], bbox=[10, 5, 25, 20])
    assert len(read_coco(box, tmp_path).photos) == 1
