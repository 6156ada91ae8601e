"""Photos that a run was given and does not use are counted, and groups without any training photo are named."""

from __future__ import annotations

from collections import Counter

from helpers.drawn_photos import CLASSES, write_photos
from helpers.grouped_photos import list_sites, write_sites
from helpers.small_models import tiny_network
from robustvit.data.gather import RunPhotos, SelectionSettings, gather_photos
from robustvit.data.given_photos import PhotoSources
from robustvit.models.classifier import Classifier


def gathered(samples: int, held_out: int = 20, **sources: str) -> RunPhotos:
    return gather_photos(
        PhotoSources(**sources),
        Classifier(tiny_network(), class_names=CLASSES),
        SelectionSettings(samples, "all", held_out, 0),
        labelled=True,
        predict=lambda photos: list(photos),
    )


def said(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_photos_beyond_both_limits_are_counted(tmp_path, capsys):
    images, masks = write_photos(tmp_path, 6)
    found = gathered(2, 3, images=str(images), masks=str(masks))
    assert len({photo.image for members in found.splits.values() for photo in members}) == 15
    assert (
        "3 of 18 photos not used: this run trains on up to 2 photos per class (--samples-per-class) and holds out up "
        "to 3 (--validation-per-class)."
    ) in said(capsys)


def test_with_other_photos_for_validation_only_the_training_limit_counts(tmp_path, capsys):
    images, masks = write_photos(tmp_path / "a", 6)
    other = write_photos(tmp_path / "b", 2, seed=5)
    gathered(1, images=str(images), masks=str(masks), val_images=str(other[0]), val_masks=str(other[1]))
    line = said(capsys)
    assert "15 of 18 photos not used: this run trains on up to 1 photo per class (--samples-per-class)." in line
    assert "holds out" not in line


def test_nothing_is_said_where_every_photo_is_used(tmp_path, capsys):
    images, masks = write_photos(tmp_path, 4)
    gathered(3, images=str(images), masks=str(masks))
    assert "not used" not in said(capsys)


def test_a_group_that_no_photo_was_drawn_from_is_named(tmp_path, capsys):
    write_sites(tmp_path, {"north": 12, "south": 1})
    listed = str(list_sites(tmp_path))
    drawn = {samples: gathered(samples, images=listed) for samples in (1, 12)}
    for samples, found in drawn.items():
        without = set(found.groups) - set(Counter(photo.group for photo in found.train))
        named = [note for note in found.notes if "was trained on" in note]
        assert bool(named) == bool(without), samples
        assert all(name in note for note in named for name in without)
    assert not {photo.group for photo in drawn[1].train} >= {"north", "south"}
