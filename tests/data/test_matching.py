"""Which photo an annotation belongs to: exact path, then folders that agree, then names that tools change."""

from __future__ import annotations

import unicodedata

import pytest
from PIL import Image

from robustvit import UserError
from robustvit.data.file_finder import FileFinder
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import read_manifest
from robustvit.data.matching import Fit, Name, match
from robustvit.data.photo_names import PhotoNames


def fit(annotation: str, photo: str, above: str = "photos", **options) -> Fit:
    return match(Name.of(annotation, **options), Name.of(photo), above)


@pytest.mark.parametrize(
    ("annotation", "photo", "expected"),
    [
        ("cat/1.jpg", "cat/1.jpg", Fit.EXACT),
        ("x/../cat/1.jpg", "cat/1.jpg", Fit.EXACT),
        ("1.jpg", "cat/1.jpg", Fit.FOLDERS),
        ("set\\cat\\1.jpg", "cat/1.jpg", Fit.FOLDERS),
        ("/home/me/photos/1.jpg", "1.jpg", Fit.FOLDERS),  # "photos" is the folder that was named
        ("images/1.jpg", "1.jpg", Fit.FOLDERS),
        ("train/1.jpg", "train/images/1.jpg", Fit.FOLDERS),
        ("M\u00fcller.jpg", "Mu\u0308ller.jpg", Fit.FOLDERS),
        ("000001", "000001.jpg", Fit.EXACT),
        ("task1/1.jpg", "1.jpg", Fit.NAME),
        ("task1/1.jpg", "task2/1.jpg", Fit.NONE),
        ("cat/1.jpg", "dog/1.jpg", Fit.NONE),
        ("a/cat/1.jpg", "b/cat/1.jpg", Fit.NONE),
        ("1.png", "1.jpg", Fit.NONE),  # CVAT exports both: they are two photos
        ("abcd1234-1.jpg", "1.jpg", Fit.CHANGED),
        ("/data/local-files/?d=cat%2F1.jpg", "cat/1.jpg", Fit.EXACT),
        ("cat/my%20cat.jpg", "cat/my cat.jpg", Fit.CHANGED),
        ("my_cat_HD.jpg", "my cat (HD).jpg", Fit.CHANGED),
        ("1.JPG", "1.jpg", Fit.CHANGED),
        ("1.jpeg", "1.jpg", Fit.CHANGED),
        ("Cat/1.jpg", "cat/1.jpg", Fit.CHANGED),
        ("1.jpg.png", "1.jpg", Fit.CHANGED),
        ("abcd1234-1.jpg", "2.jpg", Fit.NONE),
        ("20240131-1.jpg", "1.jpg", Fit.NONE),  # a date, not a prefix of Label Studio's
        ("dog/A.jpg", "cat/a.jpg", Fit.NONE),
    ],
)
def test_how_well_an_annotation_fits(annotation, photo, expected):
    assert fit(annotation, photo) == expected


@pytest.mark.parametrize(
    ("mask", "photo", "expected"),
    [
        ("cat/a", "cat/a.JPG", Fit.EXACT),
        ("a_mask", "a.jpg", Fit.CHANGED),
        ("mask_a", "a.jpg", Fit.CHANGED),
        ("a.jpg", "a.jpg", Fit.CHANGED),  # a.jpg.png
        ("a.png", "a.jpg", Fit.NONE),  # a.png.png belongs to a.png
        ("a.jpg_mask", "a.jpg", Fit.CHANGED),
        ("ISIC_1_segmentation", "ISIC_1.jpg", Fit.CHANGED),
        ("x_gtFine_labelIds", "x_leftImg8bit.png", Fit.CHANGED),
        ("104_mask", "104_sat.jpg", Fit.CHANGED),
        ("unmask", "un.jpg", Fit.NONE),
    ],
)
def test_masks_without_the_ending_of_their_photo(mask, photo, expected):
    assert fit(mask, photo, stem_only=True) == expected


def pair(wanted, places, tmp_path, **options):
    return PhotoNames(places, tmp_path / "photos").match({name: name for name in wanted}, **options)


def test_the_better_fit_has_the_photo_whatever_the_order(tmp_path):
    for wanted in (["task1/1.jpg", "1.jpg"], ["1.jpg", "task1/1.jpg"]):
        matches = pair(wanted, ["1.jpg"], tmp_path)
        assert matches.found == {"1.jpg": "1.jpg"}
        assert "1.jpg belongs to 1.jpg" in matches.lost["task1/1.jpg"]


def test_what_fits_twice_is_left_out_on_both_sides(tmp_path):
    matches = pair(["task1/1.jpg", "task2/1.jpg"], ["1.jpg"], tmp_path)
    assert not matches.found
    assert all("is listed twice" in reason for reason in matches.lost.values())
    matches = pair(["1.jpg"], ["cat/1.jpg", "dog/1.jpg"], tmp_path)
    assert matches.lost == {"1.jpg": f"several photos could be '1.jpg': cat/1.jpg and dog/1.jpg in {tmp_path}/photos"}
    assert not pair(["a"], ["a.jpg", "a.png"], tmp_path, stem_only=True).found
    assert not pair(["abcd1234-a.jpg", "abcd1235-a.jpg"], ["a.jpg"], tmp_path).found


