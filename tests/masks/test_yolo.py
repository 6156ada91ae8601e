"""YOLO label files: known masks come back, broken lines are named, none crashes."""

from __future__ import annotations

import pytest

from helpers.annotation_files import CORNERS, HEIGHT, WIDTH, complaints, inside, iou, only, read_yolo, save_photo, star
from robustvit.common.errors import UserError
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.to_masks import check_categories
from robustvit.masks.annotations.yolo_lines import hold_key_points

pytest.importorskip("pycocotools.mask")


def test_yolo_matches_a_plain_fill_and_takes_names(tmp_path):
    polygon = star(5, HEIGHT, WIDTH)
    shares = (polygon / (WIDTH, HEIGHT)).ravel()
    (tmp_path / "data.yaml").write_text("names: {0: dog, 1: cat}\n")
    annotations = read_yolo("1 " + " ".join(f"{share:.6f}" for share in shares) + "\n\n", tmp_path)
    found = only(annotations)
    assert found.category == "cat"
    assert annotations.categories == ("dog", "cat")
    assert iou(found.mask, inside(polygon, HEIGHT, WIDTH)) > 0.9  # 6 digits of a small photo


def test_yolo_names_from_a_list_and_numbers_without(tmp_path):
    line = "1 0.2 0.2 0.8 0.2 0.8 0.8\n"
    annotations = read_yolo(line, tmp_path)
    assert annotations.photos[0].read()[0].category == "1"
    assert annotations.categories == ("1",)
    assert "the classes have no names but 1; put their names into a classes.txt in" in complaints(annotations)
    with pytest.raises(UserError, match=r"name 1; they have no names: put .* or give numbers"):
        check_categories(annotations, ["cat"])
    check_categories(annotations, ["1"])
    (tmp_path / "labels" / "classes.txt").write_text("dog\ncat\n")
    annotations = read_yolo(line, tmp_path)
    assert only(annotations).category == "cat"
    assert annotations.problems == []
    with pytest.raises(UserError, match=r"name dog, cat$"):
        check_categories(annotations, ["horse"])


def test_yolo_mirrors_inner_folders(tmp_path):
    for part in ("train", "val"):
        save_photo(tmp_path / "images" / part / "a.jpg")
        (tmp_path / "labels" / part).mkdir(parents=True)
        (tmp_path / "labels" / part / "a.txt").write_text("0 0.2 0.2 0.8 0.2 0.8 0.8")
    (tmp_path / "labels" / "val" / "b.txt").write_text("0 0.2 0.2 0.8 0.2 0.8 0.8")
    save_photo(tmp_path / "images" / "train" / "b.jpg")  # the label lies in val: not the same photo
    annotations = read_annotations("yolo", tmp_path, None)
    assert [photo.image.parent.name for photo in annotations] == ["train", "val"]
    assert "no photo 'val/b'" in complaints(annotations)
    assert "1 photo without labels" in complaints(annotations)


def test_yolo_empty_label_means_background(tmp_path):
    annotations = read_yolo("\n", tmp_path)
    (photo,) = annotations.photos
    assert photo.read() == []
    assert annotations.problems == []


BAD_YOLO = {
    "outside": (
        "0 -0.2 0.2 0.8 0.2 0.8 0.8",
        "a.txt: polygon outside the frame: 1 of 3 points, cut off at the edge; first in line 1",
    ),
    "far": ("0 1e308 0.2 0.8 0.2 0.8 0.8", "polygon outside the frame: 1 of 3"),
    "odd": (f"0 {CORNERS} 0.5", "odd number"),
    "garbage": (f"0 {CORNERS} x y", "expected numbers"),
    "nan": ("0 nan 0.2 0.8 0.2 0.8 0.8", "NaN"),
    "class": (f"cat {CORNERS}", "the number of a class, found 'cat'"),
    "negative class": (f"-1 {CORNERS}", "the number of a class"),
    "only a class": ("0", "polygon of 0 points"),
    "nothing covered": ("0 0.5 0.5 0.5 0.5 0.5 0.5", "covers no pixel"),
}


@pytest.mark.parametrize("name", BAD_YOLO)
def test_broken_yolo_is_named(tmp_path, name):
    text, words = BAD_YOLO[name]
    assert words in complaints(read_yolo(text, tmp_path))


def test_yolo_slightly_outside_is_rounding(tmp_path):
    assert "outside the frame" not in complaints(read_yolo("0 -0.0000005 0.2 1.0000005 0.2 0.8 0.8", tmp_path))


