"""Masks from another tool's annotations, as a user makes them: classes, categories, folders and second calls."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from robustvit import UserError, make_masks
from robustvit.cli import main as cli
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask


def test_from_annotations(capsys, tmp_path):
    images, masks = write_photos(tmp_path, 2)
    out = tmp_path / "read"
    made = make_masks(str(masks), out=str(out), from_="binary", images=str(images))
    assert {record.label for record in made.records} == set(CLASSES)
    for record in made.records:
        drawn = read_mask(masks / record.label / record.image.name)
        assert (read_mask(out / record.label / record.image.name) == drawn).all()
        assert record.verdict == "good"
        assert record.confidence == 1
    assert make_masks(str(masks), out=str(out), from_="binary", images=str(images)).made == 0
    assert cli.main(["masks", "--from", "coco", str(masks), "--images", str(images), "--out", str(tmp_path / "x")]) == 2
    assert "robustvit masks:" in capsys.readouterr().err


def coco_file(tmp_path):
    """Two photos: a large cat with a small dog, and a dog that is marked as a crowd."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "white").save(tmp_path / name)

    def box(x, y, width, height):
        return [[x, y, x + width, y, x + width, y + height, x, y + height]]

    found = {
        "images": [{"id": i, "file_name": f"{name}.png", "width": 40, "height": 30} for i, name in enumerate("ab")],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": box(2, 2, 16, 16), "iscrowd": 0},
            {"id": 2, "image_id": 0, "category_id": 2, "segmentation": box(30, 20, 6, 6), "iscrowd": 0},
            {"id": 3, "image_id": 0, "category_id": 1, "segmentation": box(22, 2, 4, 4), "iscrowd": 0},
            {"id": 4, "image_id": 1, "category_id": 2, "segmentation": box(5, 5, 10, 10), "iscrowd": 0},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(found))
    return tmp_path / "coco.json"


def test_label_from_largest_or_all(tmp_path):
    pytest.importorskip("pycocotools")
    source = str(coco_file(tmp_path))
    largest = make_masks(source, out=str(tmp_path / "l"), from_="coco", images=str(tmp_path))
    assert [(r.image.name, r.label) for r in largest.records] == [("a.png", "cat"), ("b.png", "dog")]
    mask = read_mask(tmp_path / "l" / "a.png")
    assert mask[2:18, 2:18].all()
    assert mask[2:6, 22:26].all()
    assert mask.sum() == 256 + 16
    every = make_masks(source, out=str(tmp_path / "e"), from_="coco", images=str(tmp_path), label_from="all")
    assert [(r.image.name, r.label) for r in every.records] == [("a.png", "cat"), ("a.png", "dog"), ("b.png", "dog")]
    assert read_mask(tmp_path / "e" / "dog" / "a.png").sum() == 36
    dogs = make_masks(source, out=str(tmp_path / "d"), from_="coco", images=str(tmp_path), categories=["dog"])
    assert [(r.image.name, r.label) for r in dogs.records] == [("a.png", "dog"), ("b.png", "dog")]
    with pytest.raises(UserError, match="unknown category 'horse'"):
        make_masks(source, out=str(tmp_path / "h"), from_="coco", images=str(tmp_path), categories=["horse"])


def test_split_folders_are_no_classes_and_missing_categories_are_named(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / split / f"{split}.png")
        kind = 0 if split == "train" else 1
        (tmp_path / "labels" / split / f"{split}.txt").write_text(f"{kind} 0.1 0.1 0.6 0.1 0.6 0.6\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    every = make_masks(str(tmp_path), out=str(tmp_path / "m"), from_="yolo", images=str(tmp_path / "images"))
    assert [record.label for record in every.records] == ["cat", "dog"]
    cats = make_masks(
        str(tmp_path), out=str(tmp_path / "c"), from_="yolo", images=str(tmp_path / "images"), categories=["cat"]
    )
    assert [record.label for record in cats.records] == ["cat"]
    assert any("val.png" in line and "no object of the categories" in line for line in cats.problems)


def test_all_classes_of_a_photo_are_resumed(tmp_path):
    source, out = str(coco_file(tmp_path)), str(tmp_path / "e")
    options = {"out": out, "from_": "coco", "images": str(tmp_path), "label_from": "all"}
    first = make_masks(source, **options)
    before = {record.mask: record.mask.read_bytes() for record in first.records}
    (tmp_path / "e" / "dog" / "a.png").unlink()
    again = make_masks(source, **options)
    assert again.made == 1
    assert again.records == first.records
    assert {path: path.read_bytes() for path in before} == before


def test_categories_as_a_word_a_list_or_ids(capsys, tmp_path):
    source = str(coco_file(tmp_path))
    for number, given in enumerate(["dog", "dog,cat", "[dog, cat]"]):
        out = tmp_path / str(number)
        command = ["masks", "--from", "coco", source, "--images", str(tmp_path), "--out", str(out)]
        assert cli.main([*command, "--categories", given]) == 0
        labels = {record.label for record in read_manifest(out / "manifest.csv")}
        assert labels == ({"dog"} if given == "dog" else {"dog", "cat"})
    (tmp_path / "voc").mkdir()
    ids = np.zeros((30, 40), np.uint8)
    ids[3:12, 3:12], ids[15:29, 20:38] = 3, 7
    Image.fromarray(ids).save(tmp_path / "voc" / "a.png")
    command = ["masks", "--from", "voc", str(tmp_path / "voc"), "--images", str(tmp_path), "--out", str(tmp_path / "v")]
    assert cli.main([*command, "--categories", "3"]) == 0
    assert [record.label for record in read_manifest(tmp_path / "v" / "manifest.csv")] == ["3"]
    assert cli.main([*command[:-1], str(tmp_path / "w"), "--categories", "cow"]) == 2
    assert "robustvit masks:" in capsys.readouterr().err


def test_masks_mirror_the_folders_of_yolo_and_labelme(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "labels" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / name / "a.png")
        (tmp_path / "labels" / name / "a.txt").write_text("0 0.1 0.1 0.6 0.1 0.6 0.6\n")
    yolo = make_masks(str(tmp_path), out=str(tmp_path / "y"), from_="yolo")
    assert [record.mask.relative_to(tmp_path / "y").as_posix() for record in yolo.records] == ["cat/a.png", "dog/a.png"]
    for name in ("cat", "dog"):
        shape = {"label": name, "shape_type": "polygon", "points": [[2, 2], [20, 2], [20, 20]]}
        content = {"imagePath": "a.png", "imageHeight": 40, "imageWidth": 40, "shapes": [shape]}
        (tmp_path / "images" / name / "a.json").write_text(json.dumps(content))
    labelme = make_masks(str(tmp_path / "images"), out=str(tmp_path / "l"), from_="labelme")
    assert [r.mask.relative_to(tmp_path / "l").as_posix() for r in labelme.records] == ["cat/a.png", "dog/a.png"]
    assert not labelme.problems
