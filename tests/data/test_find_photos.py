"""Folders of photos as people have them: what is read, what is left out and named, and the class of each photo."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
from PIL import Image

from helpers.drawn_photos import write_photos
from robustvit import UserError
from robustvit.common.photo_options import ColumnOptions
from robustvit.data.find_photos import expect_classes, find_photos
from robustvit.data.photo import Photo
from robustvit.data.photo_tree import PhotoTree, list_backgrounds
from robustvit.data.placed_photos import place_folder


def draw(folder, *names):
    """Write a small photo for each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (9 * number % 256, 120, 40)).save(path, "PNG")


def other(folder, *names):
    """Write a file that is no photo for each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something else")


def classes(folder, **options):
    notes = []
    found = find_photos(folder, notes=notes, **options)
    return dict(Counter(photo.class_name for photo in found)), notes


def test_a_class_of_photos_with_other_endings_is_refused(tmp_path):
    draw(tmp_path, "cat/0.jpg", "cow/0.jpg")
    other(tmp_path, "dog/0.jp2", "dog/1.nef", "dog/2.xcf")
    with pytest.raises(UserError, match=r"class folder dog .* holds no photo that can be read, but 3 others") as caught:
        find_photos(tmp_path)
    assert "convert others to PNG or JPEG" in str(caught.value)


def test_jpegs_and_others_under_their_rarer_endings_are_read(tmp_path):
    names = ["a.jfif", "b.JPE", "c.PNG", "d.pgm", "e.TIFF", "f.mpo", "g.apng"]
    draw(tmp_path / "dog", *names)
    draw(tmp_path / "cat", "a.Jpg")
    assert classes(tmp_path) == ({"cat": 1, "dog": 7}, [])


def test_photos_with_other_endings_are_counted_and_named(tmp_path):
    draw(tmp_path / "photos", "cat/0.jpg", "dog/0.jpg")
    other(tmp_path / "photos", "dog/1.jp2", "dog/2.XCF", "dog/3", "cat/notes.txt", "dog/4.jpg~")
    found, notes = classes(tmp_path / "photos")
    assert found == {"cat": 1, "dog": 1}
    assert len(notes) == 1
    assert "photos: 7 files seen, 2 read, 5 left out:" in notes[0]
    for words in (
        "1 ending in .jp2 (dog/1.jp2)",
        "1 ending in .xcf",
        "1 without an ending (dog/3)",
        "ending in .jpg~",
    ):
        assert words in notes[0]
    assert str(tmp_path) not in notes[0], "notes are published"


def test_hidden_files_and_those_of_systems_are_no_photos_but_counted(tmp_path):
    draw(tmp_path, "cat/0.png", "dog/0.png", "cat/._0.png", "__MACOSX/cat/0.png", "cat/@eaDir/0.png", ".cache/a.png")
    other(tmp_path, "cat/Thumbs.db", "dog/.DS_Store", "desktop.ini")
    found, notes = classes(tmp_path)
    assert found == {"cat": 1, "dog": 1}
    assert (
        "9 files seen, 2 read, 7 left out: 7 hidden or of the system (.cache/, __MACOSX/, cat/._0.png, ...)" in notes[0]
    )
    assert PhotoTree(tmp_path).count.seen == 9, "a folder counts as one"


def test_links_are_followed_and_links_to_nothing_are_counted(tmp_path):
    draw(tmp_path / "elsewhere", "0.png", "1.png")
    draw(tmp_path / "photos", "cat/0.png")
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "cat" / "1.png").symlink_to(tmp_path / "gone.png")
    found, notes = classes(tmp_path / "photos")
    assert found == {"cat": 1, "dog": 2}
    assert "1 that are links to nothing, or no files (cat/1.png)" in notes[0]


def test_links_that_lead_back_or_to_what_was_read_are_counted(tmp_path):
    draw(tmp_path / "photos", "dog/0.png", "dog/old/1.png", "cat/0.png")
    draw(tmp_path / "masks", "0.png")
    for link, target in (("alias", "dog"), ("dog/old/back", tmp_path / "photos"), ("up", ".."), ("gone", "nowhere")):
        (tmp_path / "photos" / link).symlink_to(target)
    (tmp_path / "photos" / "self").symlink_to("self")
    found, notes = classes(tmp_path / "photos")
    assert found == {"cat": 1, "dog": 2}
    line = " ".join(notes)
    assert "3 that are links to a folder read already, or around this one (alias, dog/old/back, up)" in line
    assert "2 that are links to nothing, or no files (gone, self)" in line


def test_a_set_of_links_is_read_whole(tmp_path):
    draw(tmp_path / "store", "a.png", "b.png", "more/c.png")
    for link, target in (("cat/1.png", "a.png"), ("dog/1.png", "b.png"), ("horse", "more")):
        (tmp_path / "set" / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / link).symlink_to(tmp_path / "store" / target)
    assert classes(tmp_path / "set") == ({"cat": 1, "dog": 1, "horse": 1}, [])


def test_one_class_in_two_spellings_of_a_letter_is_one_class(tmp_path):
    draw(tmp_path, "Gru\u0308n/0.png", "Gr\u00fcn/1.png", "b/0.png")
    assert classes(tmp_path)[0] == {"Gr\u00fcn": 2, "b": 1}


def test_photos_in_inner_folders_count_to_their_class_as_in_imagefolder(tmp_path):
    from torchvision.datasets import ImageFolder

    draw(tmp_path, "cat/0.png", "cat/batch2/1.png", "cat/batch2/deep/2.png", "dog/a/0.png", "dog/b/1.png")
    found, notes = classes(tmp_path)
    assert found == {"cat": 3, "dog": 2}
    assert "4 photos lie in inner folders and belong to the class folder above (cat/batch2 to cat)" in notes[0]
    assert "--class-folders inner takes the inner ones" in notes[0]
    theirs = ImageFolder(tmp_path)
    ours = find_photos(tmp_path, notes=[])
    assert {(str(p.image), p.class_name) for p in ours} == {(path, theirs.classes[i]) for path, i in theirs.samples}
    assert {photo.label for photo in place_folder(tmp_path)[0]} == {"cat", "dog"}, "masks has the same classes"


def test_inner_folders_are_the_classes_if_asked(tmp_path):
    draw(tmp_path / "images", "animals/cat/0.png", "animals/dog/0.png", "things/small/cup/1.png")
    draw(tmp_path / "masks", "animals/cat/0.png", "animals/dog/0.png", "things/small/cup/1.png")
    inner = ColumnOptions(class_folders="inner")
    assert classes(tmp_path / "images", columns=inner) == ({"cat": 1, "dog": 1, "cup": 1}, [])
    assert all(photo.mask for photo in find_photos(tmp_path / "images", tmp_path / "masks", columns=inner))
    assert {photo.label for photo in place_folder(tmp_path / "images", inner=True)[0]} == {"cat", "dog", "cup"}
    (tmp_path / "list.csv").write_text("image,label\nimages/animals/cat/0.png,a\n")
    with pytest.raises(UserError, match="--class-folders belongs to folders of photos"):
        find_photos(tmp_path / "list.csv", columns=inner)


def test_masks_mirror_inner_folders_and_are_no_photos_themselves(tmp_path):
    draw(tmp_path / "images", "cat/a/0.png", "cat/b/0.png", "cat/b/masks/0.png", "dog/0.png")
    for inside in ("cat/a/0.png", "cat/b/0.png", "dog/0.png"):
        draw(tmp_path / "masks", inside)
    notes = []
    found = find_photos(tmp_path / "images", tmp_path / "masks", notes=notes)
    assert [p.mask.relative_to(tmp_path / "masks") for p in found] == [
        p.image.relative_to(tmp_path / "images") for p in found
    ]
    assert len(found) == 3
    assert "1 in an inner folder of masks (cat/b/masks/0.png)" in " ".join(notes)
    shutil.move(tmp_path / "masks", tmp_path / "images" / "drawn")
    assert len(find_photos(tmp_path / "images", tmp_path / "images" / "drawn", notes=[])) == 3


@pytest.mark.parametrize(
    "names",
    [("train/cat/0.png", "val/cat/0.png"), ("train/cat/0.png", "train/dog/0.png"), ("images/0.png", "masks/0.png")],
)
def test_parts_of_a_set_are_not_taken_for_classes(tmp_path, names):
    draw(tmp_path, *names)
    with pytest.raises(UserError, match=r"parts of a set, not classes: name one of them, .*/(train|images)$"):
        find_photos(tmp_path)


def test_masks_of_a_set_with_parts_have_the_classes_below_them(tmp_path):
    draw(tmp_path, "train/cat/0.png", "test/cat/new/0.png", "test/dog/0.png")
    assert {str(p.mask): p.label for p in place_folder(tmp_path)[0]} == {
        "train/cat/0.png": "cat", "test/cat/new/0.png": "cat", "test/dog/0.png": "dog"
    }  # fmt: skip


def test_a_class_called_train_is_a_class(tmp_path):
    draw(tmp_path, "train/0.png", "bus/0.png")
    assert classes(tmp_path)[0] == {"bus": 1, "train": 1}


def test_folders_without_photos_are_named(tmp_path):
    draw(tmp_path, "cat/0.png", "dog/0.png")
    (tmp_path / "horse").mkdir()
    other(tmp_path, "annotations/a.xml")
    notes = classes(tmp_path)[1]
    assert "folders without photos, which are not classes here: annotations, horse." in notes[0]
    assert "1 ending in .xml (annotations/a.xml)" in notes[1]


def test_a_folder_of_other_files_says_what_is_there(tmp_path):
    other(tmp_path / "photos", "a.xcf", "b.xcf")
    for read in (find_photos, place_folder, list_backgrounds):
        with pytest.raises(UserError, match=r"found none \(.*2 files seen, 0 read, 2 left out: 2 ending in \.xcf"):
            read(tmp_path / "photos")


def test_names_with_composed_and_decomposed_letters_are_one_name(tmp_path):
    draw(tmp_path / "images", "Gru\u0308n/Mu\u0308ller.png", "b/0.png")
    draw(tmp_path / "masks", "Gr\u00fcn/M\u00fcller.png", "b/0.png")
    assert all(photo.mask for photo in find_photos(tmp_path / "images", tmp_path / "masks"))


def test_commands_say_what_was_left_out_and_keep_it(tmp_path, model_folder, capsys):
    from robustvit import evaluate

    images, _ = write_photos(tmp_path, 2)
    other(images, "disc/x.jp2")
    found = evaluate(model=str(model_folder), images=str(images), out=str(tmp_path / "record.json"))
    line = "images: 7 files seen, 6 read, 1 left out: 1 ending in .jp2 (disc/x.jp2)."
    assert any(note.endswith(line) for note in found.notes)
    assert line in " ".join(capsys.readouterr().err.split())
    assert any(line in note for note in json.loads((tmp_path / "record.json").read_text())["notes"])
    _, problems = place_folder(images)
    assert [problem.endswith("disc/x.jp2: its ending is not read; convert it to PNG or JPEG") for problem in problems]


def test_photos_without_a_class_are_counted_and_one_is_named(tmp_path):
    photos = [Photo(tmp_path / "a.png", class_name="x"), Photo(tmp_path / "b.png")]
    with pytest.raises(UserError, match=r"found 1 of 2 photos without, such as b\.png: add them"):
        expect_classes(photos, tmp_path, "add them")


def test_a_folder_of_lists_is_told_from_a_list(tmp_path):
    other(tmp_path, "b.csv", "a.csv", "notes.md")
    with pytest.raises(UserError, match=r"3 left out: .*\): if .*a\.csv lists photos, name that file; photos end in"):
        find_photos(tmp_path)