def test_yolo_files_that_do_not_match(tmp_path):
    read_yolo(f"5 {CORNERS}", tmp_path)
    (tmp_path / "labels" / "b.txt").write_text(f"0 {CORNERS}")
    (tmp_path / "labels" / "c.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("a.jpg", "c.jpg", "d.jpg"):
        save_photo(tmp_path / "images" / name)
    found = complaints(read_annotations("yolo", tmp_path, tmp_path / "images"))
    assert "several photos could be 'a': a.jpg and a.png" in found
    assert "b.txt: no photo 'b'" in found
    assert "c.txt: expected text" in found
    assert "photos without labels" in found
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "data.yml").write_text("names: [cat, {a: b}]")
    found = complaints(read_annotations("yolo", tmp_path, tmp_path / "images"))
    assert "class 5 has no name" in found
    assert "expected a number and a name" in found
    (tmp_path / "data.yaml").write_text("names: [cat")
    assert "data.yaml: expected class names" in complaints(read_annotations("yolo", tmp_path, tmp_path / "images"))


POSE = "0 0.5 0.5 0.2 0.3 0.45 0.4 0.55 0.4 0.5 0.5 0.46 0.6 0.54 0.6"
POSES = {
    "pairs": POSE,
    "two of them": f"{POSE}\n0 0.4 0.4 0.5 0.5 0.2 0.3 0.6 0.3 0.4 0.5 0.3 0.6 0.5 0.6",
    "with visibility": "0 0.5 0.5 0.2 0.3 0.45 0.4 2 0.55 0.4 1 0.5 0.5 2 0 0 0",
    "one not labelled": "0 0.5 0.5 0.2 0.3 0.45 0.4 0.55 0.4 0.5 0.5 0 0 0.54 0.6",
}


@pytest.mark.parametrize("name", POSES)
def test_key_points_are_no_outlines(tmp_path, name):
    with pytest.raises(UserError, match="found key points, as of YOLO pose"):
        read_yolo(POSES[name], tmp_path)


