"""Annotations of other tools that are broken or made to harm; a test for each row of
docs/reference/hostile-files.md."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import (
    FLAT,
    HEIGHT,
    WIDTH,
    coco,
    complaints,
    labelme,
    read_coco,
    read_labelme,
    read_yolo,
    save_mask,
    save_photo,
    write_json,
)
from helpers.hostile import BOMB, png, refusal, said
from helpers.tool_files import cvat, fiftyone, studio, studio_task, supervisely
from robustvit.common.errors import UserError
from robustvit.data.read_photos import MAX_PIXELS
from robustvit.masks.annotations import read_annotations


def by_name(name: str, text: bytes, folder):
    save_photo(folder / "images" / "a.png")
    (folder / "a.json").write_bytes(text)
    return lambda: read_annotations(name, folder / "a.json", folder / "images")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 99_999, b'{"images": 3}', b"9" * 5000])
def test_coco_broken(tmp_path, text):
    refusal(by_name("coco", text, tmp_path))


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..\\..\\a.exe", "a.png\0", "", "\n"])
def test_coco_photo_outside_the_folder(tmp_path, name):
    found = read_coco(coco(file_name=name), tmp_path)
    assert not found.photos
    assert found.problems


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**70, 1), (-1, 4), (HEIGHT, WIDTH + 1), ("3", None)])
def test_coco_size_that_lies(tmp_path, size):
    found = read_coco(coco(height=size[0], width=size[1]), tmp_path)
    assert not found.photos
    assert found.problems


@pytest.mark.parametrize(
    "outline",
    [[FLAT[:5]], [FLAT[:4]], [[float("nan")] * 6], [["x"] * 6], [[1e300, -1e300] * 3], 3, [[10**400] * 6], []],
)
def test_coco_outline_broken(tmp_path, outline):
    found = read_coco(coco(segmentation=outline), tmp_path)
    assert complaints(found)


@pytest.mark.parametrize("counts", [[2**62], [-5, HEIGHT * WIDTH + 5], "\x7f" * 50, "oooo", [1.5], None, []])
def test_coco_run_lengths_that_lie(tmp_path, counts):
    found = read_coco(coco(segmentation={"size": [HEIGHT, WIDTH], "counts": counts}), tmp_path)
    assert complaints(found)


def test_coco_names_with_line_breaks_and_tags(tmp_path):
    content = coco(image_id=99)
    content["annotations"][0]["id"] = "<script>\n"
    said_of_it = complaints(read_coco(content, tmp_path))  # which holds each line against line breaks
    assert "'<script>\\n'" in said_of_it


def test_coco_photo_of_30000_squared(tmp_path):
    (tmp_path / "images").mkdir()
    png(tmp_path / "images" / "a.png", 10_000, 12_001)
    found = read_coco(coco(height=12_001, width=10_000), tmp_path)
    assert not found.photos
    assert "too large" in found.problems[0] or "refused" in found.problems[0]


@pytest.mark.parametrize(
    "line", ["0 nan nan nan nan nan nan", "-1 0 0 1 0 1 1", "1e400 0 0 1 0 1 1", "x 0 0 1 0 1 1", "0 0 0 1",
             "0 .5 .5 .5 .5", "0 1e300 0 1 -1e300 1 1", "\0", "0 0 0 0 0 0 0"],
)  # fmt: skip
def test_yolo_line_broken(tmp_path, line):
    assert complaints(read_yolo(line, tmp_path))


def test_yolo_no_text(tmp_path):
    read_yolo("", tmp_path)
    (tmp_path / "labels" / "a.txt").write_bytes(b"\xff\xfe\0")
    found = read_annotations("yolo", tmp_path, tmp_path / "images")
    assert "expected text" in found.problems[0]


@pytest.mark.parametrize(
    "text",
    ["names: !!python/object/apply:os.system ['touch {}']", "[" * 1200, "a: 2020-13-45", "\0", "names: {a: [b]}"],
)
def test_yolo_settings_broken(tmp_path, text):
    mark = tmp_path / "ran"
    (tmp_path / "data.yaml").write_text(text.format(mark) if "touch" in text else text)
    found = read_yolo("0 0.1 0.1 0.9 0.1 0.9 0.9", tmp_path)
    assert "data.yaml" in found.problems[0]
    assert found.categories == ("0",)
    assert not mark.exists()


def test_yolo_settings_alias_bomb(tmp_path):
    (tmp_path / "data.yaml").write_text(BOMB + "names: {0: *l}\n")
    found = read_yolo("0 0.1 0.1 0.9 0.1 0.9 0.9", tmp_path)
    assert len(complaints(found)) < 1000


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"shapes": 3}', b"[" * 99_999, b"\xff", b'{"images": [], "annotations": []}']
)
def test_labelme_broken(tmp_path, text):
    save_photo(tmp_path / "a.png")
    (tmp_path / "a.json").write_bytes(text)
    found = read_annotations("labelme", tmp_path / "a.json", None)
    assert not found.photos
    assert found.problems


@pytest.mark.parametrize("name", ["/etc/passwd", "../nothing.png", "", 3, None, "a\0.png", "a.png/.."])
def test_labelme_photo_outside_or_none(tmp_path, name):
    found = read_labelme(labelme(imagePath=name), tmp_path)
    assert not found.photos
    assert found.problems


@pytest.mark.parametrize(
    "shape", [{"points": [[float("nan"), 1]] * 4}, {"points": "x"}, {"points": []}, {"shape_type": ["a"]},
              {"label": None}, {"points": [[1e308, -1e308]] * 3},
              {"shape_type": "circle", "points": [[0, 0], [10**400, 1]]},
              {"group_id": [1], "points": [[1]]}],
)  # fmt: skip
def test_labelme_shape_broken(tmp_path, shape):
    assert complaints(read_labelme(labelme(**shape), tmp_path))


def test_labelme_mask_bomb(tmp_path):
    path = png(tmp_path / "m.png", 30_000, 30_000)
    text = base64.b64encode(path.read_bytes()).decode()
    content = labelme(shape_type="mask", points=[[0, 0], [9, 9]], mask=text)
    assert "broken" in complaints(read_labelme(content, tmp_path))
    stream = io.BytesIO()
    Image.new("L", (4, 4), 255).save(stream, "png")
    sound = labelme(shape_type="mask", points=[[0, 0], [3, 3]], mask=base64.b64encode(stream.getvalue()).decode())
    assert complaints(read_labelme(sound, tmp_path)) == ""


def test_labelme_pixels_in_the_file_are_not_read(tmp_path):
    content = labelme(imageData=base64.b64encode(png(tmp_path / "b.png", 30_000, 30_000).read_bytes()).decode())
    assert complaints(read_labelme(content, tmp_path)) == ""


def test_imagenet_s_mask_of_other_colours(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9, np.uint8)).save(tmp_path / "masks" / "a.png")
    found = read_annotations("imagenet-s", tmp_path / "masks", tmp_path / "images")
    assert "expected a colour mask of ImageNet-S" in complaints(found)


def test_voc_mask_of_many_ids(tmp_path):
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    values = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 250
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    found = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    assert "is it a grey mask" in complaints(found)


def test_annotations_unknown_format(tmp_path):
    assert "did you mean coco?" in refusal(lambda: read_annotations("cocoo", tmp_path, tmp_path))


def test_annotations_by_command_leave_nothing(tmp_path, capsys):
    save_photo(tmp_path / "images" / "a.png")
    (tmp_path / "a.json").write_text(json.dumps(coco(segmentation=[[float("nan")] * 6])))
    words = ["--from", "coco", tmp_path / "a.json", "--images", tmp_path / "images", "--out", tmp_path / "masks"]
    said(capsys, "masks", *words)
    assert not list((tmp_path / "masks").rglob("*.png"))


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotations>&c;</annotations>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations><meta>&b;</meta></annotations>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><annotations/>',
    ],
)
def test_cvat_entities(tmp_path, text):
    said_of_it = refusal(by_xml(text, tmp_path))
    assert "declares types (DOCTYPE)" in said_of_it
    assert "root:" not in said_of_it


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        "<annotations>",
        "\0",
        "<a>" * 100_000,
        "<annotations/>",
        "\ufeff<b/>",
        "<?xml version='1.0' encoding='x'?>",
    ],
)
def test_cvat_broken(tmp_path, text):
    refusal(by_xml(text, tmp_path))


def by_xml(text: str, folder):
    save_photo(folder / "images" / "a.png")
    (folder / "a.xml").write_text(text)
    return lambda: read_annotations("cvat", folder / "a.xml", folder / "images")


@pytest.mark.parametrize("size", ["1000000000", "1e9", "-5", "0", "nan"])
def test_cvat_mask_of_huge_size(tmp_path, size):
    mask = f'<mask label="cat" rle="5" left="0" top="0" width="{size}" height="{size}"/>'
    found = by_xml(cvat(mask), tmp_path)()
    assert complaints(found)


@pytest.mark.parametrize("runs", ["9" * 5000, "1, " * 50_000, "999999999, 999999999", "", "-1", "\u0664"])
def test_cvat_run_lengths_that_lie(tmp_path, runs):
    mask = f'<mask label="cat" rle="{runs}" left="0" top="0" width="9" height="9"/>'
    assert complaints(by_xml(cvat(mask), tmp_path)())


def test_supervisely_bitmap_bomb(tmp_path):
    save_photo(tmp_path / "img" / "a.png")
    png(tmp_path / "bomb.png", 30_000, 30_000)
    packing, zeros = zlib.compressobj(1), bytes(1_000_000)
    bomb = b"".join(packing.compress(zeros) for _ in range(MAX_PIXELS // len(zeros) + 2)) + packing.flush()
    for data in (bomb, zlib.compress((tmp_path / "bomb.png").read_bytes())):
        packed = {"data": base64.b64encode(data).decode(), "origin": [0, 0]}
        shape = {"geometryType": "bitmap", "classTitle": "cat", "bitmap": packed}
        write_json(supervisely(shape), tmp_path / "ann" / "a.png.json")
        assert "too large to be read" in complaints(read_annotations("supervisely", tmp_path / "ann", None))


@pytest.mark.parametrize(
    "header", ["(30000, 30000)", "(10**9, 10**9)", "(-1, -1)", "__import__('os')", "(2, 2), 'x': 1"]
)
def test_fiftyone_array_with_a_lying_header(tmp_path, header):
    save_photo(tmp_path / "data" / "a.png")
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {header}}}"
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    packed = {"$binary": {"base64": base64.b64encode(zlib.compress(array)).decode()}}
    label = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1], "mask": packed}
    write_json(fiftyone(ground_truth=label), tmp_path / "samples.json")
    assert complaints(read_annotations("fiftyone", tmp_path, None))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "..\\secret.png", "a\0.png", "x" * 5000])
def test_annotations_name_masks_outside_the_folder(tmp_path, name):
    folder = tmp_path / "set"
    save_mask(np.full((HEIGHT, WIDTH), 255, np.uint8), tmp_path / "secret.png")
    save_photo(folder / "a.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "mask": name}))
    label = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1], "mask_path": name}
    write_json(fiftyone(ground_truth=label), folder / "samples.json")
    for form in ("imagefolder", "fiftyone"):
        found = read_annotations(form, folder, None)
        assert complaints(found)
        assert not any(one.mask.all() for photo in found for one in _readable(photo))


def _readable(photo) -> list:
    try:
        return photo.read()
    except UserError:
        return []


@pytest.mark.parametrize(
    "strokes",
    [[255] * 40, [0, 0, 20, 160, 58], [0] * 9, [], [1e9], ["x"], [0, 0, 20, 160, 58, 255, 255, 255, 0, 0, 0, 0]],
)
def test_label_studio_brush_strokes_that_lie(tmp_path, strokes):
    save_photo(tmp_path / "photos" / "a.png")
    source = write_json([studio_task(studio("brushlabels", rle=strokes))], tmp_path / "a.json")
    assert complaints(read_annotations("label-studio", source, tmp_path / "photos"))


@pytest.mark.parametrize("runs", ["1 99999999999", "9223372036854775807 9", "-5 3", "1 0", "x", "1 2 " * 100_000])
def test_kaggle_runs_that_lie(tmp_path, runs):
    save_photo(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(f"ImageId,EncodedPixels\na,{runs}\n")
    assert complaints(read_annotations("kaggle", tmp_path / "t.csv", None))
