"""Annotations of other tools: what all formats share, random changes that must never crash, real data sets whole."""

from __future__ import annotations

import base64
import copy
import io
import random

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import (
    BOX,
    CORNERS,
    DATA,
    FLAT,
    HEIGHT,
    WIDTH,
    blob_mask,
    box_mask,
    coco,
    complaints,
    compressed,
    labelme,
    only,
    read_coco,
    read_labelme,
    read_yolo,
    save_photo,
    uncompressed,
    write_json,
)
from robustvit.common.errors import UserError
from robustvit.masks.annotations import FORMATS, read_annotations

pytest.importorskip("pycocotools.mask")


def test_size_is_the_upright_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save_photo(tmp_path / "images" / "a.jpg", (HEIGHT, WIDTH), exif=exif)
    assert np.array_equal(only(read_coco(coco(file_name="a.jpg"), tmp_path)).mask, box_mask())
    lying = read_coco(coco(file_name="a.jpg", height=WIDTH, width=HEIGHT), tmp_path)
    assert "EXIF" in complaints(lying)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "\xff", "1" * 5000, '{"a": \n\n x}'])
def test_text_that_is_not_json(tmp_path, text):
    save_photo(tmp_path / "a.png")
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="cannot read") as caught:
        read_annotations("coco", tmp_path / "a.json", tmp_path)
    assert "\n" not in str(caught.value)
    assert "cannot read" in complaints(read_annotations("labelme", tmp_path, None))


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"expected the annotation format to be one of coco.*did you mean coco"):
        read_annotations("Cocoo", tmp_path, tmp_path)
    for name in FORMATS:
        with pytest.raises(UserError, match="expected"):
            read_annotations(name, tmp_path / "nowhere", tmp_path)
        with pytest.raises(UserError, match="expected"):
            read_annotations(name, tmp_path, tmp_path)
    content = write_json(coco(), tmp_path / "a.json")
    with pytest.raises(UserError, match=r"expected the folder of the annotated photos, .*--images"):
        read_annotations("coco", content, None)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("no photo")
    assert "not an image" in complaints(read_annotations("coco", content, tmp_path / "images"))


def test_linked_folders_are_walked_once(tmp_path):
    save_photo(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train").symlink_to(tmp_path / "elsewhere")
    assert only(read_coco(coco(), tmp_path)).category == "cat"


JUNK = (None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "a.png", "\ud800\n", [], {}, [[1, 2]], [0, 1])


def mutate(node, rng: random.Random):
    """Change one place of a JSON value: replace, drop or double it."""
    if isinstance(node, (dict, list)) and node and rng.random() < 0.95:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        kind = rng.random()
        if kind < 0.75:
            node[key] = mutate(node[key], rng)
        elif kind < 0.9:
            del node[key]
        elif isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        return node
    return copy.deepcopy(rng.choice(JUNK))


def rich_coco() -> dict:
    content = coco()
    for number, segmentation in enumerate((uncompressed(blob_mask()), compressed(blob_mask()), [FLAT, FLAT])):
        content["annotations"].append({**content["annotations"][0], "id": number, "segmentation": segmentation})
    return content


def rich_labelme() -> dict:
    content = labelme()
    stream = io.BytesIO()
    Image.fromarray(blob_mask()).save(stream, "PNG")
    extra = (
        {"shape_type": "circle", "points": [[20, 12], [23, 16]]},
        {"shape_type": "rectangle", "points": BOX[::2]},
        {"shape_type": "mask", "points": BOX[::2], "mask": base64.b64encode(stream.getvalue()).decode()},
    )
    content["shapes"] += [{**content["shapes"][0], **shape} for shape in extra]
    return content


@pytest.mark.parametrize(("read", "rich"), [(read_coco, rich_coco), (read_labelme, rich_labelme)])
def test_random_changes_of_json_never_crash(tmp_path, read, rich):
    rng = random.Random(0)
    usable = 0
    for _ in range(300):
        content = copy.deepcopy(rich())
        for _ in range(rng.randint(1, 3)):
            content = mutate(content, rng)
        try:
            annotations = read(content, tmp_path)
        except UserError:
            continue
        complaints(annotations)
        usable += bool(annotations.photos)
    assert usable > 50


def test_random_changes_of_text_never_crash(tmp_path):
    rng = random.Random(0)
    for _ in range(300):
        text = list(f"0 {CORNERS}\n1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n")
        for _ in range(rng.randint(1, 6)):
            text[rng.randrange(len(text))] = rng.choice(
                ["", " ", "\n", "-", "e9", "9", ".", "x", "nan", "inf", "\x00", "é"]
            )
        (tmp_path / "data.yaml").write_text("".join(text) if rng.random() < 0.3 else "names: [a, b]")
        complaints(read_yolo("".join(text), tmp_path))
        packed = {"size": [HEIGHT, WIDTH], "counts": "".join(rng.choices([chr(code) for code in range(40, 120)], k=9))}
        complaints(read_coco(coco(segmentation=packed), tmp_path / "coco"))


def test_coco128_whole():
    if not (DATA / "coco128-polygons").is_dir():
        pytest.skip("needs shared/data/coco128-polygons")
    annotations = read_annotations("yolo", DATA / "coco128-polygons", None)
    assert len(annotations.photos) == 63  # of 64: one label file has no photo, one photo has no label file
    assert sum(len(photo.read()) for photo in annotations) == 542
    assert len(annotations.problems) == 3  # and the classes have no names


def test_voc_animals_whole():
    if not (DATA / "voc-animals").is_dir():
        pytest.skip("needs shared/data/voc-animals")
    train = DATA / "voc-animals" / "train"
    annotations = read_annotations("voc", train / "masks", train / "images")
    assert len(annotations.photos) == 150
    assert annotations.problems == []
    found = {found.category for photo in annotations for found in photo.read()}
    assert {"8", "10", "12", "13", "17"} <= found  # cat, cow, dog, horse, sheep
    assert found <= {str(number) for number in range(1, 21)}
