"""Shifted copies of photos without an object: their original, and their frame behind others' objects."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from helpers.drawn_photos import write_photos
from robustvit import evaluate, shifts


@pytest.fixture
def folders(tmp_path):
    images, masks = write_photos(tmp_path, 3)
    for mask in (masks / "stripe").iterdir():
        Image.new("L", (48, 48)).save(mask)
    return str(images), str(masks)


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_their_original_is_kept_with_a_black_mask_and_the_rest_is_counted(folders, tmp_path, model_folder):
    out = tmp_path / "out"
    found = shifts(*folders, out=str(out), kinds="original,only-fg,no-fg,mixed-other", size=48)
    assert found.images == {"original": 9, "only-fg": 6, "no-fg": 6, "mixed-other": 6}
    assert found.skipped["only-fg"] == {"the photo shows no object": 3}
    made = rows(out / "metadata.csv")
    assert Counter(row["foreground_class"] for row in made if row["kind"] == "mixed-other") == {"disc": 3, "frame": 3}
    lent = {row["background_class"] for row in made if row["kind"] == "mixed-other"}
    assert "stripe" in lent
    for row in made:
        if row["kind"] == "original" and row["foreground_class"] == "stripe":
            assert not np.asarray(Image.open(out / row["mask"])).any()
    again = shifts(*folders, out=str(out), kinds="original,only-fg,no-fg,mixed-other", size=48)
    assert again.made == 0
    measured = evaluate(
        model=str(model_folder), images=str(out / "original"), masks=str(out / "masks" / "original"), swaps=1,
        backgrounds="none", device="cpu",
    )  # fmt: skip
    assert measured.measures["ordinary"].count == 9


def test_moved_objects_may_stand_on_their_whole_frame(folders, tmp_path):
    found = shifts(*folders, out=str(tmp_path / "out"), kinds="si-location", pairs=12, every=20, size=48)
    made = rows(tmp_path / "out" / "metadata.csv")
    assert {row["foreground_class"] for row in made} == {"disc", "frame"}
    assert "stripe" in {row["background_class"] for row in made}
    assert found.skipped["si-location"]["the photo shows no object"] == 3
