"""Boxes as prompts for SAM: the real classes of transformers with tiny random weights, and a fake that fills boxes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import HEIGHT, WIDTH, box_mask, coco, write_json
from helpers.small_sams import FilledBoxes, save_sam2, save_sam3
from robustvit import UserError, make_masks
from robustvit.cli import main as cli
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotations import read_annotations
from robustvit.masks.sources import box_prompts
from robustvit.masks.sources.sam2 import load_sam

pytest.importorskip("pycocotools.mask")


@pytest.fixture
def source(tmp_path):
    """Two boxes of two categories in a noisy photo."""
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "images" / "a.png")
    content = coco(segmentation=[], bbox=[10, 5, 20, 15])
    content["annotations"].append({"id": 8, "image_id": 1, "category_id": 4, "bbox": [30, 20, 30, 9]})
    content["categories"].append({"id": 4, "name": "dog"})
    return write_json(content, tmp_path / "a.json")


@pytest.mark.parametrize("save", [save_sam2, save_sam3])
def test_boxes_are_prompts(tmp_path, source, save):
    model = save(tmp_path / "sam")
    made = make_masks(
        str(source), out=str(tmp_path / "m"), from_="coco", images=str(tmp_path / "images"), boxes="sam",
        model=str(model), label_from="all", device="cpu",
    )  # fmt: skip
    network = load_sam(str(model), {})
    photo = Image.open(tmp_path / "images" / "a.png")
    soft, scores = network.segment_boxes(photo, [[10, 5, 30, 20], [30, 20, WIDTH, 29]])
    assert soft.shape == (2, HEIGHT, WIDTH)
    assert [record.label for record in made.records if record.mask] == ["cat", "dog"][: len(made.records)]
    for record, mask, score in zip(made.records, soft, scores, strict=True):
        assert record.source == f"coco, boxes as prompts of {network.name}"
        assert np.array_equal(read_mask(record.mask), mask > 0.5)
        assert 0 <= record.measures["agreement"] <= min(1, score) + 1e-6
    settings = json.loads((tmp_path / "m" / "settings.json").read_text())
    assert (settings["boxes"], settings["model"]) == ("sam", str(model))


def test_the_mask_of_each_object_and_how_sure_it_is(tmp_path, source, monkeypatch):
    network = FilledBoxes(1.3, 0.4)
    monkeypatch.setattr(box_prompts, "load_sam", lambda *args, **options: network)
    options = {"from_": "coco", "images": str(tmp_path / "images"), "boxes": "sam"}
    made = make_masks(str(source), out=str(tmp_path / "m"), label_from="all", **options)
    cat, dog = made.records
    assert network.asked == [[[10, 5, 30, 20], [30, 20, WIDTH, 29]]]  # cut to the photo
    assert np.array_equal(read_mask(cat.mask), box_mask())
    assert (cat.verdict, cat.confidence) == ("good", 1.0)
    assert (dog.verdict, dog.reason) == ("doubtful", "its source is not sure of it")
    assert dog.confidence == pytest.approx(0.4)
    assert "2 objects with a box alone: boxes as prompts of sam2 (--boxes)" in made.notes
    network.content = lambda path: "other weights"
    assert make_masks(str(source), out=str(tmp_path / "m"), label_from="all", **options).made == 1


def test_turned_photos_get_turned_prompts(tmp_path, source, monkeypatch):
    network, exif = FilledBoxes(1.3, 0.4), Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "images" / "a.png").save(tmp_path / "images" / "a.png", exif=exif)
    boxes = box_prompts.SamBoxes()
    monkeypatch.setattr(box_prompts, "load_sam", lambda *args, **options: network)
    (photo,) = read_annotations("coco", source, tmp_path / "images", "stored", boxes=boxes)
    cat = photo.read()[0]
    assert np.array_equal(cat.mask, np.rot90(box_mask(), -1))


def test_weights_that_cannot_be_had(tmp_path, source, capsys):
    options = ["--images", str(tmp_path / "images"), "--out", str(tmp_path / "m"), "--model", "nobody/nothing"]
    assert cli.main(["masks", "--from", "coco", str(source), "--boxes", "sam", *options]) == 2
    said = capsys.readouterr().err.strip()
    assert "cannot fetch the weights of transformers:nobody/nothing" in said
    assert said.endswith("or say --boxes ellipse or --boxes box, which need no model")
    assert said.count("\n") == 0
    assert not (tmp_path / "m").exists()
    with pytest.raises(UserError, match="--boxes"):
        make_masks(str(tmp_path / "images"), out=str(tmp_path / "m"), boxes="sam")
