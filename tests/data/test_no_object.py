"""Photos without an object: what says so, what is counted in a line, and what must not pass for one."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import write_photos
from robustvit import UserError
from robustvit.common.photo_options import PhotoOptions
from robustvit.data.datasets import MaskedPhotos, read_pair
from robustvit.data.find_photos import MaskRules, find_photos
from robustvit.data.manifest import MaskRecord, write_manifest
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.no_object import split_names
from robustvit.data.objects_seen import check_objects, describe_objects, shows_no_object
from robustvit.data.photo import Photo
from robustvit.models.classifier import Preprocessing

SQUARE = Preprocessing(input_size=(48, 48), crop_share=1.0)


@pytest.fixture
def folders(tmp_path):
    """Three photos of each of three classes; the masks of stripe are black."""
    images, masks = write_photos(tmp_path, 3)
    for mask in (masks / "stripe").iterdir():
        blacken(mask)
    return images, masks


def blacken(mask):
    Image.new("L", Image.open(mask).size).save(mask)


def usable(images, masks, **options):
    return find_usable_photos(PhotoOptions(images=str(images), masks=None if masks is None else str(masks), **options))


def lines(photos, preprocessing=SQUARE):
    return describe_objects(check_objects(MaskedPhotos(photos, preprocessing)), preprocessing)


@pytest.mark.parametrize("suffix", ["png", "jpg", "npy"])
def test_an_empty_mask_says_that_there_is_no_object(folders, suffix):
    images, masks = folders
    place = masks / "stripe" / "000.png"
    place.unlink()
    if suffix == "npy":
        np.save(place.with_suffix(".npy"), np.zeros((48, 48), np.uint8))
    else:
        noise = np.random.default_rng(0).integers(0, 4 if suffix == "jpg" else 1, (48, 48))
        Image.fromarray(noise.astype(np.uint8)).save(place.with_suffix(f".{suffix}"))
    photos, notes = usable(images, masks)
    assert notes == []
    photo = next(one for one in photos if one.image.parent.name == "stripe" and one.image.stem == "000")
    assert not read_pair(photo)[1].any()
    assert shows_no_object(photo, "auto")
    items = MaskedPhotos(photos, SQUARE)
    assert [bool(items[at]["empty"]) for at in range(9)] == [False] * 6 + [True] * 3
    (line,) = lines(photos)
    assert line.startswith("3 of 9 photos show no object (all 3 of class stripe): they count in ordinary accuracy")


def test_some_empty_masks_in_a_class_with_objects_are_worth_a_line(folders):
    images, masks = folders
    blacken(masks / "disc" / "001.png")
    first, second = lines(usable(images, masks)[0])
    assert "(1 of 3 of class disc, all 3 of class stripe)" in first
    assert second.startswith("1 mask of classes that have objects is empty, such as disc/001.png: if the object was")
    assert "--skip-unmasked" in second


def test_named_classes_need_no_masks_and_those_they_have_are_not_used(folders):
    images, masks = folders
    for mask in (masks / "stripe").iterdir():
        mask.unlink()
    (masks / "stripe").rmdir()
    with pytest.raises(UserError, match="masks lacks stripe; if its photos show no object, say so with --no-object"):
        usable(images, masks)
    photos, notes = usable(images, masks, no_object="stripe")
    assert notes == []
    assert [photo.no_object for photo in photos] == [False] * 6 + [True] * 3
    photos, notes = usable(images, masks, no_object=["stripe", "disc"])
    assert notes == ["3 masks of class disc not used: --no-object says nothing is there."]
    assert [photo.mask is None for photo in photos] == [True] * 3 + [False] * 3 + [True] * 3


def test_black_masks_of_named_classes_are_no_news(folders):
    assert usable(*folders, no_object="stripe")[1] == []


def test_a_missing_or_broken_mask_is_not_an_empty_one(folders):
    images, masks = folders
    (masks / "stripe" / "001.png").unlink()
    with pytest.raises(UserError, match=r"image without a mask: .*stripe/001\.png"):
        usable(images, masks)
    (masks / "stripe" / "001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"stripe/001\.png"):
        check_objects(MaskedPhotos(usable(images, masks)[0], SQUARE))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_empty_mask_in_a_list_that_has_others(folders, ending):
    images, masks = folders
    rows = [
        {"image": str(photo), "mask": str(masks / photo.relative_to(images)), "label": photo.parent.name}
        | ({"mask": ""} if photo.parent.name == "stripe" else {})
        for photo in sorted(images.glob("*/*.png"))
    ]
    place = images.parent / f"list.{ending}"
    with place.open("w", newline="") as file:
        if ending == "csv":
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.write("".join(json.dumps(row | ({} if row["mask"] else {"mask": None})) + "\n" for row in rows))
    photos, _ = usable(place, None)
    assert [photo.no_object for photo in photos] == [False] * 6 + [True] * 3
    assert "all 3 of class stripe" in lines(photos)[0]
    with pytest.raises(UserError, match="class 'stripe' would be left out by --skip-unmasked") as caught:
        usable(place, None, skip_unmasked=True)
    assert "--no-object stripe" in str(caught.value)
    photos, _ = usable(place, None, skip_unmasked=True, no_object="stripe")
    assert len(photos) == 9


def test_a_list_with_a_folder_of_masks_and_a_class_without_an_object(folders):
    images, masks = folders
    shutil.rmtree(masks / "stripe")
    names = [photo.relative_to(images.parent).as_posix() for photo in sorted(images.glob("*/*.png"))]
    place = images.parent / "list.csv"
    place.write_text("image,label\n" + "".join(f"{name},{name.split('/')[-2]}\n" for name in names))
    with pytest.raises(UserError, match=r"image without a mask: .*stripe.*--no-object"):
        usable(place, masks)
    photos, _ = usable(place, masks, no_object="stripe")
    assert [(photo.mask is not None, photo.no_object) for photo in photos] == [(True, False)] * 6 + [(False, True)] * 3
    assert "all 3 of class stripe" in lines(photos)[0]
    assert len(usable(place, masks, no_object=["stripe"], skip_unmasked=True)[0]) == 9


def test_losing_a_class_is_an_error_that_names_it_and_the_option(folders):
    images, masks = folders
    for mask in (masks / "stripe").iterdir():
        mask.unlink()
    with pytest.raises(UserError) as caught:
        usable(images, masks, skip_unmasked=True)
    assert str(caught.value) == (
        "all 3 photos of class 'stripe' would be left out by --skip-unmasked, as none has a mask: say --no-object "
        "stripe if they show no object, or add their masks"
    )
    assert len(usable(images, masks, skip_unmasked=True, no_object="stripe")[0]) == 9


@pytest.mark.parametrize("verdict", ["none", "doubtful"])
def test_a_class_without_a_good_mask_is_not_lost_in_silence(folders, verdict):
    images, masks = folders
    records = []
    for photo in sorted(images.glob("*/*.png")):
        stripe = photo.parent.name == "stripe"
        mask = None if stripe and verdict == "none" else masks / photo.parent.name / photo.name
        records.append(MaskRecord(photo, mask, photo.parent.name, verdict if stripe else "good", 0.5))
        if mask is None:
            (masks / "stripe" / photo.name).unlink()
    write_manifest(records, masks / "manifest.csv")
    with pytest.raises(UserError, match="all 3 photos of class 'stripe' would be left out because of their masks") as e:
        usable(images, masks)
    assert ("--doubtful" if verdict == "doubtful" else "--no-object stripe") in str(e.value)
    photos, _ = usable(images, masks, no_object="stripe")
    assert sum(photo.no_object for photo in photos) == 3


def test_names_that_are_no_classes_or_all_of_them_are_refused(folders, tmp_path):
    images, masks = folders
    with pytest.raises(
        UserError, match=r"--no-object to be one of disc, frame, stripe, got 'strpe': did you mean stripe"
    ):
        usable(images, masks, no_object="strpe")
    with pytest.raises(UserError, match="a class with objects besides --no-object disc,frame,stripe"):
        usable(images, masks, no_object="disc, frame,stripe")
    for kind, source in (("i", images / "disc"), ("m", masks / "disc")):
        (tmp_path / kind).symlink_to(source)
    with pytest.raises(UserError, match="class folders for --no-object ok, found photos without classes"):
        find_usable_photos(
            PhotoOptions(images=str(tmp_path / "i"), masks=str(tmp_path / "m"), no_object="ok"), labelled=False
        )
    assert split_names(None) == split_names(" ,") == []


def test_a_set_without_any_object_is_refused(folders):
    images, masks = folders
    for mask in masks.glob("*/*.png"):
        blacken(mask)
    with pytest.raises(UserError, match=r"none of 9 photos has a mask with a pixel on one, such as .*disc/000\.png"):
        lines(usable(images, masks)[0])
    assert lines(find_photos(images)) == [], "without masks nothing is said"
    with pytest.raises(UserError, match="masks of the classes other than --no-object, found none"):
        lines(find_photos(images, rules=MaskRules(no_object="stripe")))


def test_black_masks_do_not_hide_that_the_others_are_inverted(tmp_path):
    images, masks = write_photos(tmp_path, 4)
    for mask in masks.glob("*/*.png"):
        if mask.parent.name == "stripe" or int(mask.stem) < 2:
            blacken(mask)
        else:
            Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    with pytest.raises(UserError, match=r"in 4 of 4 masks looked at, .*the object covers the border"):
        usable(images, masks)


@pytest.mark.parametrize("augment", [False, True])
def test_a_thin_object_is_thickened_before_it_would_vanish(tmp_path, augment):
    Image.new("RGB", (480, 480), (90, 20, 20)).save(tmp_path / "a.png")
    found = 0
    for at in range(200, 232):
        mask = np.zeros((480, 480), np.uint8)
        mask[240, at] = 255
        Image.fromarray(mask).save(tmp_path / "m.png")
        photo = Photo(tmp_path / "a.png", tmp_path / "m.png", "crack", 0)
        item = MaskedPhotos([photo], SQUARE, augment=augment)[0]
        assert not item["empty"]
        assert 1 <= (item["mask"] > 0.5).sum() <= 9
        found += int(item["mask"].sum())
    assert found < 32 * 9


def test_an_object_outside_the_crop_is_counted_and_not_taken_for_none(tmp_path):
    for name, rows in (("a", slice(0, 10)), ("b", slice(90, 110))):
        Image.new("RGB", (40, 200), (90, 20, 20)).save(tmp_path / f"{name}.png")
        mask = np.zeros((200, 40), np.uint8)
        mask[rows, 5:30] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}m.png")
    photos = [Photo(tmp_path / f"{one}.png", tmp_path / f"{one}m.png", "x", 0) for one in "ab"]
    items = MaskedPhotos(photos, SQUARE)
    assert not items[0]["mask"].any()
    assert not items[0]["empty"]
    (line,) = lines(photos)
    assert "In 1 of 2 photos, such as" in line
    assert "/a.png, the whole object lies outside the crop of 48 x 48 pixels" in line


def test_items_that_show_an_object_are_as_ever(folders):
    images, masks = folders
    data = MaskedPhotos(usable(images, masks)[0], SQUARE, augment=True)
    before = torch.get_rng_state()
    assert torch.equal(data[0]["image"], data[0]["image"])
    assert torch.equal(torch.get_rng_state(), before)
