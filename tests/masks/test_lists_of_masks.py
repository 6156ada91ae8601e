"""Lists: Kaggle's run lengths, and Hugging Face's imagefolder with masks or objects."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.annotation_files import (
    FLAT,
    HEIGHT,
    WIDTH,
    blob_mask,
    box_mask,
    complaints,
    iou,
    only,
    save_mask,
    save_photo,
)
from helpers.tool_files import runs_of, write_csv
from robustvit import UserError, make_masks
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading

RUNS = runs_of(box_mask())

SHARP = BoxReading(shape="box", feather=0)


def kaggle(folder, *rows: list[str]):
    save_photo(folder / "train" / "a.png")
    return read_annotations("kaggle", write_csv(folder / "train.csv", *rows), None, boxes=SHARP)


@pytest.mark.parametrize("seed", range(2))
def test_runs_count_pixels_down_the_columns_from_one(tmp_path, seed):
    mask = blob_mask(seed)
    found = only(kaggle(tmp_path, ["ImageId", "EncodedPixels"], ["a.png", runs_of(mask)]))
    assert np.array_equal(found.mask > 0.5, mask)


NAMES = {
    "class in a column": (["ImageId", "EncodedPixels", "ClassId"], ["a.png", RUNS, "3"], "3"),
    "class in the name": (["ImageId_ClassId", "EncodedPixels"], ["a.png_3", RUNS], "3"),
    "label in the name": (["Image_Label", "EncodedPixels"], ["a.png_Fish", RUNS], "Fish"),
    "no class": (["img", "rle_mask"], ["a.png", RUNS], None),
    "size": (["id", "annotation", "width", "height"], ["a", RUNS, str(WIDTH), str(HEIGHT)], None),
    "semicolons": (["id;rle"], [f"a;{RUNS}"], None),
}


@pytest.mark.parametrize("name", NAMES)
def test_columns(tmp_path, name):
    titles, row, category = NAMES[name]
    found = only(kaggle(tmp_path, titles, row))
    assert found.category == category
    assert np.array_equal(found.mask > 0.5, box_mask())


def test_several_objects_of_a_photo_and_rows_without_one(tmp_path):
    save_photo(tmp_path / "train" / "b.png")
    rows = [["a", "1 5"], ["a", RUNS], ["b", ""], ["b", "-1"]]
    found = kaggle(tmp_path, ["ImageId", "EncodedPixels"], *rows)
    photo, empty = found.photos
    assert [one.mask.sum() for one in photo.read()] == [5, 300]
    assert empty.read() == []


def test_a_cell_may_be_long(tmp_path):
    mask = blob_mask()
    big = np.kron(mask, np.ones((20, 20), bool))
    save_photo(tmp_path / "train" / "a.png", (20 * WIDTH, 20 * HEIGHT))
    spotted = big.copy()
    spotted[::2] = False
    source = write_csv(tmp_path / "t.csv", ["id", "rle"], ["a", runs_of(spotted)])
    assert source.stat().st_size > 2**17
    (photo,) = read_annotations("kaggle", source, None, boxes=SHARP)
    assert np.array_equal(photo.read()[0].mask > 0.5, spotted)


BROKEN = {
    "odd": ("1 2 3", "an odd number of numbers (3)"),
    "words": ("a b", "not whole numbers"),
    "halves": ("1.5 2", "not whole numbers"),
    "from zero": ("0 5", "starts before pixel 1"),
    "no length": ("5 0", "starts before pixel 1 or has no length"),
    "beyond": ("1300 30", "beyond the last pixel, 30 x 44 = 1320"),
    "huge": ("9223372036854775807 9223372036854775807", "beyond the last pixel"),
    "too huge": ("9" * 30 + " 1", "not whole numbers"),
    "back": ("50 5 20 5", "go back, as where starts count from the end of the run before"),
    "overlap": ("5 10 8 2", "overlap"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_runs_are_named(tmp_path, name):
    runs, words = BROKEN[name]
    found = complaints(kaggle(tmp_path, ["ImageId", "EncodedPixels"], ["a.png", runs]))
    assert words in found
    assert "line 2" in found


@pytest.mark.parametrize(("height", "width"), [("30", "44"), ("30.0", "44.0"), ("", ""), ("30", "")])
def test_the_size_of_a_photo_may_be_missing_or_written_with_decimals(tmp_path, height, width):
    row = ["a", RUNS, height, width]
    assert np.array_equal(only(kaggle(tmp_path, ["id", "rle", "height", "width"], row)).mask > 0.5, box_mask())


@pytest.mark.parametrize("size", [("31", "44"), ("31.0", "44.0"), ("44", "30"), ("30.5", "44"), ("9" * 5000, "44")])
def test_another_size_than_the_photos_is_noticed(tmp_path, size):
    found = kaggle(tmp_path, ["id", "rle", "height", "width"], ["a", RUNS, *size])
    assert not found.photos
    assert "has 30 x 44 pixels (height x width), the annotation says" in complaints(found)


def test_lists_without_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="columns ImageId and EncodedPixels in"):
        kaggle(tmp_path, ["id", "label"], ["a", "cat"])
    with pytest.raises(UserError, match="line 3: expected the name of a photo"):
        kaggle(tmp_path, ["id", "rle"], ["a", RUNS], ["", RUNS])
    with pytest.raises(UserError, match=r"line 3: expected the name of a photo and a class.*found 'b\.png'"):
        kaggle(tmp_path, ["ImageId_ClassId", "EncodedPixels"], ["a.png_1", RUNS], ["b.png", RUNS])


def image_folder(folder, *rows: dict):
    save_photo(folder / "train" / "a.png")
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "train" / "metadata.jsonl").write_text(text)
    return read_annotations("imagefolder", folder, None, boxes=SHARP)


OBJECTS = {
    "boxes": {"bbox": [[10, 5, 20, 15]], "categories": ["cat"]},
    "outlines": {"bbox": [[0, 0, 1, 1]], "category": ["cat"], "segmentation": [[FLAT]], "id": [4]},
    "list of objects": [{"bbox": [10, 5, 20, 15], "label": "cat"}],
    "text": json.dumps({"bbox": [[10, 5, 20, 15]], "labels": ["cat"]}),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects(tmp_path, name):
    found = only(image_folder(tmp_path, {"file_name": "a.png", "objects": OBJECTS[name]}))
    assert found.category == "cat"
    assert iou(found.mask, box_mask()) > 0.99


def test_masks_are_no_photos(tmp_path):
    save_mask((255 * box_mask()).astype(np.uint8), tmp_path / "train" / "b.png")
    found = image_folder(tmp_path, {"file_name": "a.png", "mask": "b.png", "label": "cat"})
    assert [photo.image.name for photo in found] == ["a.png"]
    assert only(found).category == "cat"


def test_parts_have_metadata_each(tmp_path):
    row = {"file_name": "a.png", "objects": OBJECTS["boxes"]}
    image_folder(tmp_path, row)
    save_photo(tmp_path / "test" / "a.png")
    (tmp_path / "test" / "metadata.jsonl").write_text(json.dumps(row))
    assert len(read_annotations("imagefolder", tmp_path, None, boxes=SHARP).photos) == 2
    one = read_annotations("imagefolder", tmp_path / "test" / "metadata.jsonl", None, boxes=SHARP)
    assert [photo.image.parent.name for photo in one] == ["test"]


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, which comes with datasets")
    import pyarrow

    save_photo(tmp_path / "a.png")
    rows = [{"file_name": "a.png", "objects": OBJECTS["boxes"]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    assert iou(only(read_annotations("auto", tmp_path, None, boxes=SHARP)).mask, box_mask()) > 0.99
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="as parquet"):
        read_annotations("imagefolder", tmp_path, None, boxes=SHARP)


BROKEN_ROWS = {
    "no name": ({"file_name": 3, "objects": []}, "the name of a photo, found 3"),
    "lengths": ({"file_name": "a.png", "objects": {"bbox": [], "category": ["x"]}}, "differ in length (0, 1)"),
    "no box": ({"file_name": "a.png", "objects": {"id": [1]}}, "an outline, or a box of four numbers"),
    "no object": ({"file_name": "a.png", "objects": [3]}, "expected object 0 with an outline or a box"),
    "nothing": ({"file_name": "a.png", "objects": None}, "expected objects, found None"),
    "outside": ({"file_name": "a.png", "mask": "../../etc/passwd.png"}, "expected a mask below"),
    "missing": ({"file_name": "a.png", "mask": "c.png"}, "found none"),
    "no photo": ({"file_name": "../b.png", "objects": []}, "no photo"),
}


@pytest.mark.parametrize("name", BROKEN_ROWS)
def test_broken_rows_are_named(tmp_path, name):
    row, words = BROKEN_ROWS[name]
    assert words in complaints(image_folder(tmp_path, row))


def test_surplus_cells_of_metadata_are_ignored(tmp_path):
    save_photo(tmp_path / "a.png")
    save_mask(box_mask(), tmp_path / "m.png")
    (tmp_path / "metadata.csv").write_text("file_name,mask_file_name,label\na.png,m.png,cat,more\n")
    assert only(read_annotations("imagefolder", tmp_path, None)).category == "cat"


def test_metadata_without_masks_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"a column of masks \(mask_file_name\) or objects .*found 'file_name', 'label'"
    ):
        image_folder(tmp_path, {"file_name": "a.png", "label": 0})
    with pytest.raises(UserError, match="line 1: expected a JSON object"):
        image_folder(tmp_path, 3)


def test_a_row_without_a_mask_is_a_photo_without_an_object(tmp_path):
    for name in ("a", "b"):
        save_photo(tmp_path / f"{name}.png")
    save_mask(box_mask(), tmp_path / "masks" / "m.png")
    write_csv(tmp_path / "metadata.csv", ["file_name", "mask_file_name", "label"], ["a.png", "masks/m.png", "defect"],
              ["b.png", "", "ok"])  # fmt: skip
    done = make_masks(str(tmp_path), from_="imagefolder", out=str(tmp_path / "out"))
    assert [(record.label, record.verdict) for record in done.records] == [("defect", "good"), ("ok", "no-object")]


@pytest.mark.parametrize("column", ["segmentation", "annotation"])
def test_columns_whose_names_say_little_are_told_by_their_cells(tmp_path, column):
    save_photo(tmp_path / "train" / "a.png")
    write_csv(tmp_path / "train.csv", ["id", column], ["a", RUNS])
    assert len(read_annotations("auto", tmp_path / "train.csv", None).photos) == 1
    write_csv(tmp_path / "other.csv", ["id", column], ["a", "a sentence"])
    with pytest.raises(UserError):
        read_annotations("auto", tmp_path / "other.csv", None)


def test_the_folder_of_all_training_photos_is_no_class(tmp_path):
    save_photo(tmp_path / "train_images" / "a.png")
    source = write_csv(tmp_path / "train.csv", ["id", "rle"], ["a", RUNS])
    done = make_masks(str(source), from_="kaggle", out=str(tmp_path / "out"))
    assert [record.label for record in done.records] == [None]


def test_an_empty_mask_of_a_class_that_has_masks_is_no_negative(tmp_path):
    save_mask((255 * box_mask()).astype(np.uint8), tmp_path / "train" / "m.png")
    for name in "bc":
        save_photo(tmp_path / "train" / f"{name}.png")
    labels = {"a": ("m.png", "cat"), "b": ("", "cat"), "c": ("", "ok")}
    rows = [{"file_name": f"{name}.png", "mask": mask, "label": label} for name, (mask, label) in labels.items()]
    found = image_folder(tmp_path, *rows)
    assert [(photo.image.stem, photo.label) for photo in found] == [("a", None), ("c", "ok")]
    assert found.categories == ("cat", "ok")
    assert "1 photo without a box or mask, but of a class that has objects elsewhere (cat)" in "\n".join(found.problems)
