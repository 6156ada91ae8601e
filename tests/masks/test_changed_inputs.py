"""A second call makes anew what changed since: the annotation, the photo under its name, the weights, the prompts."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.annotation_files import FLAT, box_mask, coco, save_mask, save_photo, write_json
from helpers.small_models import tiny_network
from robustvit import make_masks
from robustvit.data.manifest import MaskRecord, read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.masks.folder import MaskFolder, digest_inputs
from robustvit.masks.sources.relevance import RelevanceMask
from robustvit.masks.sources.sam2 import Prompts, Sam2
from robustvit.models.classifier import Classifier

SMALL = [[2, 2, 9, 2, 9, 9, 2, 9]]


@pytest.fixture
def annotated(tmp_path):
    """Two photos of cats in COCO, and a call that reads them; ``write`` changes the first annotation."""
    pytest.importorskip("pycocotools.mask")
    for name in ("a.png", "b.png"):
        save_photo(tmp_path / "photos" / name)

    def write(**changes):
        content = coco(file_name="a.png", **changes)
        content["categories"].append({"id": 4, "name": "dog"})
        content["images"].append({"id": 2, "file_name": "b.png"})
        content["annotations"].append({**content["annotations"][0], "image_id": 2, "category_id": 3, "id": 8})
        content["annotations"][1]["segmentation"] = [FLAT]
        return str(write_json(content, tmp_path / "ann.json"))

    def read(**options):
        return make_masks(
            str(tmp_path / "ann.json"),
            out=str(tmp_path / "m"),
            from_="coco",
            images=str(tmp_path / "photos"),
            **options,
        )

    write()
    read()
    return write, read, tmp_path


def labels(made) -> list[str | None]:
    return [record.label for record in made.records]


def test_a_corrected_outline_is_read_again_and_nothing_else(annotated):
    write, read, tmp_path = annotated
    write(segmentation=SMALL)
    stamp = (tmp_path / "m" / "b.png").stat().st_mtime_ns
    assert read().made == 1
    assert read_mask(tmp_path / "m" / "a.png").sum() == 49
    assert (tmp_path / "m" / "b.png").stat().st_mtime_ns == stamp
    assert read().made == 0


def test_a_corrected_class_is_read_again(annotated):
    write, read, tmp_path = annotated
    write(category_id=4)
    assert labels(read()) == ["dog", "cat"]
    assert labels(read()) == ["dog", "cat"]
    assert len(read_manifest(tmp_path / "m" / "manifest.csv")) == 2


def test_a_class_that_was_taken_back_leaves_no_mask(annotated):
    write, _, tmp_path = annotated
    source, photos = write(), str(tmp_path / "photos")
    every = {"out": str(tmp_path / "all"), "from_": "coco", "images": photos, "label_from": "all"}
    make_masks(source, **every)
    write(category_id=4)
    assert labels(make_masks(source, **every)) == ["dog", "cat"]
    assert sorted(path.parent.name for path in (tmp_path / "all").rglob("a.png")) == ["dog"]


def test_a_photo_replaced_under_its_name_is_read_again(annotated):
    _, read, tmp_path = annotated
    Image.new("RGB", (44, 30), "red").save(tmp_path / "photos" / "b.png")
    assert read().made == 1


def test_masks_whose_annotation_is_gone_are_named(annotated):
    _, read, tmp_path = annotated
    write_json(coco(file_name="a.png"), tmp_path / "ann.json")
    assert any("1 mask in" in line and "b.png" in line and "does not list" in line for line in read().problems)


def test_an_edited_mask_is_kept_and_said(annotated):
    write, read, tmp_path = annotated
    edited = tmp_path / "m" / "a.png"
    Image.fromarray(np.eye(30, 44, dtype=np.uint8) * 255).save(edited)
    before = edited.read_bytes()
    write(segmentation=SMALL)
    made = read()
    assert edited.read_bytes() == before
    assert any("its mask was edited: it is kept" in line for line in made.problems)


def test_corrected_label_files_and_masks_are_read_again(tmp_path):
    pytest.importorskip("pycocotools.mask")
    save_photo(tmp_path / "photos" / "a.png")
    (tmp_path / "labels").mkdir()
    for outline, names in (("0.1 0.1 0.6 0.1 0.6 0.6", "cat"), ("0.1 0.1 0.9 0.1 0.9 0.9", "cat"), (None, "dog")):
        if outline:
            (tmp_path / "labels" / "a.txt").write_text(f"0 {outline}")
        (tmp_path / "labels" / "classes.txt").write_text(names)
        made = make_masks(
            str(tmp_path / "labels"), out=str(tmp_path / "y"), from_="yolo", images=str(tmp_path / "photos")
        )
        assert (made.made, labels(made)) == (1, [names])
    for shift in range(2):
        save_mask(np.roll(box_mask(), shift, axis=0), tmp_path / "masks" / "a.png")
        options = {"out": str(tmp_path / "b"), "from_": "binary", "images": str(tmp_path / "photos")}
        assert make_masks(str(tmp_path / "masks"), **options).made == 1
        assert (read_mask(tmp_path / "b" / "a.png") == np.roll(box_mask(), shift, axis=0)).all()


def without_digests(manifest):
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != "inputs"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_annotations_of_a_folder_of_an_earlier_version_are_read_again(annotated):
    write, read, tmp_path = annotated
    without_digests(tmp_path / "m" / "manifest.csv")
    settings = {"from": "coco", "categories": [], "label_from": "largest"}
    write_json(settings, tmp_path / "m" / "settings.json")
    write(category_id=4)
    assert labels(read()) == ["dog", "cat"]


def test_model_masks_of_an_earlier_version_are_kept_and_counted(tmp_path):
    photo = save_photo(tmp_path / "a.png")
    folder = MaskFolder(tmp_path / "m", {})
    folder.start()
    folder.add(MaskRecord(photo, tmp_path / "m" / "a.png", None, "good", 1.0), box_mask())
    record = MaskRecord(photo, None, None, "none", 0.0)
    assert folder.forget_changed([record], lambda one: digest_inputs(one.image), unknown=False) == (1, [])
    assert not folder.missing([record])


def test_weights_and_prompts_count(tmp_path):
    first, other = RelevanceMask(Classifier(tiny_network())), Classifier(tiny_network())
    assert first.content(tmp_path) == RelevanceMask(other).content(tmp_path)
    with torch.no_grad():
        next(other.network.parameters()).add_(1)
    other = RelevanceMask(other)
    assert first.content(tmp_path) != other.content(tmp_path)
    source = Sam2.__new__(Sam2)
    source.network, source.prompts = torch.nn.Linear(2, 2), {"cat/a.png": Prompts([[1, 2, 3, 4]])}
    places = {"cat/a.png": tmp_path / "cat" / "a.png", "dog/a.png": tmp_path / "dog" / "a.png"}
    assert source.match_photos(places, tmp_path) == []
    assert len({source.content(path) for path in places.values()}) == 2
    source.prompts = {"a.png": Prompts([[1, 2, 3, 4]])}
    (line,) = source.match_photos(places, tmp_path)
    assert line.startswith("prompts of a.png: several photos could be 'a.png'")
