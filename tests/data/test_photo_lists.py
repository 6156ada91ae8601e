"""Lists of photos as people have them: names of columns, separators, numbers, empty rows, and files without folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from robustvit import UserError
from robustvit.data.find_photos import find_photos
from robustvit.data.read_photos import IMAGE_SUFFIXES
from robustvit.data.tables.columns import IMAGE_COLUMNS, LABEL_COLUMNS, MASK_COLUMNS
from robustvit.data.tables.source import LIST_SUFFIXES

ANIMALS = ("cat", "cow", "dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("lists")
    (place / "img").mkdir()
    for number, name in enumerate(ANIMALS):
        Image.new("RGB", (8, 8), (60 * number, 90, 30)).save(place / "img" / f"{name}0.jpg")
    return place


def read(folder, text, name="list.csv", **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    notes = []
    found = find_photos(path, notes=notes, **options)
    return {str(photo.image.relative_to(folder)): photo.class_name for photo in found}, notes


RIGHT = {f"img/{name}0.jpg": name for name in ANIMALS}


def rows(head, line, join="\n"):
    return join.join([head, *(line.format(name) for name in ANIMALS)]) + join


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (rows("file_name,label", "img/{0}0.jpg,{0}"), "a.csv"),
        (rows("Image,Label", "img/{0}0.jpg,{0}"), "a.csv"),
        (rows("filename,species", "img/{0}0.jpg,{0}"), "a.csv"),
        (rows("Image Path;Class Name", "img/{0}0.jpg;{0}", "\r\n"), "a.csv"),
        (rows("image,label", "img\\{0}0.jpg,{0}"), "a.csv"),
        (rows("image\tlabel", "img/{0}0.jpg\t{0}"), "a.tsv"),
        (rows("image,label,,", "img/{0}0.jpg,{0},,"), "a.csv"),
        (rows("sep=;\nimage;label", "img/{0}0.jpg;{0}"), "a.csv"),
        (b"\xef\xbb\xbf" + rows("image;label", "img/{0}0.jpg;{0}").encode(), "a.csv"),
        (rows("image\tlabel", "img/{0}0.jpg\t{0}").encode("utf-16"), "a.csv"),
        (rows("width,image,label", '"12;5",img/{0}0.jpg,{0}'), "a.csv"),
        ("\n".join(json.dumps({"file_name": f"img/{n}0.jpg", "label": n}) for n in ANIMALS), "metadata.jsonl"),
        ("image,cat,cow,dog\nimg/cat0.jpg,1,0,0\nimg/cow0.jpg,0,1.0,0\nimg/dog0.jpg,0,0,1\n", "a.csv"),
        ("image,age,cat,cow,dog\nimg/cat0.jpg,7,1,0,0\nimg/cow0.jpg,,0,1,0\nimg/dog0.jpg,3,0,0,1\n", "a.csv"),
    ],
)
def test_lists_that_say_the_same(folder, text, name):
    assert read(folder, text, name) == (RIGHT, [])


def test_empty_rows_of_spreadsheets_are_counted(folder):
    found, notes = read(folder, rows("image,label", "img/{0}0.jpg,{0}") + ",\n , \n")
    assert found == RIGHT
    assert "5 rows seen, 3 read, 2 left out: 2 without any text (line 5, line 6)" in notes[0]


def test_ids_without_folder_and_ending_find_the_only_photo(folder, tmp_path):
    found, notes = read(folder, rows("id_code,diagnosis", "{0}0,{0}"))
    assert found == RIGHT
    assert "3 names were looked for in the folders below it (cat0 is img/cat0.jpg)" in notes[0]
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / part / "1.jpg")
    (tmp_path / "list.csv").write_text("image,label\n1,x\n")
    with pytest.raises(UserError, match=r"names 1, which may be a/1\.jpg or b/1\.jpg: name the folder"):
        find_photos(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("image,label\nc/1.jpg,x\n")
    with pytest.raises(UserError, match="does not exist"):
        find_photos(tmp_path / "list.csv")  # the folder says another photo
    (tmp_path / "list.csv").write_text("image,label\nA\\1.JPG,x\n")
    assert find_photos(tmp_path / "list.csv")[0].image == tmp_path / "a" / "1.jpg"
    (tmp_path / "list.csv").write_text("image,label\n/data/c/2.jpg,x\n")
    with pytest.raises(UserError, match="does not exist"):
        find_photos(tmp_path / "list.csv")


def test_whole_numbers_lose_the_point_that_pandas_adds(folder):
    text = "image,label\nimg/cat0.jpg,0.0\nimg/cow0.jpg,10.0\nimg/dog0.jpg,\n"
    assert list(read(folder, text, labelled=False)[0].values()) == ["0", "10", None]
    assert list(read(folder, text.replace("10.0", "1.5"), labelled=False)[0].values()) == ["0.0", "1.5", None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rows("picture,label", "img/{0}0.jpg,{0}"), r"expected a column image .*found the columns 'picture', 'label'"),
        (rows("image,grade", "img/{0}0.jpg,{0}"), r"without, such as .*beside the columns 'image', 'grade'"),
        (rows("image,class,category", "img/{0}0.jpg,{0},x"), r"could be the label, 'class' and 'category'"),
        (rows("image,label,label", "img/{0}0.jpg,{0},x"), "more than one column label"),
        (
            "image,cat,dog\nimg/cat0.jpg,1,0\nimg/dog0.jpg,1,1\n",
            r"line 3: expected a 1 in exactly one .*got 2 \(cat, dog",
        ),
        ("image,label\n,\n", "at least one row"),
        ("image,label\n,cat\n", "a row without a photo"),
    ],
)
def test_lists_that_cannot_be_told(folder, text, words):
    with pytest.raises(UserError, match=words):
        read(folder, text)


def test_broken_lines_of_json_and_other_files_are_named(folder):
    with pytest.raises(UserError, match="line 2: expected a JSON object"):
        read(folder, '{"file_name": "img/cat0.jpg"}\n[1]\n', "a.jsonl")
    from robustvit.data.photo import expect_photos

    (folder / "list.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"a list that ends in \.csv, \.tsv, \.jsonl.*found a file"):
        expect_photos(folder / "list.xlsx")


def test_the_page_on_photos_has_the_tables_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "howto" / "photos.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].partition(":")[0].strip(): line for line in page.splitlines() if line.startswith("| ")}
    for name, known in (("the photo", IMAGE_COLUMNS), ("the class", LABEL_COLUMNS), ("the mask", MASK_COLUMNS)):
        assert re.findall(r"`(\w+)`", rows[name].split("|")[1]) == list(known)
    endings = next(line for line in rows.values() if line.startswith("| files that end in"))
    assert set(re.findall(r"`(\.\w+)`", endings)) == IMAGE_SUFFIXES
    assert all(f"`{suffix}`" in page for suffix in LIST_SUFFIXES)


def test_a_column_of_files_is_chosen_among_several(folder):
    text = rows("id,file_name,label", "7{0},img/{0}0.jpg,{0}")
    assert read(folder, text)[0] == RIGHT


def test_a_list_beside_photos_without_classes_is_named(folder, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.jpg,cat\n")
    with pytest.raises(UserError, match=r"beside the list metadata\.csv, which --images can name"):
        find_photos(tmp_path, notes=[])
    assert find_photos(tmp_path / "metadata.csv")[0].class_name == "cat"


def test_a_column_that_splits_the_list_is_named(folder):
    text = "image,label,split\nimg/cat0.jpg,cat,train\nimg/dog0.jpg,dog,test\n"
    assert "all rows are used, whatever their column split says (test, train)" in read(folder, text)[1][0]
