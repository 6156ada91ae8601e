"""Every annotation tool: its format is told from its files, and its masks arrive, by command and in Python."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from helpers.annotation_files import box_mask, coco, iou, save_mask, save_photo, write_json
from helpers.hostile import said
from helpers.tool_files import TOOLS, cvat, runs_of, supervisely, write_csv, write_tool
from robustvit import UserError, make_masks
from robustvit.cli.main import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotations import read_annotations, resolve_format


@pytest.mark.parametrize("name", TOOLS)
def test_the_format_is_told_from_the_files(tmp_path, name):
    source, images = write_tool(name, tmp_path / "set")
    assert resolve_format("auto", source) == TOOLS[name][0]
    found = read_annotations("auto", source, images)
    category = None if name == "sa-1b" else "cat"  # which has no classes
    assert category is None or category in found.categories
    for photo in found:
        (one,) = photo.read()
        assert one.category == category
        assert iou(one.mask, box_mask()) > 0.99
        assert photo.content()


@pytest.mark.parametrize("name", TOOLS)
def test_the_command_writes_masks(tmp_path, name, capsys):
    source, images = write_tool(name, tmp_path / "set")
    words = ["masks", source, "--from", TOOLS[name][0], "--out", tmp_path / "masks"]
    assert cli([str(word) for word in [*words, *([] if images is None else ["--images", images])]]) == 0
    assert "good" in capsys.readouterr().out
    records = read_manifest(tmp_path / "masks" / "manifest.csv")
    assert records
    for record in records:
        assert (record.verdict, record.label, record.source) == (
            "good",
            None if name == "sa-1b" else "cat",
            TOOLS[name][0],
        )
        assert iou(read_mask(record.mask), box_mask()) > 0.99


def test_python_and_a_second_call(tmp_path):
    source, images = write_tool("label studio", tmp_path / "set")
    for made in (1, 0):
        done = make_masks(str(source), out=str(tmp_path / "m"), from_="auto", images=str(images))
        assert (done.made, len(done.records)) == (made, 1)
    assert '"from": "label-studio"' in (tmp_path / "m" / "settings.json").read_text()


def test_a_changed_annotation_is_read_again(tmp_path):
    source, _ = write_tool("cvat", tmp_path / "set")
    make_masks(str(source), out=str(tmp_path / "m"), from_="cvat")
    text = (source / "annotations.xml").read_text()
    (source / "annotations.xml").write_text(text.replace("30,20", "30,25"))
    assert make_masks(str(source), out=str(tmp_path / "m"), from_="cvat").made == 1


def test_two_formats_in_one_folder_are_asked_about(tmp_path):
    write_tool("cvat", tmp_path)
    write_tool("datumaro", tmp_path)
    with pytest.raises(UserError, match=r"may be .*cvat.*: say which with --from") as caught:
        resolve_format("auto", tmp_path)
    assert "datumaro" in str(caught.value)


def test_what_cannot_be_told(tmp_path):
    save_mask(np.zeros((4, 4), np.uint8), tmp_path / "masks" / "a.png")
    with pytest.raises(UserError, match="only images in") as caught:
        resolve_format("auto", tmp_path / "masks")
    assert "--from grey, binary" in str(caught.value)
    with pytest.raises(UserError, match="found other JSON"):
        resolve_format("auto", write_json({"a": 1}, tmp_path / "a.json"))
    with pytest.raises(UserError, match="VGG Image Annotator"):
        resolve_format("auto", write_json({"_via_img_metadata": {}}, tmp_path / "via.json"))
    with pytest.raises(UserError, match="found nothing"):
        resolve_format("auto", tmp_path / "nowhere")
    with pytest.raises(UserError, match="found a list with the columns id, label"):
        resolve_format("auto", write_csv(tmp_path / "labels.csv", ["id", "label"], ["a", "cat"]))


def test_an_archive_is_to_be_unpacked(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", cvat())
    line = said(capsys, "masks", tmp_path / "export.zip", "--from", "cvat", "--out", tmp_path / "m")
    assert "unpack it" in line


def test_photos_that_are_nowhere_are_asked_for(tmp_path):
    (tmp_path / "annotations.xml").write_text(cvat())
    with pytest.raises(UserError, match="name their folder with --images"):
        read_annotations("cvat", tmp_path, None)


@pytest.mark.parametrize("name", ["cvat", "supervisely", "datumaro", "fiftyone", "kaggle", "sa-1b"])
def test_photos_may_lie_elsewhere(tmp_path, name):
    source, _ = write_tool(name, tmp_path / "set")
    save_photo(tmp_path / "photos" / "a.png")
    (photo,) = read_annotations(name, source, tmp_path / "photos")
    assert photo.image == tmp_path / "photos" / "a.png"
    assert iou(photo.read()[0].mask, box_mask()) > 0.99


def test_which_belongs_to_two_formats(tmp_path):
    source, _ = write_tool("cvat", tmp_path)
    with pytest.raises(UserError, match="--which belongs to label-studio and fiftyone"):
        read_annotations("cvat", source, None, which="newest")


def test_the_parts_of_a_set_are_named(tmp_path):
    source, _ = write_tool("roboflow coco", tmp_path / "set")
    found = read_annotations("coco", source, None)
    assert [photo.image.name for photo in found] == ["train.png", "valid.png"]
    assert any("all of train, valid are read" in line for line in found.problems)
    (source / "valid" / "valid.png").unlink()
    save_photo(source / "valid" / "other.png")
    assert any("no photo 'valid.png'" in line for line in read_annotations("coco", source, None).problems)


def test_kaggle_may_run_along_the_rows(tmp_path):
    mask = box_mask()
    mask[8:18, 14:17] = False
    save_photo(tmp_path / "a.png")
    for along_rows, right, wrong in ((False, "kaggle", "kaggle-rows"), (True, "kaggle-rows", "kaggle")):
        source = write_csv(tmp_path / "t.csv", ["id", "rle_mask"], ["a", runs_of(mask, along_rows)])
        (photo,) = read_annotations(right, source, None)
        assert np.array_equal(photo.read()[0].mask > 0.5, mask)
        with pytest.raises(UserError, match=f"say --from {right}$"):
            read_annotations(wrong, source, None)


@pytest.mark.parametrize("name", ["coco", "cvat", "voc-xml", "yolo", "supervisely"])
def test_masks_written_into_an_export_are_not_read_with_it(tmp_path, name):
    if name == "coco":
        save_photo(tmp_path / "images" / "a.png")
        write_json(coco(), tmp_path / "instances.json")
    elif name == "voc-xml":
        save_photo(tmp_path / "JPEGImages" / "a.png")
        box = "<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
        xml = f"<annotation><filename>a.png</filename><object><name>cat</name>{box}</object></annotation>"
        (tmp_path / "a.xml").write_text(xml)
    elif name == "yolo":
        save_photo(tmp_path / "images" / "a.png")
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    elif name == "cvat":
        save_photo(tmp_path / "images" / "a.png")
        (tmp_path / "annotations.xml").write_text(cvat())
    else:
        save_photo(tmp_path / "ds" / "img" / "a.png")
        write_json(supervisely(), tmp_path / "ds" / "ann" / "a.png.json")
    for _ in range(2):
        done = make_masks(str(tmp_path), from_="auto", out=str(tmp_path / "masks"), to="coco")
        assert len(done.records) == 1
        assert not any("/masks/" in line for line in done.problems), done.problems


def test_a_list_of_no_known_format_is_named_with_its_columns(tmp_path):
    source = write_csv(tmp_path / "via.csv", ["filename", "region_shape_attributes"], ["a.png", "{}"])
    with pytest.raises(UserError, match="a list with the columns filename, region_shape_attributes"):
        resolve_format("auto", source)


def test_photos_are_asked_for_by_their_option(tmp_path):
    with pytest.raises(UserError, match="--images"):
        read_annotations("coco", write_json(coco(), tmp_path / "instances.json"), None)


def test_a_list_with_boxes_and_masks_is_asked_about(tmp_path):
    source = write_csv(tmp_path / "a.csv", ["image", "mask", "xmin", "ymin", "xmax", "ymax"], ["a", "m.png", *"1234"])
    with pytest.raises(UserError, match="may be csv-boxes or imagefolder: say which with --from"):
        resolve_format("auto", source)


def test_a_list_beside_a_data_set_counts_only_where_its_reader_looks_for_it(tmp_path):
    rows = ["image", "xmin", "ymin", "xmax", "ymax"], ["a.png", *"1234"]
    write_csv(tmp_path / "boxes.csv", *rows)
    assert resolve_format("auto", tmp_path) == "csv-boxes"  # whose reader says to name the file
    write_json({"images": [], "annotations": []}, tmp_path / "coco.json")
    assert resolve_format("auto", tmp_path) == "coco"
    write_csv(tmp_path / "_annotations.csv", *rows)
    with pytest.raises(UserError, match=r"may be .*csv-boxes"):
        resolve_format("auto", tmp_path)
