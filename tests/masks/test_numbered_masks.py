"""Numbers in the names of masks: several masks of a photo are united, but never those of several photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from robustvit.masks.annotations import read_annotations


def read(folder, photos: list[str], masks: list[str]):
    """Read masks of four pixels each, the nth on row n."""
    for place in (folder / "photos", folder / "masks"):
        place.mkdir()
    for name in photos:
        Image.new("RGB", (16, 16)).save(folder / "photos" / f"{name}.jpg")
    for row, name in enumerate(masks):
        mask = np.zeros((16, 16), np.uint8)
        mask[row, :4] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    found = read_annotations("binary", folder / "masks", folder / "photos")
    united = {photo.image.stem: sum(one.mask for one in photo.read()) for photo in found}
    rows = {stem: np.flatnonzero(mask.any(axis=1)).tolist() for stem, mask in united.items()}
    return rows, "\n".join(found.problems)


PHOTOS = {"of one name": ["gas_mask", "gas_mask_1", "gas_mask_2"], "numbered alone": ["with_mask_1", "with_mask_2"]}


@pytest.mark.parametrize("names", PHOTOS.values(), ids=list(PHOTOS))
def test_photos_called_as_numbered_masks_keep_their_own(tmp_path, names):
    rows, problems = read(tmp_path, names, names)
    assert rows == {name: [row] for row, name in enumerate(names)}
    assert problems == ""


def test_a_mask_of_a_missing_photo_joins_no_other(tmp_path):
    rows, problems = read(tmp_path, ["gas_mask", "gas_mask_1"], ["gas_mask", "gas_mask_1", "gas_mask_9"])
    assert rows == {"gas_mask": [0], "gas_mask_1": [1]}
    assert "no photo 'gas_mask_9'" in problems
    assert "united" not in problems


@pytest.mark.parametrize("masks", [["a_mask", "a_mask_1"], ["a_mask_1", "a_mask_2"]])
def test_numbered_masks_of_a_photo_are_united(tmp_path, masks):
    rows, problems = read(tmp_path, ["a"], masks)
    assert rows == {"a": [0, 1]}
    assert "1 photo with several masks, which are united" in problems


def test_only_masks_of_photos_count_as_united(tmp_path):
    rows, problems = read(tmp_path, ["clip_000", "clip_001", "b"], ["clip_mask_000", "clip_mask_001", "b"])
    assert rows == {"b": [2]}
    assert "no photo 'clip_mask_000'" in problems
    assert "united" not in problems
