"""Boxes: soft masks drawn in them equal a plain loop in float64, turned photos, units, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.boxes import (
    doubt_units,
    draw_box,
    draw_ellipse,
    place_box,
)
from robustvit.masks.annotations.objects import AnnotatedObject, BoxedObject, BrokenEntry
from robustvit.masks.annotations.orientation import View
from robustvit.masks.annotations.shapes import as_rectangle
from robustvit.masks.annotations.values import expect_box, expect_confidence


def plain(corners, size, feather, ellipse):
    """The mask pixel by pixel."""
    left, top, right, bottom = corners
    mask = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            across = abs(column + 0.5 - (left + right) / 2) / ((right - left) / 2)
            down = abs(row + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
            radius = math.sqrt(across**2 + down**2) if ellipse else max(across, down)
            mask[row, column] = min(1.0, max(0.0, (1 - radius) / feather)) if feather else float(radius <= 1)
    return mask


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(-9, 14), st.floats(-9, 9), st.floats(0.3, 25), st.floats(0.3, 25)),
    st.sampled_from([0.0, 0.1, 0.2, 0.75, 1.0]),
)
def test_shapes_equal_a_plain_loop(box, feather):
    corners = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    for draw, ellipse in ((draw_ellipse, True), (draw_box, False)):
        found, expected = draw(corners, (10, 15), feather), plain(corners, (10, 15), feather, ellipse)
        assert found.dtype == np.float32
        if feather:
            assert np.abs(found - expected).max() < 1e-6 / feather
        else:
            assert (found != expected).mean() < 0.1  # rounding may move a pixel whose centre lies on the edge


def test_the_edge_has_the_width_that_is_said():
    mask = draw_box((0, 0, 100, 40), (40, 100), feather=0.2)
    middle = mask[20]
    assert middle[0] == pytest.approx(0.05)  # half a pixel of the ten
    assert middle[9] == pytest.approx(0.95)
    assert (middle[10:90] == 1).all()
    assert np.array_equal(draw_box((2, 3, 7, 9), (12, 10), feather=0), np.pad(np.ones((6, 5)), ((3, 3), (2, 3))))
    area = draw_ellipse((0, 0, 200, 100), (100, 200), feather=0).sum()
    assert area == pytest.approx(math.pi * 100 * 50, rel=1e-3)


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_box_turns_with_its_photo(tag):
    view = View(12, 20, tag)
    corners = (2.0, 3.0, 9.0, 7.0)
    turned = view.upright_corners(corners)
    size = view.upright(np.zeros(view.size, np.float32)).shape
    assert np.array_equal(view.upright(draw_box(corners, view.size, 0)), draw_box(turned, size, 0))


def test_corners():
    assert expect_box([1, 2, 30, 40]) == (1, 2, 30, 40)
    assert expect_box([1, 2, 30, 40], sides=True) == (1, 2, 31, 42)
    assert expect_box([0.5, 0.5, 0.2, 0.4], centred=True) == pytest.approx((0.4, 0.3, 0.6, 0.7))
    for wrong in (None, [], [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, True], "1 2 3 4", {"x": 1}, [10**400, 1, 1, 1]):
        with pytest.raises(BrokenEntry, match="box"):
            expect_box(wrong)


@pytest.mark.parametrize(
    ("corners", "words"),
    [((5, 5, 5, 9), "a box of 0 x 4"), ((5, 9, 8, 5), "a box of 3 x -4"), ((40, 2, 50, 9), "outside the photo"),
     ((-9, 2, 0, 9), "outside the photo"), ((math.nan, 0, 1, 1), "NaN"), ((0, 0, math.inf, 1), "infinite"),
     ((0, 0, 1e9, 5), "far from the photo")],
)  # fmt: skip
def test_boxes_that_are_none(corners, words):
    with pytest.raises(BrokenEntry, match=words):
        place_box(BoxedObject("cat", corners, "a.png: box 1"), (20, 30), None, [])


def test_a_box_beyond_the_frame_is_cut_off_and_said():
    complaints: list[str] = []
    beyond = BoxedObject("cat", (-10, 2, 5, 12), "a.png: box 1")
    mask = draw_box(place_box(beyond, (20, 30), None, complaints), (20, 30), 0)
    assert mask.sum() == 5 * 10
    assert complaints == ["a.png: box 1: the box reaches beyond the photo, cut off at the edge"]
    place_box(BoxedObject("cat", (-1, 2, 31, 12), "rounded"), (20, 30), None, complaints)
    assert len(complaints) == 1


def test_units():
    shares = BoxedObject("cat", (0.5, 0.5, 1, 1), "x", "shares")
    assert place_box(shares, (20, 30), None, []) == (15, 10, 30, 20)
    assert place_box(BoxedObject("cat", (0.5, 0.5, 1, 1), "x"), (20, 30), "shares", []) == (15, 10, 30, 20)
    assert place_box(shares, (20, 30), "pixels", []) == (0.5, 0.5, 1, 1)
    assert doubt_units([(3, 4, 20, 30), (0, 0, 1, 1)], "pixels", "x") == ""
    assert "--box-units" in doubt_units([(0.3, 0.4, 0.9, 1), (0, 0, 1, 1)], "pixels", "x")
    assert doubt_units([(0.3, 0.4, 0.9, 1), (0.1, 0.1, 3, 1)], "shares", "x") == ""
    assert "as pixels" in doubt_units([(30, 40, 90, 100), (0.1, 0.1, 3, 1)], "shares", "x")
    assert doubt_units([], "pixels", "x") == ""


def test_confidences():
    assert expect_confidence(None) is None
    assert expect_confidence(1) == 1
    for wrong in (-0.1, 98, "0.5", True, math.nan):
        with pytest.raises(BrokenEntry, match="confidence"):
            expect_confidence(wrong)


def test_upright_rectangles():
    ring = np.array([[10.0, 5], [30, 5], [30, 20], [10, 20]])
    for points in (ring, ring[::-1], np.roll(ring, 1, axis=0), np.vstack([ring, ring[:1]])):
        assert as_rectangle(points) == (10, 5, 30, 20)
    for other in (ring[:3], ring + np.eye(4)[:, :2], ring[[0, 2, 1, 3]], ring[[0, 0, 1, 1]]):
        assert as_rectangle(other) is None


def test_objects_are_counted(tmp_path):
    boxes = BoxReading(min_confidence=0.5)
    marked = [
        AnnotatedObject("cat", np.ones((20, 30), np.float32)),
        AnnotatedObject("cat", np.ones((20, 30), np.float32), confidence=0.4),
        BoxedObject("cat", (1, 1, 9, 9), "one"),
        BoxedObject("cat", (1, 1, 9, 9), "two", confidence=0.2),
        BoxedObject("cat", (1, 1, 9, 9), "three", confidence=0.9, crowd=True),
        BoxedObject("cat", (1, 1, 1, 9), "four"),
        BoxedObject("cat", (1.6, 1.6, 2.4, 2.4), "five"),
    ]
    complaints: list[str] = []
    found = boxes.read(tmp_path / "a.png", marked, View(20, 30), complaints)
    assert [one.boxed for one in found] == [False, True, True]
    assert complaints == [
        "four: a box of 0 x 8 pixels (width x height); left out",
        "five: a box that covers no pixel; left out",
    ]
    assert boxes.summary() == [
        "2 objects with a box alone: boxes as ellipse, feather 0.2 (--boxes)",
        "1 box of crowds, used like the others",
        "2 detections with a confidence below 0.5 left out (--min-confidence)",
    ]
