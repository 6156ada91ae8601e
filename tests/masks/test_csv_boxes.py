"""Lists of boxes: every way to write a box is the same mask; what can be read in two ways is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.annotation_files import HEIGHT, WIDTH, box_mask, complaints, only, save_photo
from helpers.tool_files import write_csv
from robustvit import UserError, make_masks
from robustvit.cli import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading

SHARP = BoxReading(shape="box", feather=0)
LISTS = {  # the box of ``box_mask``
    "tensorflow": ["filename,width,height,class,xmin,ymin,xmax,ymax", f"a.png,{WIDTH},{HEIGHT},cat,10,5,30,20"],
    "corners": ["image,x1,y1,x2,y2,label", "a.png,10,5,30,20,cat"],
    "corners from 0": ["image,x0,y0,x1,y1,label", "a.png,10,5,30,20,cat"],
    "rsna": ["patientId,x,y,width,height,Target", "a,10.0,5.0,20.0,15.0,cat"],
    "wheat": ["image_id,width,height,bbox,class", f'a,{WIDTH},{HEIGHT},"[10.0, 5.0, 20.0, 15.0]",cat'],
    "centre": ["image,x_center,y_center,width,height,label", "a.png,20,12.5,20,15,cat"],
    "order": ["ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax", "a,cat,1,10,30,5,20"],
    "sides, and the size of the photo": ["file,width,height,class,x,y,w,h", f"a.png,{WIDTH},{HEIGHT},cat,10,5,20,15"],
    "decimal commas": ["image;x_min;y_min;x_max;y_max;label", "a.png;10,0;5,0;30,0;20,0;cat"],
}


def write(folder, lines: list[str]):
    save_photo(folder / "photos" / "a.png")
    source = folder / "boxes.csv"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return source


def read(folder, *lines: str, boxes: BoxReading = SHARP):
    return read_annotations("csv-boxes", write(folder, [*lines]), folder / "photos", boxes=boxes)


@pytest.mark.parametrize("name", LISTS)
def test_every_way_to_write_a_box(tmp_path, name):
    found = only(read(tmp_path, *LISTS[name]))
    assert found.category == "cat"
    assert np.array_equal(found.mask > 0.5, box_mask())


@pytest.mark.parametrize("name", LISTS)
def test_the_format_is_told_from_the_columns(tmp_path, name):
    source = write(tmp_path, LISTS[name])
    done = make_masks(str(source), from_="auto", images=str(tmp_path / "photos"), out=str(tmp_path / "out"))
    assert [record.label for record in done.records] == ["cat"]


def test_from_the_command_line_a_row_without_a_box_is_a_photo_without_an_object(tmp_path, capsys):
    source = write(tmp_path, ["image,xmin,ymin,xmax,ymax,label", "a.png,10,5,30,20,cat", "b.png,,,,,nothing"])
    save_photo(tmp_path / "photos" / "b.png")
    options = ["--from", "csv-boxes", "--images", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    assert cli.main(["masks", str(source), *options]) == 0
    assert "1 photo said to show no object" in capsys.readouterr().out
    cat, empty = read_manifest(tmp_path / "out" / "manifest.csv")
    assert (cat.label, cat.verdict) == ("cat", "good")
    assert (empty.label, empty.verdict) == ("nothing", "no-object")
    assert not read_mask(empty.mask).any()


def test_several_boxes_and_detections_that_are_not_sure(tmp_path):
    lines = ["image,xmin,ymin,xmax,ymax,label,score", "a.png,1,1,3,3,cat,0.9", "a.png,10,5,30,20,cat,0.2"]
    sure = BoxReading(shape="box", feather=0, min_confidence=0.5)
    (photo,) = read(tmp_path, *lines, boxes=sure).photos
    assert [one.mask.sum() for one in photo.read()] == [4]


def test_shares_and_corners_written_as_sides_are_asked_about(tmp_path):
    with pytest.raises(UserError, match=r"all lie in \[0, 1\].*--box-units"):
        read(tmp_path, "image,xmin,ymin,xmax,ymax", "a.png,0.1,0.1,0.5,0.5")
    with pytest.raises(UserError, match="fit as two corners"):
        read(tmp_path, "image,bbox", f'a.png,"[20, 15, {WIDTH}, {HEIGHT}]"')
    anyway = BoxReading(shape="box", feather=0, units="pixels")
    assert read(tmp_path, "image,bbox", f'a.png,"[20, 15, {WIDTH}, {HEIGHT}]"', boxes=anyway).photos


BROKEN = {
    "words": ("a.png,left,5,30,20", "expected a box of four numbers, found 'left 5 30 20'"),
    "a number missing": ("a.png,10,,30,20", "expected a box of four numbers"),
    "turned around": ("a.png,30,20,10,5", "a box of -20 x -15 pixels"),
    "elsewhere": ("b.png,1,1,3,3", "no photo 'b.png'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rows_are_named(tmp_path, name):
    row, words = BROKEN[name]
    assert words in complaints(read(tmp_path, "image,xmin,ymin,xmax,ymax", row))


@pytest.mark.parametrize("score", ["high", "95", "nan"])
def test_a_confidence_that_is_none_is_named_with_its_line(tmp_path, score):
    rows = [f"a.png,1,1,3,3,cat,{score}", "a.png,10,5,30,20,cat,0.9"]
    found = read(tmp_path, "image,xmin,ymin,xmax,ymax,label,score", *rows)
    assert np.array_equal(found.photos[0].read()[0].mask > 0.5, box_mask())
    assert f"boxes.csv, line 2: expected a confidence in [0, 1], found '{score}'" in complaints(found)


def test_a_list_without_titles_or_boxes_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected columns of a photo and its box"):
        read(tmp_path, "a.png,10,5,30,20,cat")
    with pytest.raises(UserError, match="expected the name of a photo"):
        read(tmp_path, "image,xmin,ymin,xmax,ymax", ",1,1,3,3")


def test_all_parts_of_a_set_of_roboflow_are_read(tmp_path):
    for part in ("train", "valid"):
        save_photo(tmp_path / part / f"{part}.png")
        rows = ["filename", "class", "xmin", "ymin", "xmax", "ymax"], [f"{part}.png", "cat", "10", "5", "30", "20"]
        write_csv(tmp_path / part / "_annotations.csv", *rows)
    done = make_masks(str(tmp_path), from_="auto", out=str(tmp_path / "out"))
    assert len(done.records) == 2
    assert "all of train, valid are read" in "\n".join(done.problems)


def test_a_photo_without_a_box_of_a_class_that_has_some_is_no_negative(tmp_path):
    rows = ["image,xmin,ymin,xmax,ymax,label", "a.png,10,5,30,20,cat", "b.png,,,,,cat", "c.png,,,,,No finding"]
    source = write(tmp_path, rows)
    for name in "bc":
        save_photo(tmp_path / "photos" / f"{name}.png")
    options = {"from_": "csv-boxes", "images": str(tmp_path / "photos")}
    done = make_masks(str(source), out=str(tmp_path / "out"), **options)
    assert [(one.image.stem, one.verdict) for one in done.records] == [("a", "good"), ("c", "no-object")]
    assert "1 photo without a box or mask, but of a class that has objects elsewhere (cat)" in "\n".join(done.problems)
    cats = make_masks(str(source), out=str(tmp_path / "cats"), categories="cat", **options)
    assert [one.image.stem for one in cats.records] == ["a"]
    assert "c.png: no object of the categories asked for" in "\n".join(cats.problems)
    both = make_masks(str(source), out=str(tmp_path / "both"), categories="cat,No finding", **options)
    assert [one.image.stem for one in both.records] == ["a", "c"]


@pytest.mark.parametrize("first", [0, 1])
def test_four_corners_are_refused(tmp_path, first):
    names = [f"{axis}{number}" for number in range(first, first + 4) for axis in "xy"]
    with pytest.raises(UserError, match=rf"found more corners \(x{first + 2}, y{first + 2}\)"):
        read(tmp_path, f"image,{','.join(names)}", "a.png,10,5,30,5,30,20,10,20")


def test_two_pairs_of_sides_are_asked_about(tmp_path):
    with pytest.raises(UserError, match="found width, height and w, h"):
        read(tmp_path, "image,left,top,width,height,w,h", f"a.png,10,5,{WIDTH},{HEIGHT},20,15")


@pytest.mark.parametrize("broken", ["[20, 15, 20, 25]", "[nan, 15, 30, 25]"])
def test_a_broken_box_does_not_hide_that_the_others_are_corners(tmp_path, broken):
    rows = [f'a.png,"[20, 15, {WIDTH}, {HEIGHT}]"'] * 20
    with pytest.raises(UserError, match=r"2[01] of 2[01] reach beyond their photos, and 20 fit as two corners"):
        read(tmp_path, "image,bbox", *rows, f'a.png,"{broken}"')


def test_small_corners_do_not_hide_that_others_reach_beyond_the_photo(tmp_path):
    rows = ['a.png,"[1, 1, 4, 4]"'] * 6 + [f'a.png,"[20, 15, {WIDTH}, {HEIGHT}]"'] * 4
    with pytest.raises(UserError, match="4 of 10 reach beyond"):
        read(tmp_path, "image,bbox", *rows)
    sides = ['a.png,"[20, 15, 5, 5]"'] * 6 + [f'a.png,"[20, 15, {WIDTH}, {HEIGHT}]"'] * 4
    assert read(tmp_path / "sides", "image,bbox", *sides).photos
