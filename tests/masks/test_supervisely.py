"""Supervisely's files: packed images, polygons with holes, rectangles of whole pixels, and what is broken by name."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import HEIGHT, WIDTH, blob_mask, complaints, only, save_photo, write_json
from helpers.tool_files import packed_png, supervisely
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading

SHARP = BoxReading(shape="box", feather=0)


def read(folder, *objects: dict, **changes):
    save_photo(folder / "set" / "img" / "a.png")
    write_json(supervisely(*objects) | changes, folder / "set" / "ann" / "a.png.json")
    return read_annotations("supervisely", folder, None, boxes=SHARP)


def bitmap(data: object, left: int = 20, top: int = 4, kind: str = "bitmap") -> dict:
    return {"geometryType": kind, "classTitle": "dog", "bitmap": {"data": data, "origin": [left, top]}}


def polygon(exterior: list, *interior: list) -> dict:
    points = {"exterior": exterior, "interior": list(interior)}
    return {"geometryType": "polygon", "classTitle": "cat", "points": points}


@pytest.mark.parametrize(("left", "top"), [(20, 4), (-3, -2), (40, 25)])
def test_a_bitmap_is_pasted_at_its_origin(tmp_path, left, top):
    inner = blob_mask()[:12, :9]
    found = only(read(tmp_path, bitmap(packed_png(inner), left, top)))
    expected = np.zeros((HEIGHT + 24, WIDTH + 24), bool)
    expected[top + 12 : top + 24, left + 12 : left + 21] = inner
    assert found.category == "dog"
    assert np.array_equal(found.mask > 0.5, expected[12 : 12 + HEIGHT, 12 : 12 + WIDTH])


def test_an_older_bitmap_with_transparency_and_an_alpha_mask(tmp_path):
    inner, stream = blob_mask()[:12, :9], io.BytesIO()
    pixels = np.full((12, 9, 4), 255, np.uint8)
    pixels[..., 3] = 255 * inner
    Image.fromarray(pixels).save(stream, "PNG")
    found = only(read(tmp_path, bitmap(base64.b64encode(stream.getvalue()).decode())))
    assert np.array_equal(found.mask[4:16, 20:29] > 0.5, inner)
    stream = io.BytesIO()
    Image.fromarray(np.full((3, 3), 51, np.uint8)).save(stream, "PNG", transparency=0)
    found = only(read(tmp_path, bitmap(base64.b64encode(stream.getvalue()).decode(), kind="alpha_mask")))
    assert found.mask[4:7, 20:23] == pytest.approx(0.2)


def test_points_of_a_polygon_belong_to_it_and_those_of_a_hole_do_not(tmp_path):
    found = only(
        read(tmp_path, polygon([[10, 5], [29, 5], [29, 19], [10, 19]], [[14, 8], [18, 8], [18, 12], [14, 12]]))
    )
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:20, 10:30] = True
    expected[8:13, 14:19] = False
    assert np.array_equal(found.mask > 0.5, expected)


def test_a_rectangle_holds_both_corners(tmp_path):
    shape = {"geometryType": "rectangle", "classTitle": "cat", "points": {"exterior": [[29, 19], [10, 5]]}}
    found = only(read(tmp_path, shape))
    assert found.mask.sum() == 15 * 20
    assert found.mask[5:20, 10:30].all()


def test_one_file_alone(tmp_path):
    read(tmp_path)
    (photo,) = read_annotations("supervisely", tmp_path / "set" / "ann" / "a.png.json", None, boxes=SHARP)
    assert photo.image == tmp_path / "set" / "img" / "a.png"


BROKEN = {
    "line": ({"geometryType": "line", "classTitle": "x"}, "mark no area are left out: 1 line"),
    "no kind": ({"classTitle": "x"}, "expected an object with a geometryType"),
    "no data": ({"geometryType": "bitmap", "classTitle": "x"}, "without data and origin"),
    "not base64": (bitmap("\u00e9"), "base64"),
    "no image": (bitmap("abcd"), "PNG image is broken"),
    "corners": ({"geometryType": "rectangle", "points": {"exterior": [[1, 2]]}}, "not two corners"),
    "name": ({**polygon([[1, 1], [5, 1], [5, 5]]), "classTitle": ["x"]}, "a category that is not a name"),
    "points": (polygon([[1, 1]]), "a polygon of 1 point,"),
    "off": (polygon([[500, 500], [510, 500], [510, 510]]), "covers no pixel"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(tmp_path, name):
    shape, words = BROKEN[name]
    assert words in complaints(read(tmp_path, shape))


def test_files_that_are_not_supervisely(tmp_path):
    assert "found something else" in complaints(read(tmp_path, objects=3))
    assert "31 x 44" in complaints(read(tmp_path, size={"height": 31, "width": WIDTH}))
