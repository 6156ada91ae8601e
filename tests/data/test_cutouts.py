"""Cut-outs and their placement: cases computed by hand, and Pillow's filters written a second time, slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.data.shifts.cutouts import (
    MIN_INSIDE,
    SIZES,
    Placement,
    cut_out,
    grid,
    place,
    share_inside,
    square_background,
)

CENTRE = (0.5, 0.5)


def colours(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def solid(width, height, colour=(255, 255, 255, 255)):
    return Image.new("RGBA", (width, height), colour)


def black(side):
    return Image.new("RGB", (side, side))


def lit(image):
    """Box (left, top, right, bottom) of what is not black."""
    rows, columns = np.nonzero(np.asarray(image.convert("RGB")).sum(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def slow_weights(length, wanted):
    """Weights of the triangle filter, widened where it shrinks: one row for each pixel wanted."""
    scale = length / wanted
    reach = max(scale, 1.0)
    rows = []
    for i in range(wanted):
        centre = (i + 0.5) * scale
        row = [max(0.0, 1 - abs((j + 0.5 - centre) / reach)) for j in range(length)]
        rows.append([value / sum(row) for value in row])
    return np.array(rows)


def slowly_resized(values, width, height):
    down, across = slow_weights(values.shape[0], height), slow_weights(values.shape[1], width)
    return np.einsum("yr,xc,rck->yxk", down, across, values.astype(np.float64))


def slowly_placed(cutout, background, at):
    """The recipe in plain float64, without rotation: colours weighted by their opacity, scaled, blended."""
    rgba = np.asarray(cutout).astype(np.float64)
    alpha = rgba[..., 3:] / 255
    scale = math.sqrt(at.area * background.width * background.height / (cutout.width * cutout.height))
    width, height = int(cutout.width * scale), int(cutout.height * scale)
    opaque = slowly_resized(alpha, width, height)
    colour = slowly_resized(rgba[..., :3] * alpha, width, height)
    left = int(int(at.x * background.width) - width / 2)
    top = int(int(at.y * background.height) - height / 2)
    out = np.asarray(background).astype(np.float64)
    inside = 0
    for y in range(height):
        for x in range(width):
            row, column = top + y, left + x
            if 0 <= row < background.height and 0 <= column < background.width:
                out[row, column] = out[row, column] * (1 - opaque[y, x]) + colour[y, x]
                inside += 1
    return out, inside / (width * height)


@pytest.mark.parametrize(
    "at",
    [
        Placement(0.5, 0.5, 0.2, 0),
        Placement(0.0, 0.0, 0.2, 0),
        Placement(1.0, 0.35, 0.2, 0),
        Placement(0.3, 0.9, 0.61, 0),
        Placement(0.5, 0.5, 0.02, 0),
        Placement(0.5, 0.5, 1.0, 0),
    ],
)
def test_placing_equals_the_recipe_written_plainly(at):
    rng = np.random.default_rng(1)
    cutout = colours(23, 17)
    cutout.putalpha(Image.fromarray((255 * (rng.random((17, 23)) > 0.4)).astype(np.uint8)))
    background = colours(50, 50, 2)
    image, inside = place(cutout, background, at)
    expected, share = slowly_placed(cutout, background, at)
    assert image.mode == "RGB"
    assert image.size == background.size
    assert abs(np.asarray(image) - expected).max() < 4  # Pillow rounds to whole numbers four times on the way
    assert inside == pytest.approx(share, abs=1e-12)


def test_a_box_by_hand():
    # 20 x 10 pixels, area 0.08 of 100 x 100 = 800 pixels: scale sqrt(800 / 200) = 2, so 40 x 20 around (30, 70).
    image, inside = place(solid(20, 10), black(100), Placement(0.3, 0.7, 0.08, 0))
    assert lit(image) == (10, 60, 50, 80)
    assert inside == 1.0


def test_share_inside_by_hand():
    # 40 x 20 around the left upper corner: a quarter of it is inside; around the middle of the right side: half.
    for at, share in ((Placement(0, 0, 0.08, 0), 0.25), (Placement(1, 0.5, 0.08, 0), 0.5)):
        image, inside = place(solid(20, 10), black(100), at)
        assert inside == share == share_inside((20, 10), (100, 100), at)
        left, top, right, bottom = lit(image)
        assert (right - left) * (bottom - top) == 800 * share
    # 4 : 1 at the whole area is 200 x 50: half of it hangs out.
    assert share_inside((40, 10), (100, 100), Placement(0.5, 0.5, 1.0, 0)) == 0.5


@pytest.mark.parametrize("area", [0.01, 0.2, 0.5, 0.8, 1.0])
def test_box_takes_its_share_of_the_area_whatever_its_shape(area):
    for size in ((60, 60), (90, 40), (31, 77)):
        image, _ = place(solid(*size), black(512), Placement(0.5, 0.5, area, 0))
        left, top, right, bottom = lit(image)
        if right - left < 512 and bottom - top < 512:
            found = (right - left) * (bottom - top) / 512**2
            assert area - 2 * (right - left + bottom - top) / 512**2 <= found <= area


def test_rotation_is_counter_clockwise():
    bar = Image.new("RGBA", (40, 40))
    bar.paste((255, 0, 0, 255), (15, 0, 25, 10))  # at the top
    at = {angle: place(bar, black(200), Placement(*CENTRE, 0.04, angle))[0] for angle in (0, 90, 180, 270, 45)}

    def middle(angle):
        rows, columns = np.nonzero(np.asarray(at[angle])[..., 0] > 127)
        return columns.mean() + 0.5 - 100, rows.mean() + 0.5 - 100

    for angle in at:
        # 15 pixels above the centre, turned against the clock on a screen whose y runs down.
        expected = -15 * math.sin(math.radians(angle)), -15 * math.cos(math.radians(angle))
        assert middle(angle) == pytest.approx(expected, abs=0.75)
    assert middle(90)[0] < -10, "the top goes to the left"


@pytest.mark.parametrize("angle", [*range(1, 361, 20), 0, 90, 180, 270, 360, 45.5])
@pytest.mark.parametrize("size", [(30, 50), (51, 20)])
def test_rotation_expands_the_canvas_and_says_so(size, angle):
    at = Placement(*CENTRE, 0.9, angle)
    image, inside = place(solid(*size), black(120), at)
    assert inside == share_inside(size, (120, 120), at)
    scale = math.sqrt(0.9 * 120 * 120 / (size[0] * size[1]))
    width, height = int(size[0] * scale), int(size[1] * scale)
    turned = [
        (
            x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle)),
            -x * math.sin(math.radians(angle)) + y * math.cos(math.radians(angle)),
        )
        for x, y in ((0, 0), (width, 0), (0, height), (width, height))
    ]
    spans = [max(one[axis] for one in turned) - min(one[axis] for one in turned) for axis in (0, 1)]
    share = math.prod(min(span, 120) / span for span in spans)
    assert inside == pytest.approx(share, rel=0.03)  # the canvas has whole pixels
    assert np.asarray(image)[60, 60].tolist() == [255, 255, 255]


def test_rotated_box_is_scaled_before_it_is_turned():
    straight, _ = place(solid(40, 40), black(200), Placement(*CENTRE, 0.1, 0))
    turned, _ = place(solid(40, 40), black(200), Placement(*CENTRE, 0.1, 41))
    assert (np.asarray(turned)[..., 0] / 255).sum() == pytest.approx((np.asarray(straight) > 0)[..., 0].sum(), rel=0.02)


def test_nothing_of_what_was_beside_the_object_shines_through_at_its_edge():
    photo = Image.new("RGB", (60, 60), (0, 255, 0))  # a red object in a green world
    photo.paste((255, 0, 0), (20, 20, 40, 40))
    mask = np.zeros((60, 60), np.float32)
    mask[20:40, 20:40] = 1
    mask[28:32, 28:32] = 0  # with a hole
    for angle in (0, 33):
        image, _ = place(cut_out(photo, mask), Image.new("RGB", (90, 90), (0, 0, 255)), Placement(*CENTRE, 0.4, angle))
        pixels = np.asarray(image)
        assert pixels[..., 1].max() <= 2
        assert pixels[..., 0].max() == 255
        assert pixels[45, 45, 2] == 255, "the background is seen through the hole"


def test_soft_masks_blend():
    mask = np.full((10, 10), 0.6, np.float32)
    image, _ = place(cut_out(Image.new("RGB", (10, 10), (200, 0, 100)), mask), black(20), Placement(*CENTRE, 0.25, 0))
    assert np.asarray(image)[10, 10].tolist() == pytest.approx([120, 0, 60], abs=2)


def test_cut_out_is_the_box_with_the_mask_as_alpha():
    photo = colours(12, 9)
    mask = np.zeros((9, 12), np.float32)
    mask[2:5, 3:9] = 1
    mask[2, 3] = 0.51
    mask[7, 1] = 0.5  # not above one half: not in the box
    mask[4, 4] = 0.25
    found = cut_out(photo, mask)
    assert (found.mode, found.size) == ("RGBA", (6, 3))
    assert np.array_equal(np.asarray(found)[..., :3], np.asarray(photo)[2:5, 3:9])
    assert np.array_equal(np.asarray(found)[..., 3], np.round(255 * mask[2:5, 3:9]))
    assert photo.mode == "RGB", "the photo itself must stay"


def test_cut_out_refuses_empty_masks_and_masks_of_another_size():
    with pytest.raises(UserError, match="empty mask"):
        cut_out(colours(5, 4), np.full((4, 5), 0.5, np.float32))
    with pytest.raises(UserError, match="5 x 4 pixels, got 4 x 5"):
        cut_out(colours(5, 4), np.ones((5, 4), np.float32))


def test_background_is_the_square_from_the_top_left():
    for size in ((90, 40), (40, 90), (40, 40)):
        photo = colours(*size)
        assert np.array_equal(np.asarray(square_background(photo, 40)), np.asarray(photo)[:40, :40])
        smaller = np.asarray(square_background(photo, 25)).astype(float)
        assert abs(smaller - slowly_resized(np.asarray(photo)[:40, :40], 25, 25)).max() < 2
        larger = np.asarray(square_background(photo, 70)).astype(float)
        assert abs(larger - slowly_resized(np.asarray(photo)[:40, :40], 70, 70)).max() < 2
    assert square_background(Image.new("L", (9, 9)), 8).mode == "RGB"


def test_thin_objects_keep_a_pixel():
    image, _ = place(solid(1, 900), black(64), Placement(*CENTRE, 0.01, 0))
    assert lit(image)[2] - lit(image)[0] == 1


def test_grids_are_those_of_the_sets():
    assert [len(grid(kind)) for kind in SIZES] == [100, 72, 441]
    assert SIZES == {"si-size": 512, "si-rotation": 512, "si-location": 500}
    assert MIN_INSIDE == {"si-size": 0.95, "si-rotation": 0.95, "si-location": 0.0}
    assert [point.area for point in grid("si-size")] == [round(0.01 * i, 2) for i in range(1, 101)]
    assert {(p.x, p.y, p.angle) for p in grid("si-size")} == {(0.5, 0.5, 0)}
    assert {p.angle for p in grid("si-rotation")} == {1, 21, 41, 61, 81, 101, 121, 141, 161, 181, 201, 221, 241, 261,
                                                      281, 301, 321, 341}  # fmt: skip
    assert {p.area for p in grid("si-rotation")} == {0.2, 0.5, 0.8, 1.0}
    places = {(p.x, p.y) for p in grid("si-location")}
    assert len(places) == 441
    assert {x for x, _ in places} == {y for _, y in places} == {i / 20 for i in range(21)}
    assert {(p.area, p.angle) for p in grid("si-location")} == {(0.2, 0)}
    with pytest.raises(UserError, match=r"si-size, si-rotation, si-location.*'size'"):
        grid("size")


def test_every_place_of_the_location_grid_is_a_whole_number_of_pixels():
    for point in grid("si-location"):
        image, _ = place(solid(2, 2), black(500), Placement(point.x, point.y, 4 / 500**2, 0))
        column, row = round(500 * point.x), round(500 * point.y)
        left, top, _, _ = lit(image)
        assert (left, top) == (max(column - 1, 0), max(row - 1, 0))
