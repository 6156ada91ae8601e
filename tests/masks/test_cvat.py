"""CVAT for images: shapes against slow drawings of single pixels, and what is broken by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.annotation_files import HEIGHT, WIDTH, blob_mask, box_mask, complaints, iou, only, save_photo
from helpers.tool_files import by_rows, cvat
from robustvit import UserError
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading

SHARP = BoxReading(shape="box", feather=0)


def read(folder, *shapes: str, **options):
    save_photo(folder / "images" / "a.png")
    (folder / "annotations.xml").write_text(cvat(*shapes, **options))
    return read_annotations("cvat", folder / "annotations.xml", None, boxes=SHARP)


def turned_back(x: float, y: float, pivot: tuple[float, float], degrees: float) -> tuple[float, float]:
    """Where a point was before all was turned clockwise, as seen with y downwards."""
    angle, across, down = math.radians(degrees), x - pivot[0], y - pivot[1]
    return (
        pivot[0] + across * math.cos(angle) + down * math.sin(angle),
        pivot[1] - across * math.sin(angle) + down * math.cos(angle),
    )


@pytest.mark.parametrize("degrees", [0, 30, 90, 215.5, 360])
def test_a_box_turns_around_its_centre(tmp_path, degrees):
    found = only(read(tmp_path, f'<box label="cat" xtl="12" ytl="9" xbr="32" ybr="19" rotation="{degrees}"/>'))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = turned_back(column + 0.5, row + 0.5, (22, 14), degrees)
            expected[row, column] = 12 <= x <= 32 and 9 <= y <= 19
    assert iou(found.mask, expected) > 0.95


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_an_ellipse(tmp_path, degrees):
    found = only(read(tmp_path, f'<ellipse label="cat" cx="20" cy="15" rx="12" ry="5" rotation="{degrees}"/>'))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = turned_back(column + 0.5, row + 0.5, (20, 15), degrees)
            expected[row, column] = ((x - 20) / 12) ** 2 + ((y - 15) / 5) ** 2 <= 1
    assert np.array_equal(found.mask > 0.5, expected)


def test_runs_of_a_mask_go_along_the_rows_of_its_box(tmp_path):
    inner = blob_mask()[:12, :9]
    rle = ", ".join(map(str, by_rows(inner)))
    found = only(read(tmp_path, f'<mask label="dog" rle="{rle}" left="20" top="4" width="9" height="12"/>'))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[4:16, 20:29] = inner
    assert found.category == "dog"
    assert np.array_equal(found.mask > 0.5, expected)


def test_what_marks_no_area_is_counted(tmp_path):
    line = '<polyline label="cat" points="1,1;2,2"/><points label="cat" points="1,1"/><tag label="cat"/>'
    polygon = '<polygon label="cat" points="10,5;30,5;30,20;10,20"/>'
    found = read(tmp_path, polygon, line)
    assert found.categories == ("cat", "dog")
    assert "mark no area are left out: 1 points, 1 polyline, 1 tag" in complaints(found)
    assert iou(found.photos[0].read()[0].mask, box_mask()) > 0.95


BROKEN = {
    "two points": ('<polygon label="cat" points="1,1;2,2"/>', "a polygon of 2 points"),
    "words": ('<polygon label="cat" points="a,b;1,2;3,4"/>', "numbers are missing, NaN"),
    "no points": ('<polygon label="cat"/>', "a polygon of 0 points"),
    "infinite": ('<polygon label="cat" points="inf,1;2,2;3,9"/>', "NaN or far"),
    "no side": ('<box label="cat" xtl="1" ytl="1" xbr="5"/>', "a box whose numbers are missing"),
    "no area": ('<box label="cat" xtl="5" ytl="1" xbr="5" ybr="9"/>', "a box without an area"),
    "off": ('<box label="cat" xtl="500" ytl="500" xbr="505" ybr="509"/>', "a box outside the photo"),
    "flat": ('<ellipse label="cat" cx="5" cy="5" rx="0" ry="3"/>', "an ellipse without an area"),
    "runs": ('<mask label="cat" rle="1, 2" left="1" top="1" width="3" height="3"/>', "sum to 3, not to 3 x 3 = 9"),
    "minus": ('<mask label="cat" rle="-1, 10" left="1" top="1" width="3" height="3"/>', "not whole numbers"),
    "size": ('<mask label="cat" rle="1" left="1" top="1" width="99999" height="99999"/>', "the photo has 30 x 44"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_shapes_are_named(tmp_path, name):
    shape, words = BROKEN[name]
    found = complaints(read(tmp_path, shape))
    assert words in found
    assert "a.png: " in found


def test_another_size_and_another_photo(tmp_path):
    text = cvat().replace(f'width="{WIDTH}"', 'width="99"')
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "annotations.xml").write_text(text)
    assert "the annotation says 30 x 99" in complaints(read_annotations("cvat", tmp_path, None, boxes=SHARP))
    assert "no photo 'b.png'" in complaints(read(tmp_path, name="b.png"))


def test_tracks_and_other_xml_are_refused(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text("<annotations><meta/><track id='0' label='cat'/></annotations>")
    with pytest.raises(UserError, match=r"tracks of a video: export it as CVAT for images 1\.1"):
        read_annotations("cvat", path, None, boxes=SHARP)
    path.write_text("<annotation><object/></annotation>")
    with pytest.raises(UserError, match="found <annotation>"):
        read_annotations("cvat", path, None, boxes=SHARP)


def test_several_files_are_asked_about(tmp_path):
    for name in ("one.xml", "two.xml"):
        (tmp_path / name).write_text(cvat())
    with pytest.raises(UserError, match=r"found 2, such as .*one\.xml"):
        read_annotations("cvat", tmp_path, None, boxes=SHARP)
