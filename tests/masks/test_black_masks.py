"""Masks of classes without an object: black, in rows of their own, and made anew when the names change."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import write_photos
from robustvit import UserError, make_masks
from robustvit.common.photo_options import PhotoOptions
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_filter import find_usable_photos
from robustvit.masks.confidence import rate_together


@pytest.fixture
def call(tmp_path, model_folder):
    images, _ = write_photos(tmp_path, 2)

    def make(**options):
        return make_masks(
            str(images),
            out=str(tmp_path / "found"),
            method="relevance",
            model=str(model_folder),
            device="cpu",
            **options,
        )

    return make


def verdicts(made):
    return {f"{one.label}/{one.image.stem}": one.verdict for one in read_manifest(made.manifest)}


def test_named_classes_get_black_masks_and_rows_that_say_so(call, tmp_path):
    made = call(no_object="stripe", review_page=str(tmp_path / "r.html"))
    rows = [one for one in read_manifest(made.manifest) if one.label == "stripe"]
    assert [(one.verdict, one.confidence, one.reason) for one in rows] == [
        ("no-object", 1.0, "--no-object names its class")
    ] * 2
    for row in rows:
        mask = np.asarray(Image.open(row.mask))
        assert mask.shape == (48, 48)
        assert not mask.any()
    assert "2 photos said to show no object: black masks" in str(made)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('class="badge no-object"') == 2
    assert "empty mask" not in page
    assert call(no_object="stripe").made == 0
    options = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "found"), "doubtful": True}
    photos, notes = find_usable_photos(PhotoOptions(**options, skip_unmasked=True))
    assert sum(photo.class_name == "stripe" for photo in photos) == 2
    assert not any("stripe" in note for note in notes)
    listed, _ = find_usable_photos(PhotoOptions(images=str(made.manifest), doubtful=True))
    assert sum(photo.class_name == "stripe" for photo in listed) == 2


def test_other_names_make_only_their_masks_anew(call):
    first = verdicts(call())
    assert "no-object" not in first.values()
    made = call(no_object=["disc"])
    assert made.made == 2
    second = verdicts(made)
    assert {name for name, verdict in second.items() if verdict == "no-object"} == {"disc/000", "disc/001"}
    assert {name: second[name] for name in first if "disc" not in name} == {
        name: first[name] for name in first if "disc" not in name
    }
    assert verdicts(call()) == first


def test_black_mask_files_are_read_as_such(tmp_path, model_folder):
    images, masks = write_photos(tmp_path, 2)
    for mask in (masks / "stripe").iterdir():
        Image.new("L", (48, 48)).save(mask)
    made = make_masks(str(masks), out=str(tmp_path / "read"), from_="binary", images=str(images))
    assert made.problems == []
    assert [one.reason for one in made.records if one.verdict == "no-object"] == ["the mask is empty"] * 2
    assert "2 photos said to show no object: black masks" in str(made)
    photos, _ = find_usable_photos(PhotoOptions(images=str(made.manifest)))
    assert sum(photo.class_name == "stripe" for photo in photos) == 2
    for mask in masks.glob("*/*.png"):
        Image.new("L", (48, 48)).save(mask)
    with pytest.raises(UserError, match="no mask could be made"):
        make_masks(str(masks), out=str(tmp_path / "none"), from_="binary", images=str(images))


def test_black_masks_say_nothing_about_the_background(call):
    records = read_manifest(call(no_object="stripe,disc").manifest)
    assert rate_together([one for one in records if one.verdict == "no-object"]) == (
        [one for one in records if one.verdict == "no-object"],
        [],
    )


def test_names_that_do_not_fit_are_refused(call, tmp_path):
    with pytest.raises(UserError, match="--no-object to be one of disc, frame, stripe, got 'ok'"):
        call(no_object="ok")
    with pytest.raises(UserError, match="--no-object is for masks that a model makes"):
        make_masks(str(tmp_path / "masks"), out=str(tmp_path / "x"), from_="binary", images=str(tmp_path / "images"),
                   no_object="stripe")  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_manifests_without_such_rows_are_read(tmp_path):
    (tmp_path / "manifest.csv").write_text(
        "image,mask,label,verdict,confidence\na.png,b.png,x,good,1\nc.png,,x,none,0\n", encoding="utf-8"
    )
    assert [one.verdict for one in read_manifest(tmp_path / "manifest.csv")] == ["good", "none"]
