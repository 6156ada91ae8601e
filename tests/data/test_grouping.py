"""Groups of photos: a column of a list, several with the class, and patterns of folders."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from helpers.drawn_photos import CLASSES
from helpers.grouped_photos import SITES, list_sites, write_sites
from robustvit import UserError
from robustvit.common.photo_options import ColumnOptions
from robustvit.data.find_photos import find_photos
from robustvit.data.given_photos import FoundPhotos
from robustvit.data.grouping import doubt_groups
from robustvit.data.leave_out import leave_groups_out
from robustvit.data.photo import Photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("groups")
    write_sites(place, {"north": 2, "south": 1})
    return place


def groups(images, group_by=None, **options):
    found = find_photos(images, columns=ColumnOptions(group_by=group_by), **options)
    return {photo.image.relative_to(images if images.is_dir() else images.parent).as_posix(): photo for photo in found}


def test_a_column_group_is_read_without_being_named(folder):
    found = groups(list_sites(folder))
    assert {photo.group for photo in found.values()} == set(SITES)
    assert all(name.split("/")[1] == photo.group for name, photo in found.items())
    assert {photo.class_name for photo in found.values()} == set(CLASSES)


def test_a_column_of_another_name_is_named_and_may_be_split_by_class(folder):
    path = list_sites(folder, "Hospital ID")
    assert {photo.group for photo in groups(path).values()} == {None}
    assert {photo.group for photo in groups(path, "hospital_id").values()} == set(SITES)
    both = groups(path, "hospital_id,class")
    assert all(photo.group == f"{name.split('/')[1]}, {photo.class_name}" for name, photo in both.items())


def test_numbers_that_pandas_writes_and_empty_cells(tmp_path):
    for name in ("a", "b", "c"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    path = tmp_path / "list.jsonl"
    rows = [{"image": "a.png", "label": "x", "group": 3.0}, {"image": "b.png", "label": "x", "group": 10}]
    path.write_text("\n".join(json.dumps(row) for row in [*rows, {"image": "c.png", "label": "y"}]))
    assert [photo.group for photo in find_photos(path)] == ["3", "10", None]


def test_a_column_of_ones_is_no_class_if_it_is_the_group(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    path = tmp_path / "list.csv"
    path.write_text("image,cat,dog,flash\na.png,1,0,1\nb.png,0,1,1\n")
    found = find_photos(path, columns=ColumnOptions(group_by="flash"))
    assert [(photo.class_name, photo.group) for photo in found] == [("cat", "1"), ("dog", "1")]


@pytest.mark.parametrize("pattern", ["{site}/{class}", "*/{site}/{class}", "{kind}s/{site}/{class}"])
def test_a_pattern_of_folders_names_group_and_class(folder, pattern):
    found = groups(folder / "images", pattern, masks=folder / "masks")
    for name, photo in found.items():
        site, class_name, _ = name.split("/")
        assert photo.class_name == class_name
        assert photo.group == (f"image, {site}" if "kind" in pattern else site)
        assert photo.mask == folder / "masks" / name


def test_a_pattern_may_begin_above_the_folder_and_its_split_is_no_group(tmp_path):
    images, _ = write_sites(tmp_path / "train", {"north": 1, "south": 1})
    found = groups(images, "{split}/images/{site}/{class},class")
    assert all(photo.group == ", ".join(name.split("/")[:2]) for name, photo in found.items())


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("site", "pattern of folders"),
        ("{site}/{kind}", "{class} once"),
        ("{split}/{class}", "folder of the group"),
        ("{1}/{class}", r"got \{1\}: begin it with a letter"),
        ("{site}/x{class}", "expected photos in folders"),
        ("{class}", "folder of the group"),
        ("{class}/{site}/{more}/{class}", "{class} once"),
        ("{site}/{class},camera", "columns .* or one pattern"),
        (" , ", "columns .* or one pattern"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused_in_one_line(folder, pattern, said):
    with pytest.raises(UserError, match=said):
        groups(folder / "images", pattern)


def test_photos_deeper_than_the_pattern_are_refused(tmp_path):
    (tmp_path / "a" / "cat" / "more").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "cat" / "more" / "1.png")
    with pytest.raises(UserError, match=r"expected photos in folders \{site\}/\{class\}"):
        groups(tmp_path, "{site}/{class}")


def test_a_column_that_a_list_does_not_have_is_named_with_those_it_has(folder):
    with pytest.raises(UserError, match=r"expected --group-by to be a column .* got 'camera': its columns are 'image'"):
        groups(list_sites(folder), "camera")


def photo(name, group):
    return Photo(folder_of(name), class_name="cat", group=group)


def folder_of(name):
    from pathlib import Path

    return Path(name)


def test_a_group_that_is_left_out_judges_and_does_nothing_else():
    found = FoundPhotos(
        [photo("1", "a"), photo("2", "b"), photo("3", "b"), photo("4", None)],
        [photo("5", "a"), photo("6", "b")],
        None,
    )
    notes = []
    left = leave_groups_out(found, "b", notes)
    names = [[one.image.name for one in side] for side in (left.photos, left.validation, left.verdict)]
    assert names == [["1"], ["5"], ["2", "3"]]
    assert "Left out: b (2 photos to judge with)" in notes[0]
    assert "1 photo without a group" in notes[0]


def test_of_photos_that_were_given_to_judge_only_those_of_the_group_do():
    found = FoundPhotos([photo("1", "a"), photo("2", "b")], None, [photo("7", "a"), photo("8", "b")])
    left = leave_groups_out(found, "b", [])
    assert [one.image.name for one in left.verdict] == ["8"]
    assert [one.image.name for one in left.photos] == ["1"]


@pytest.mark.parametrize(
    ("photos", "asked", "said"),
    [
        ([photo("1", None)], "a", "found none: name their column"),
        ([photo("1", "a"), photo("2", "b")], "c", "expected --leave-out to be one of a, b"),
        ([photo("1", "a"), photo("2", "b")], ",", "expected --leave-out to be one of a, b, got ''"),
        ([photo("1", "a")], "a", "photos of other groups"),
    ],
)
def test_a_group_that_cannot_be_left_out_is_refused(photos, asked, said):
    with pytest.raises(UserError, match=said):
        leave_groups_out(FoundPhotos(photos, None, None), asked, [])


def test_names_of_groups_that_may_be_mistakes_are_said():
    assert doubt_groups(["north", "south", None, "a-1", "a-2"]) == []
    missing, alike = doubt_groups(["nan", "North", "north", "N/A, cat", None])
    assert missing.startswith("Read as names of groups: N/A, cat; nan.")
    assert "North and north" in alike


def test_a_list_with_missing_values_as_groups_says_so(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("image,label,group\na.png,x,NaN\nb.png,y,north\n")
    notes = []
    assert [photo.group for photo in find_photos(tmp_path / "list.csv", notes=notes)] == ["NaN", "north"]
    assert any("empty their cells" in note for note in notes)