def test_a_changed_name_never_takes_the_photo_of_another(tmp_path):
    matches = pair(["a", "a_mask"], ["a.jpg"], tmp_path, stem_only=True)
    assert matches.found == {"a": "a.jpg"}
    assert not matches.notes


def test_a_photo_of_another_folder_is_named(tmp_path):
    matches = pair(["task1/1.jpg"], ["task2/1.jpg"], tmp_path)
    assert matches.lost == {"task1/1.jpg": f"no photo 'task1/1.jpg' in {tmp_path}/photos; task2/1.jpg is another"}


def test_changed_names_are_said_in_one_line(tmp_path):
    names = ["abcd1234-a.jpg", "B.JPG", "c%20d.jpg", "e.jpg.png", "x/f.jpg"]
    matches = pair(names, ["a.jpg", "b.jpg", "c d.jpg", "e.jpg", "f.jpg"], tmp_path)
    assert len(matches.found) == 5
    changed, alone = matches.notes
    assert changed.startswith("4 photos found by a name that a tool may have changed: 'abcd1234-a.jpg' is taken for a")
    assert changed.endswith("'c%20d.jpg' is taken for c d.jpg, ...")
    assert alone == "1 photo found by the name alone: 'x/f.jpg' is taken for f.jpg"


def test_brush_masks_of_label_studio_name_no_photo(tmp_path):
    matches = pair(["task-1-annotation-2-by-1-tag-cat-0"], ["a.jpg"], tmp_path, stem_only=True)
    assert "by their task" in matches.lost["task-1-annotation-2-by-1-tag-cat-0"]


def test_both_spellings_of_a_letter_may_be_two_photos(tmp_path):
    one, other = (unicodedata.normalize(form, "\u00e9.jpg") for form in ("NFC", "NFD"))
    assert pair([one, other], [one, other], tmp_path).found == {one: one, other: other}
    assert pair([one], [other], tmp_path).found == {one: other}


def test_files_are_found_in_other_letters(tmp_path):
    folder = tmp_path / unicodedata.normalize("NFD", "\u00fcbung")
    folder.mkdir()
    for name in (unicodedata.normalize("NFD", "\u00e9.jpg"), "A.JPG", "b.jpg", "B.jpg"):
        (folder / name).write_text(name)
    finder = FileFinder()
    named = tmp_path / "\u00fcbung"
    assert finder.find(named / "\u00e9.jpg").read_text() == unicodedata.normalize("NFD", "\u00e9.jpg")
    assert not finder.notes
    assert finder.find(named / "a.jpg") == folder / "A.JPG"
    assert "a tool may have changed its name" in finder.notes[0]
    assert finder.find(named / "b.JPG") is None  # two could be it
    assert finder.find(named / "c.jpg") is None
    assert finder.find(tmp_path / ("x/" * 1500)) is None
    assert finder.find(tmp_path / ("x" * 5000)) is None


@pytest.mark.parametrize("inner", [".", "cat"])
def test_masks_beside_photos_follow_the_same_rule(tmp_path, capsys, inner):
    letters = [unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD")]
    for place, names in (
        ("photos", ["a.jpg", "b.jpg", "my cat.jpg", f"{letters[1]}.jpg"]),
        ("masks", ["a_mask.png", "b.jpg.png", "my%20cat.png", f"{letters[0]}.png"]),
    ):
        (tmp_path / place / inner).mkdir(parents=True)
        for name in names:
            Image.new("L", (4, 4)).save(tmp_path / place / inner / name)
    photos = find_photos(tmp_path / "photos", tmp_path / "masks", labelled=False)
    assert {photo.image.name: photo.mask.name for photo in photos} == {
        "a.jpg": "a_mask.png",
        "b.jpg": "b.jpg.png",
        "my cat.jpg": "my%20cat.png",
        f"{letters[1]}.jpg": f"{letters[0]}.png",
    }
    assert "3 photos found by a name that a tool may have changed" in capsys.readouterr().err.replace("\n", " ")


def test_a_mask_that_fits_no_photo_is_still_refused(tmp_path):
    for place, names in (("photos", ["a.jpg", "b.jpg"]), ("masks", ["a.png", "a_mask.png", "b.png"])):
        (tmp_path / place).mkdir()
        for name in names:
            Image.new("L", (4, 4)).save(tmp_path / place / name)
    with pytest.raises(UserError, match=r"mask without an image: .*a_mask\.png"):
        find_photos(tmp_path / "photos", tmp_path / "masks", labelled=False)


def test_a_manifest_in_other_letters_still_says_what_is_doubtful(tmp_path):
    letters = [unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD")]
    for place, ending in (("photos", "jpg"), ("masks", "png")):
        (tmp_path / place).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / place / f"{letters[1]}.{ending}")
    manifest = tmp_path / "masks" / "manifest.csv"
    manifest.write_text(
        f"image,mask,label,verdict,confidence\n../photos/{letters[0]}.jpg,{letters[0]}.png,,doubtful,0.1\n"
        "../photos/gone.jpg,gone.png,,good,1\n"
    )
    first, gone = read_manifest(manifest)
    assert (first.image.name, first.mask.name) == (f"{letters[1]}.jpg", f"{letters[1]}.png")
    assert (gone.image.name, gone.mask.name, gone.inputs) == ("gone.jpg", "gone.png", "")
