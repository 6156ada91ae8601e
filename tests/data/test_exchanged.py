"""Photos and masks that were given the wrong way round, and folders one level too high."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from robustvit import UserError
from robustvit.common.photo_options import PhotoOptions
from robustvit.data.class_matching import match_labels
from robustvit.data.find_photos import find_photos
from robustvit.data.mask_doubts import count_colours
from robustvit.data.mask_filter import find_usable_photos


@pytest.fixture
def folders(tmp_path):
    """Noisy photos of two classes, and masks of a disc."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :40]
    disc = np.uint8(255) * ((rows - 20) ** 2 + (columns - 20) ** 2 < 100)
    for name in ("cat", "dog"):
        for number in range(3):
            for kind, picture in (("images", rng.integers(0, 255, (40, 40, 3), np.uint8)), ("masks", disc)):
                place = tmp_path / kind / name / f"{number}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(place)
    return tmp_path / "images", tmp_path / "masks"


def test_photos_and_masks_the_wrong_way_round_are_asked_about(folders):
    images, masks = folders
    assert len(find_photos(images, masks)) == 6
    with pytest.raises(UserError, match="are --images and --masks exchanged"):
        find_photos(masks, images)


def test_colours_are_counted_without_mixing_them(tmp_path):
    pixels = np.zeros((300, 300), np.uint8)
    pixels[::2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert count_colours(tmp_path / "a.png") <= 2
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert count_colours(tmp_path / "b.png") == 16


def test_a_folder_one_level_too_high_is_named(folders, tmp_path):
    images, masks = folders
    shutil.copytree(images, tmp_path / "set" / "data" / "photos")
    deeper = tmp_path / "set" / "data" / "photos"
    with pytest.raises(UserError, match=f"lie deeper, in folders of {deeper} .cat, dog.*name {deeper}"):
        find_photos(tmp_path / "set", masks)
    with pytest.raises(UserError, match=f"lie deeper, in folders of {deeper}"):
        match_labels(find_photos(tmp_path / "set", labelled=False), 2, ("cat", "dog"))


def test_every_class_that_the_model_lacks_is_listed(folders):
    photos = find_photos(folders[0])
    with pytest.raises(UserError, match=r"class folders 'cat' \(did you mean 'cats'\?\), 'dog' are not classes"):
        match_labels(photos, 2, ("cats", "horse"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: 255 - mask, "--mask-format inverted"),
        (lambda mask: np.maximum(mask, 255 * (np.indices(mask.shape).min(axis=0) > 0).astype(np.uint8)), "inverted"),
        (lambda mask: np.full_like(mask, 255), "6 of 6 masks looked at.*cover the whole frame.*--mask-format"),
    ],
    ids=["inverted", "nearly full", "full"],
)
def test_masks_that_leave_no_background_are_asked_about(folders, change, words):
    images, masks = folders
    for path in masks.rglob("*.png"):
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)
    with pytest.raises(UserError, match=words):
        find_usable_photos(PhotoOptions(images=str(images), masks=str(masks)))