def test_kpt_shape_says_it_whatever_the_lines(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [cat]\nkpt_shape: [5, 2]\n")
    with pytest.raises(UserError, match=r"data\.yaml has kpt_shape"):
        read_yolo(f"0 {CORNERS}", tmp_path)


def test_one_pose_among_outlines_is_left_out(tmp_path):
    annotations = read_yolo(f"0 {CORNERS}\n{POSE}", tmp_path)
    assert len(annotations.photos[0].read()) == 1
    assert "a.txt: line 2: a box and key points, not an outline" in complaints(annotations)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("reach", [0.05, 0.2, 0.45])
def test_outlines_are_never_taken_for_key_points(seed, reach):
    """Also small ones at the centre of the frame, whose second point may pass for a size."""
    line = (star(seed, 1, 1, reach)).ravel().tolist()
    assert not hold_key_points([line])


@pytest.mark.parametrize("corners", ["0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6", "0.45 0.45 0.55 0.45 0.55 0.55"])
def test_plain_shapes_at_the_centre_are_outlines(tmp_path, corners):
    (tmp_path / "classes.txt").write_text("cat")
    assert only(read_yolo(f"0 {corners}", tmp_path)).category == "cat"


@pytest.fixture
def roboflow(tmp_path):
    """Roboflow's export: three parts with images and labels each, data.yaml and texts that are no labels."""
    for part in ("train", "valid", "test"):
        save_photo(tmp_path / "set" / part / "images" / f"a_jpg.rf.{part}.jpg")
        save_photo(tmp_path / "set" / part / "images" / "same.jpg")
        (tmp_path / "set" / part / "labels").mkdir()
        for name in (f"a_jpg.rf.{part}", "same"):
            (tmp_path / "set" / part / "labels" / f"{name}.txt").write_text(f"1 {CORNERS}")
    (tmp_path / "set" / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n")
    (tmp_path / "set" / "README.roboflow.txt").write_text("exported")
    return tmp_path / "set"


@pytest.mark.parametrize("source", [".", "data.yaml"])
def test_a_set_of_several_parts_is_read_whole_and_that_is_said(roboflow, source):
    annotations = read_annotations("yolo", roboflow / source, None)
    assert len(annotations.photos) == 6
    for photo in annotations:
        assert [found.category for found in photo.read()] == ["dog"]
    (line,) = annotations.problems
    assert f"all of test, train, valid are read; name {roboflow / 'train'} to read that part alone" in line


def test_one_part_of_a_set(roboflow):
    annotations = read_annotations("yolo", roboflow / "train", None)
    assert [photo.image.parts[-3] for photo in annotations] == ["train", "train"]
    assert annotations.categories == ("cat", "dog")
    annotations = read_annotations("yolo", roboflow, roboflow / "train" / "images")
    assert [photo.image.name for photo in annotations] == ["a_jpg.rf.train.jpg", "same.jpg"]
    assert "same.jpg belongs to" in complaints(annotations)


def test_labels_beside_their_photos(tmp_path):
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text(f"0 {CORNERS}")
    (tmp_path / "classes.txt").write_text("cat")
    (tmp_path / "README.txt").write_text("hello")
    assert only(read_annotations("yolo", tmp_path, None)).category == "cat"


def test_a_file_that_is_no_yaml(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"a data\.yaml, found a file at"):
        read_annotations("yolo", tmp_path / "a.txt", None)


def test_settings_that_name_their_set(roboflow):
    (roboflow.parent / "conf").mkdir()
    (roboflow / "data.yaml").rename(roboflow.parent / "conf" / "pets.yaml")
    settings = roboflow.parent / "conf" / "pets.yaml"
    settings.write_text("path: ../set\nnames: [cat, dog]\n")
    annotations = read_annotations("yolo", settings, None)
    assert len(annotations.photos) == 6
    assert annotations.categories == ("cat", "dog")


def test_the_folder_of_photos_leads_to_the_one_of_labels(roboflow):
    with pytest.raises(UserError, match=f"found none: name {roboflow / 'train'}"):
        read_annotations("yolo", roboflow / "train" / "images", None)


def test_the_background_of_a_set_is_no_object(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [__background__, cat]\n")
    annotations = read_yolo(f"0 0 0 1 0 1 1 0 1\n1 {CORNERS}", tmp_path)
    assert only(annotations).category == "cat"
    assert annotations.categories == ("cat",)


def test_darknet_names_and_lists_of_photos(tmp_path):
    """As CVAT exports YOLO 1.1: labels beside the photos, obj.names, and train.txt, which is no label file."""
    save_photo(tmp_path / "obj_train_data" / "a.png")
    (tmp_path / "obj_train_data" / "a.txt").write_text(f"1 {CORNERS}\n")
    (tmp_path / "obj.names").write_text("dog\ncat\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.png\n")
    for source in (tmp_path, tmp_path / "obj_train_data"):
        assert only(read_annotations("yolo", source, None)).category == "cat"
        assert only(read_annotations("auto", source, None)).category == "cat"


def test_texts_beside_photos_are_no_labels(tmp_path):
    save_photo(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat on a mat\n")
    with pytest.raises(UserError, match="found only images"):
        read_annotations("auto", tmp_path, None)


def test_parts_below_labels_are_said(tmp_path):
    for part in ("train", "val"):
        save_photo(tmp_path / "images" / part / f"{part}.png")
        (tmp_path / "labels" / part).mkdir(parents=True)
        (tmp_path / "labels" / part / f"{part}.txt").write_text(f"0 {CORNERS}\n")
    found = read_annotations("yolo", tmp_path, None)
    assert len(found.photos) == 2
    assert "all of train, val are read" in complaints(found)
    alone = read_annotations("yolo", tmp_path / "labels" / "train", tmp_path / "images" / "train")
    assert [photo.image.name for photo in alone] == ["train.png"]


def test_settings_that_cannot_be_read_are_named_once(tmp_path):
    (tmp_path / "data.yaml").write_text("names: ['cat'\n  bad: [\n")
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(f"0 {CORNERS}\n")
    found = read_annotations("yolo", tmp_path / "data.yaml", None)
    assert sum("it cannot be read" in line for line in found.problems) == 1


def test_obj_names_count_before_others_and_lists_that_differ_are_asked_about(tmp_path):
    save_photo(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(f"1 {CORNERS}\n")
    (tmp_path / "coco.names").write_text("person\nbicycle\n")
    assert only(read_annotations("yolo", tmp_path, None)).category == "bicycle"
    (tmp_path / "voc.names").write_text("aeroplane\nbicycle\n")
    with pytest.raises(UserError, match=r"found coco\.names and voc\.names, which differ"):
        read_annotations("yolo", tmp_path, None)
    (tmp_path / "obj.names").write_text("dog\ncat\n")
    assert only(read_annotations("yolo", tmp_path, None)).category == "cat"
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=r"found classes\.txt and obj\.names, which differ"):
        read_annotations("yolo", tmp_path, None)
