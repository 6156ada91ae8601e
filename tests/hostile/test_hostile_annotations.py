"""Annotations of other tools that are broken or made to harm; a test for each row of
docs/reference/hostile-files.md."""

from __future__ import annotations

import base64
import io
import json

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
    save_photo,
)
from helpers.hostile import BOMB, png, refusal, said
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
