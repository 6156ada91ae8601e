"""Label Studio: shapes in per cent, brush strokes, several people's annotations, and what is broken by name."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import HEIGHT, WIDTH, blob_mask, box_mask, complaints, iou, only, save_photo, write_json
from helpers.tool_files import PERCENT, studio, studio_task
from robustvit import UserError, make_masks
from robustvit.masks.annotations import read_annotations
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.run_lengths import decode_brush

BOX = studio("polygonlabels", points=PERCENT)

SHARP = BoxReading(shape="box", feather=0)


def read(content: object, folder, **options):
    save_photo(folder / "photos" / "a.png")
    return read_annotations(
        "label-studio", write_json(content, folder / "p.json"), folder / "photos", boxes=SHARP, **options
    )


def pack_brush(values: list[int], sizes: tuple[int, ...] = (3, 7, 11, 15)) -> list[int]:
    """Pack values bit by bit: runs of one value where three or more are alike, else values one by one."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size:04b}" for size in sizes)
    place = 0
    while place < len(values):
        end = place
        while end < len(values) and values[end] == values[place]:
            end += 1
        same = end - place > 2
        end = min(end if same else place + 1, place + 2 ** (sizes[3] + 1))
        kind = next(number for number, size in enumerate(sizes) if end - place - 1 < 2 ** (size + 1))
        count = f"{end - place - 1:0{sizes[kind] + 1}b}"
        bits += f"{int(same)}{kind:02b}{count}" + f"{values[place]:08b}"
        place = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


@pytest.mark.parametrize("seed", range(3))
def test_brush_strokes(tmp_path, seed):
    mask = blob_mask(seed)
    colours = np.zeros((HEIGHT, WIDTH, 4), int)
    colours[mask] = (200, 30, 90, 255)
    strokes = studio("brushlabels", format="rle", rle=pack_brush(colours.ravel().tolist()))
    found = only(read([studio_task(strokes)], tmp_path))
    assert np.array_equal(found.mask > 0.5, mask)


def test_values_one_by_one():
    """A run of different values: bit 0, the kind of its count, the count less one, then every value."""
    values = [3, 1, 4, 1, 5, 9, 2, 6]
    bits = f"{8:032b}{7:05b}" + "0011" * 4 + "0" + "00" + f"{7:04b}" + "".join(f"{one:08b}" for one in values)
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert (decode_brush(packed, 1, 2) * 255).round().tolist() == [[1, 6]]


@pytest.mark.parametrize("degrees", [0, 25])
def test_a_rectangle_turns_around_its_corner(tmp_path, degrees):
    box = studio("rectanglelabels", x=50, y=20, width=30, height=40, rotation=degrees)
    found = only(read([studio_task(box)], tmp_path))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    left, top, angle = 0.5 * WIDTH, 0.2 * HEIGHT, math.radians(degrees)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            across, down = column + 0.5 - left, row + 0.5 - top
            x = across * math.cos(angle) + down * math.sin(angle)
            y = down * math.cos(angle) - across * math.sin(angle)
            expected[row, column] = 0 <= x <= 0.3 * WIDTH and 0 <= y <= 0.4 * HEIGHT
    assert iou(found.mask, expected) > 0.95


def test_an_ellipse_and_a_bitmask(tmp_path):
    found = only(read([studio_task(studio("ellipselabels", x=50, y=50, radiusX=20, radiusY=30, rotation=0))], tmp_path))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = ((columns - 22) / (0.2 * WIDTH)) ** 2 + ((rows - 15) / (0.3 * HEIGHT)) ** 2 <= 1
    assert np.array_equal(found.mask > 0.5, inside)
    stream = io.BytesIO()
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[box_mask()] = 255
    Image.fromarray(pixels).save(stream, "PNG")
    address = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    found = only(read([studio_task(studio("bitmasklabels", imageDataURL=address))], tmp_path))
    assert np.array_equal(found.mask > 0.5, box_mask())


def test_labels_of_an_entry_of_their_own(tmp_path):
    shape = {**BOX, "type": "polygon", "value": {"points": PERCENT}, "id": "x"}
    label = {"id": "x", "type": "labels", "value": {"labels": ["dog"]}}
    assert only(read([studio_task(shape, label)], tmp_path)).category == "dog"


def test_json_min(tmp_path):
    entry = {"points": PERCENT, "polygonlabels": ["cat"], "original_width": WIDTH, "original_height": HEIGHT}
    row = {"id": 1, "annotation_id": 2, "image": "/data/upload/1/a.png", "label": [entry]}
    assert only(read([row], tmp_path)).category == "cat"
    again = {**row, "annotation_id": 3, "updated_at": "2026-03-01"}
    assert "2 annotations of one photo" in complaints(read([row, again], tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "/data/local-files/?d=photos%2Fa.png",
        "s3://bucket/a.png",
        "https://host/a.png?X-Amz-Date=1&b=2",
        "/data/upload/7/0a1b2c3d-a.png",
        "a.png",
    ],
)
def test_addresses_of_photos(tmp_path, name):
    (photo,) = read([studio_task(BOX, name=name)], tmp_path)
    assert photo.image.name == "a.png"


