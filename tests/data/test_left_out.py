"""Files that are not read, wherever they lie, are counted and named."""

from __future__ import annotations

import zipfile

import pytest
from PIL import Image

from robustvit.data.archives import extract_photos
from robustvit.data.find_photos import find_photos


def test_an_archive_says_what_stays_in_it(tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "cat/a.png")
        for name in ("cat/b.nef", "cat/c", "__MACOSX/cat/d.nef"):
            archive.writestr(name, "x")
    notes: list[str] = []
    assert len(extract_photos(tmp_path / "set.zip", tmp_path / "one", notes=notes)) == 1
    line = "set.zip: 3 files seen, 1 read, 2 left out: 1 ending in .nef (cat/b.nef), 1 without an ending (cat/c)."
    assert notes == [line]
    extract_photos(tmp_path / "set.zip", tmp_path / "two")
    assert line in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("kind", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("GIF", "gif"),
                                              ("BMP", "bmp"), ("WEBP", "webp")])  # fmt: skip
def test_photos_without_an_ending_are_named_with_the_one_they_need(tmp_path, kind, ending):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b", kind)
    (tmp_path / "README").write_text("text")
    notes: list[str] = []
    assert len(find_photos(tmp_path, labelled=False, notes=notes)) == 1
    assert f"1 without an ending that are photos, to be renamed to .{ending} (b)" in notes[0]
    assert "1 without an ending (README)" in notes[0]
