"""Which masks training believes: manifest, review, and what is said about those left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.drawn_photos import write_photos
from robustvit import UserError
from robustvit.data.find_photos import MaskRules, find_photos
from robustvit.data.manifest import MaskRecord, append_record, read_manifest, write_manifest
from robustvit.data.mask_filter import MaskFilter
from robustvit.data.review import Review


@pytest.fixture
def folders(tmp_path):
    """Nine photos; the second of each class has a doubtful mask, the third none at all."""
    images, masks = write_photos(tmp_path, 3)
    records = []
    for photo in sorted(images.glob("*/*.png")):
        verdict = ("good", "doubtful", "none")[int(photo.stem)]
        mask = masks / photo.parent.name / photo.name
        if verdict == "none":
            mask.unlink()
        records.append(
            MaskRecord(photo, None if verdict == "none" else mask, photo.parent.name, verdict, 0.5, "why", "tokencut",
                       {"share": 0.25, "cut": 0.125})
        )  # fmt: skip
    write_manifest(records, masks / "manifest.csv")
    return images, masks


def names(photos):
    return [f"{photo.class_name}/{photo.image.stem}" for photo in photos]


def test_manifest_round_trip(folders):
    _, masks = folders
    records = read_manifest(masks / "manifest.csv")
    assert len(records) == 9
    assert records[0].mask == masks / "disc" / "000.png"
    assert records[2].mask is None
    assert records[1].measures == {"share": 0.25, "cut": 0.125}
    write_manifest(records, masks / "again.csv")
    assert (masks / "again.csv").read_bytes() == (masks / "manifest.csv").read_bytes()


def test_a_row_cut_off_by_a_kill_is_left_out(tmp_path):
    record = MaskRecord(tmp_path / 'a, "b"\n.png', tmp_path / "m.png", "x", "good", 1.0)
    for _ in range(2):
        append_record(record, tmp_path / "manifest.csv")
    text = (tmp_path / "manifest.csv").read_text()
    (tmp_path / "manifest.csv").write_text(text[:-5])
    assert [found.image.name for found in read_manifest(tmp_path / "manifest.csv")] == ['a, "b"\n.png']


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,mask\na.png,b.png\n", "verdict"),
        ("image,mask,label,verdict,confidence\na.png,b.png,x,fine,1\n", "line 2"),
        ("image,mask,label,verdict,confidence\na.png,b.png,x,good,much\n", "line 2"),
        ("image,mask,label,verdict,confidence\n,b.png,x,good,1\n", "line 2"),
    ],
)
def test_broken_manifests(tmp_path, text, words):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path / "manifest.csv")


def test_doubtful_masks_are_left_out_and_counted(folders):
    images, masks = folders
    keep = MaskFilter(images, masks)
    assert names(find_photos(images, masks, rules=MaskRules(keep=keep))) == ["disc/000", "frame/000", "stripe/000"]
    assert keep.left_out == {"doubtful": 3, "none": 3}
    counted = "/images left out: 3 with a doubtful mask, 3 in which no object was found"
    assert keep.note.startswith("6 photos of ")
    assert counted in keep.note
    keep = MaskFilter(images, masks, doubtful=True)
    assert len(find_photos(images, masks, rules=MaskRules(keep=keep))) == 6
    assert "--doubtful" not in keep.note


def test_the_manifest_itself_is_a_list_of_photos(folders):
    _, masks = folders
    manifest = masks / "manifest.csv"
    photos = find_photos(manifest, rules=MaskRules(keep=MaskFilter(manifest, None)))
    assert names(photos) == ["disc/000", "frame/000", "stripe/000"]
    assert all(photo.mask.is_file() for photo in photos)


def test_a_review_goes_first(folders):
    images, masks = folders
    decisions = {str(images / "disc" / "000.png"): False, str(images / "frame" / "001.png"): True}
    keep = MaskFilter(images, masks, review=Review(decisions, Path("review.csv")))
    assert names(find_photos(images, masks, rules=MaskRules(keep=keep))) == ["frame/000", "frame/001", "stripe/000"]
    assert keep.left_out == {"dropped": 1, "doubtful": 2, "none": 3}


def test_masks_without_a_manifest_are_all_used(folders):
    images, masks = folders
    (masks / "manifest.csv").unlink()
    with pytest.raises(UserError, match="without a mask"):
        find_photos(images, masks, rules=MaskRules(keep=MaskFilter(images, masks)))
    keep = MaskFilter(images, masks)
    assert len(find_photos(images, masks, rules=MaskRules(skip_unmasked=True, keep=keep))) == 6
    assert keep.note == ""


def test_moved_photos_keep_their_verdicts(folders, tmp_path):
    images, masks = folders
    shutil.move(images, tmp_path / "elsewhere")
    photos = find_photos(
        tmp_path / "elsewhere", masks, rules=MaskRules(skip_unmasked=True, keep=MaskFilter(images, masks))
    )
    assert names(photos) == ["disc/000", "frame/000", "stripe/000"]


def test_masks_made_in_one_call_for_train_and_test(folders, tmp_path):
    """One level up: the manifest of the whole speaks for each part; a manifest of someone else's does not."""
    images, masks = folders
    photos = find_photos(images / "disc", masks / "disc", labelled=False, rules=MaskRules(skip_unmasked=True))
    (masks / "settings.json").write_text("{}")
    keep = MaskFilter(images / "disc", masks / "disc")
    assert [photo.image.stem for photo in photos if keep(photo)] == ["000"]
    assert keep.left_out == {"doubtful": 1}
    (masks / "settings.json").unlink()
    assert all(map(MaskFilter(images / "disc", masks / "disc"), photos))


def test_a_mask_drawn_for_a_photo_without_one_is_used(folders):
    images, masks = folders
    shutil.copy(masks / "disc" / "000.png", masks / "disc" / "002.png")
    keep = MaskFilter(images, masks)
    assert names(find_photos(images, masks, rules=MaskRules(keep=keep))) == [
        "disc/000",
        "disc/002",
        "frame/000",
        "stripe/000",
    ]
    assert keep.left_out == {"doubtful": 3, "none": 2}


def test_everything_left_out_is_an_error(folders):
    images, masks = folders
    with pytest.raises(UserError, match="every photo was left out"):
        find_photos(images, masks, rules=MaskRules(keep=lambda photo: False))