def test_several_people(tmp_path):
    task = studio_task(BOX)
    other = {"id": 6, "updated_at": "2026-02-01", "result": [studio("polygonlabels", ("dog",), points=PERCENT)]}
    task["annotations"].append(other)
    assert "2 annotations of one photo: --which newest" in complaints(read([task], tmp_path))
    (photo,) = read([task], tmp_path, which="newest")
    assert [one.category for one in photo.read()] == ["dog"]
    task["annotations"][0]["ground_truth"] = True
    (photo,) = read([task], tmp_path)
    assert [one.category for one in photo.read()] == ["cat"]
    with pytest.raises(UserError, match="expected --which newest"):
        read([task], tmp_path, which="oldest")


def test_cancelled_annotations_and_predictions_do_not_count(tmp_path):
    task = studio_task(BOX)
    task["annotations"].insert(0, {"id": 9, "was_cancelled": True, "result": [studio("polygonlabels", ("dog",))]})
    found = read([task], tmp_path)
    assert [one.category for one in found.photos[0].read()] == ["cat"]
    assert "1 annotation that were cancelled" in complaints(found)
    task["annotations"] = []
    task["predictions"] = [{"result": [BOX]}]
    assert "1 photo of" in complaints(read([task], tmp_path))


BROKEN = {
    "no photo": (studio_task(BOX, name="text"), "one field with the name of a photo, found none"),
    "two photos": (studio_task(BOX, name="a.png") | {"data": {"x": "a.png", "y": "b.png"}}, "found several"),
    "another photo": (studio_task(BOX, name="b.png"), "no photo 'b.png'"),
    "turned": (studio_task({**BOX, "image_rotation": 90}), "turned by 90 degrees"),
    "size": (studio_task({**BOX, "original_width": 99}), "the annotation says 30 x 99"),
    "points": (studio_task(studio("polygonlabels", points=[[1, 2]])), "a polygon of 1 point,"),
    "side": (studio_task(studio("rectanglelabels", x=1, y=2, width=None, height=3)), "numbers are missing"),
    "cut off": (studio_task(studio("brushlabels", rle=[0, 0, 20, 160, 58, 51])), "cut off"),
    "values": (studio_task(studio("brushlabels", rle=[255] * 40)), "expected 4 for each of 30 x 44 pixels"),
    "no bytes": (studio_task(studio("brushlabels", rle=[300])), "not a list of bytes"),
    "image": (studio_task(studio("bitmasklabels", imageDataURL="data:,x")), "broken"),
    "no task": ([1], "found something else"),
    "kinds": (studio_task(BOX, {"id": "c", "type": "choices", "value": {"choices": ["x"]}}), "1 choices"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(tmp_path, name):
    content, words = BROKEN[name]
    try:
        found = complaints(read(content if isinstance(content, list) else [content], tmp_path))
    except UserError as error:
        found = str(error)
    assert words in found


def test_predictions_are_counted(tmp_path):
    predicted = [{"id": 9, "result": [BOX], "score": 0.9}]
    found = read([studio_task(BOX, predictions=predicted)], tmp_path)
    assert "the predictions of 1 task are not used" in complaints(found)


def test_a_task_of_several_photos_is_left_out(tmp_path):
    second = {**BOX, "item_index": 1}
    task = studio_task(BOX, second) | {"data": {"images": ["/data/upload/1/a.png", "/data/upload/1/b.png"]}}
    found = read([task, studio_task(BOX) | {"id": 2}], tmp_path)
    assert len(found.photos) == 1
    assert "it shows 2 photos in a list" in complaints(found)


def test_a_shape_with_two_labels_is_asked_about(tmp_path):
    source = write_json([studio_task(studio("polygonlabels", ("cat", "dog"), points=PERCENT))], tmp_path / "p.json")
    save_photo(tmp_path / "photos" / "a.png")
    options = {"from_": "label-studio", "images": str(tmp_path / "photos")}
    with pytest.raises(UserError, match="cat and dog cover equally much"):
        make_masks(str(source), out=str(tmp_path / "out"), **options)
    done = make_masks(str(source), out=str(tmp_path / "one"), categories=["dog"], **options)
    assert [record.label for record in done.records] == ["dog"]


def test_an_annotation_without_a_result_says_that_there_is_nothing(tmp_path):
    (photo,) = read([studio_task()], tmp_path).photos
    assert photo.read() == []


def test_a_list_of_similar_photos_beside_the_name_of_the_photo_does_not_count(tmp_path):
    fields = {"image": "/data/upload/1/a.png", "similar": ["b.png", "c.png"]}
    assert only(read([studio_task(BOX) | {"data": fields}], tmp_path)).category == "cat"
