"""What chooses the epoch does not judge it, and runs of older versions, where it did, go on."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from helpers.drawn_photos import write_photos
from robustvit import UserError, finetune
from robustvit.data.gather import _halve
from robustvit.data.photo import Photo
from robustvit.evaluation.photo_measures import read_measures

FAST = {"lr": 3e-4, "swaps": 1, "panels": 0, "samples_per_class": 4, "tracker": "none"}


def as_an_older_version_left_it(run: Path) -> None:
    """A run that was killed after its first epoch: the same photos choose and judge, and there is no mixed-other."""
    rows = list(csv.DictReader((run / "selection.csv").open(newline="")))
    held = [row for row in rows if row["split"] == "validation"]
    with (run / "selection.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            [row for row in rows if row["split"] == "train"] + held + [row | {"split": "verdict"} for row in held]
        )
    measures = json.loads((run / "before.json").read_text())
    for one in measures:
        one["values"].pop("mixed-other", None)
        one["swapped"] = [swap | {"donor": 0} for swap in one["swapped"] if swap["kind"] != "mixed-other"]
    (run / "before.json").write_text(json.dumps(measures))


def test_a_run_of_an_older_version_goes_on_with_its_photos(tmp_path, model_folder, photos):
    test = write_photos(tmp_path / "test", 4, seed=7)
    options = {
        "model": str(model_folder),
        "images": str(photos[0]),
        "masks": str(photos[1]),
        "out": str(tmp_path / "run"),
    }
    options |= FAST | {"val_images": str(test[0]), "val_masks": str(test[1])}
    same = {"test_images": str(test[0]), "test_masks": str(test[1])}
    finetune(**options | same | {"epochs": 1})
    config = tmp_path / "run" / "config.yaml"
    config.write_text(re.sub("(test_images|test_masks): .*", r"\1: null", config.read_text()))
    as_an_older_version_left_it(tmp_path / "run")
    found = finetune(**options | {"epochs": 2}, resume=True)
    assert found.verdict.of("mixed-other").difference.count == 12
    assert any("also chose the epoch" in note for note in found.verdict.notes)
    assert any("the original was measured again" in note for note in found.verdict.notes)
    before = read_measures(tmp_path / "run" / "before.json")
    after = read_measures(tmp_path / "run" / "after.json")
    for old, new in zip(before, after, strict=True):
        assert [(one.kind, one.donor) for one in old.swapped] == [(one.kind, one.donor) for one in new.swapped]


def test_a_single_photo_cannot_choose_and_judge(tmp_path):
    photo = Photo(Path("a.png"), Path("m.png"), "disc", 0)
    with pytest.raises(UserError, match=r"at least two photos to hold out.*--test-images"):
        _halve([photo], [])


def test_halves_are_of_every_class_and_of_single_photos_too():
    names = ["a"] * 5 + ["b"] * 4 + ["c", "d", "e"]
    chosen, judged = _halve([Photo(Path(f"{n}.png"), None, name, 0) for n, name in enumerate(names)], [])
    assert Counter(photo.class_name for photo in chosen) == {"a": 2, "b": 2, "d": 1}
    assert Counter(photo.class_name for photo in judged) == {"a": 3, "b": 2, "c": 1, "e": 1}
