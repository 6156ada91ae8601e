"""``robustvit evaluate --on segmentation``: the user's photos and masks, recorded, compared, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import write_photos
from robustvit import UserError, evaluate
from robustvit.cli import main as cli
from robustvit.data.find_photos import MaskRules, find_photos
from robustvit.data.manifest import MaskRecord, write_manifest
from robustvit.evaluation.on_sets.segmentation_scores import segmentation_test
from robustvit.evaluation.records.record import read_records
from robustvit.models.load import load_model


def test_segmentation_of_photos_and_masks(capsys, tmp_path, thousand, other):
    images, masks = write_photos(tmp_path, 2)
    command = ["evaluate", "--model", str(thousand), "--on", "segmentation", "--images", str(images)]
    command += ["--masks", str(masks), "--records", str(tmp_path / "r"), "--device", "cpu"]
    assert cli.main(command) == 0
    record = read_records(tmp_path / "r")[0]
    assert set(record.numbers) == {"pixel_accuracy", "miou", "map"}
    assert (record.samples, record.complete) == (6, True)
    assert "mAP" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert "recorded before" in capsys.readouterr().out
    assert cli.main([*command, "--baseline", str(other)]) == 0
    assert "against" in capsys.readouterr().out
    assert {"pixel_accuracy", "miou", "map", "baseline"} == set(read_records(tmp_path / "r")[0].compared)
    assert cli.main([*command[:4], "imagenet-segmentation", *command[9:], "--root", str(tmp_path)]) == 2
    assert "gtsegs_ijcv.mat" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert "recorded before" in capsys.readouterr().out, "what is compared with is kept"
    assert read_records(tmp_path / "r")[0].compared
    mask = sorted(masks.rglob("*.png"))[0]
    Image.fromarray(255 - np.asarray(Image.open(mask).convert("L"))).save(mask)
    assert cli.main(command) == 0
    assert "recorded before" not in capsys.readouterr().out, "a mask was drawn anew"
    assert cli.main([*command, "--relevance", "rollout"]) == 0
    assert {record.set.rpartition("+")[2] for record in read_records(tmp_path / "r")} >= {"rollout"}
    assert len(read_records(tmp_path / "r")) == 2, "maps of another method are another result"


def test_segmentation_takes_what_is_said_about_masks(capsys, tmp_path, thousand):
    images, masks = write_photos(tmp_path, 2)
    for mask in masks.rglob("*.png"):
        Image.fromarray((np.asarray(Image.open(mask).convert("L")) > 0).astype(np.uint8) * 40).save(mask)
    (masks / "disc" / "000.png").unlink()
    options = {"model": str(thousand), "on": "segmentation", "images": str(images), "masks": str(masks)}
    options |= {"records": str(tmp_path / "r"), "device": "cpu"}
    with pytest.raises(UserError, match="--skip-unmasked"):
        evaluate(**options)
    (record,) = evaluate(**options, skip_unmasked=True, mask_format="ids").records
    assert record.samples == 5
    network = load_model(str(thousand))
    photos = find_photos(images, masks, labelled=False, rules=MaskRules(skip_unmasked=True))
    expected = segmentation_test(network, photos, mask_format="ids").numbers
    assert record.numbers["miou"].mean == pytest.approx(expected["miou"].mean)
    assert expected["miou"].mean != segmentation_test(network, photos, mask_format="soft").numbers["miou"].mean
    *others, last = photos
    rows = [MaskRecord(photo.image, photo.mask, photo.class_name, "good", 1.0) for photo in others]
    write_manifest([*rows, MaskRecord(last.image, last.mask, last.class_name, "doubtful", 0.1)], masks / "manifest.csv")
    capsys.readouterr()
    (record,) = evaluate(**options, skip_unmasked=True, mask_format="ids").records
    assert record.samples == 4
    assert capsys.readouterr().err.count("left out") == 1
    (record,) = evaluate(**options, skip_unmasked=True, mask_format="ids", doubtful=True).records
    assert record.samples == 5
