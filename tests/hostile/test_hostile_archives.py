"""Zip archives that are broken or made to harm; a test for each row of docs/reference/hostile-files.md."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from helpers.hostile import refusal
from robustvit.data.archives import ArchiveLimits, extract_photos


def photo_bytes() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((8, 8), 50).save(stream, "png")
    return stream.getvalue()


PHOTO = photo_bytes()


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def refused(tmp_path: Path, archive: Path, limits: ArchiveLimits | None = None) -> str:
    """The refusal; nothing may be left of what was unpacked, nor anything outside the folder."""
    before = sorted(tmp_path.rglob("*"))
    words = refusal(lambda: extract_photos(archive, tmp_path / "out", limits))
    assert sorted(tmp_path.rglob("*")) == before
    return words


def test_archive_of_photos(tmp_path):
    archive = zipped(
        tmp_path / "a.zip", ("cat/1.PNG", PHOTO), ("dog/é 2.png", PHOTO), ("masks/cat/1.npy", b"x"), ("cat/", b""),
        ("readme.txt", b"x"), (".hidden.png", b"x"), ("__MACOSX/cat/1.png", b"x"), ("evil.py", b"x"),
        ("cat/x.exe", b"x"),
    )  # fmt: skip
    found = extract_photos(archive, tmp_path / "out")
    names = [path.relative_to(tmp_path / "out").as_posix() for path in found]
    assert names == ["cat/1.PNG", "dog/é 2.png", "masks/cat/1.npy"]
    assert found[0].read_bytes() == PHOTO
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == found
    assert not any(path.stat().st_mode & stat.S_IXUSR for path in found)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "a/../../evil.png",
        "/evil.png",
        "C:/evil.png",
        "C:\\evil.png",
        "..\\evil.png",
        "a\n.png",
        "\\\\h\\s\\a.png",
    ],
)
def test_archive_name_outside_the_folder(tmp_path, name):
    assert "refused" in refused(tmp_path, zipped(tmp_path / "a.zip", ("ok.png", PHOTO), (name, PHOTO)))


def test_archive_name_with_a_null(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.pngXexe", PHOTO))
    archive.write_bytes(archive.read_bytes().replace(b"a.pngXexe", b"a.png\0exe"))
    assert "refused" in refused(tmp_path, archive)


def test_archive_link(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "holds the link" in refused(tmp_path, zipped(tmp_path / "a.zip", (link, b"/etc/passwd")))


def test_archive_link_as_folder(tmp_path):
    link = zipfile.ZipInfo("cat")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zipped(tmp_path / "a.zip", (link, b"/tmp"), ("cat/a.png", PHOTO))
    assert "holds the link" in refused(tmp_path, archive)


def test_archive_bomb(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"\0" * 20_000_000))
    assert archive.stat().st_size < 30_000
    assert "it may be a bomb" in refused(tmp_path, archive, ArchiveLimits(ratio=100))


def test_archive_of_too_many_bytes(tmp_path):
    archive = zipped(tmp_path / "a.zip", *((f"{i}.png", PHOTO) for i in range(9)))
    assert "bytes allowed" in refused(tmp_path, archive, ArchiveLimits(bytes=8 * len(PHOTO)))


def test_archive_that_lies_about_its_size(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"\0" * 5_000_000))
    lie = archive.read_bytes().replace(struct.pack("<I", 5_000_000), struct.pack("<I", 100))
    archive.write_bytes(lie)
    refused(tmp_path, archive, ArchiveLimits(bytes=1000))


def test_archive_of_too_many_files(tmp_path):
    archive = zipped(tmp_path / "a.zip", *((f"{i}.png", PHOTO) for i in range(4)))
    assert "more than the 3 photos" in refused(tmp_path, archive, ArchiveLimits(files=3))


def test_archive_packed_otherwise(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"\0" * 1000), packing=zipfile.ZIP_BZIP2)
    assert "ordinary zip file" in refused(tmp_path, archive)


def test_archive_encrypted(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", PHOTO))
    whole = bytearray(archive.read_bytes())
    whole[6] |= 1  # in the file's own header, and in the directory
    whole[whole.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(whole)
    assert "encrypted" in refused(tmp_path, archive)


@pytest.mark.parametrize("names", [("a.png", "a.png"), ("a.png", "A.PNG"), ("a.png", "./a.png")])
def test_archive_of_two_files_of_one_name(tmp_path, names):
    with pytest.warns() if names[0] == names[1] else __import__("contextlib").nullcontext():
        archive = zipped(tmp_path / "a.zip", *((name, PHOTO) for name in names))
    assert "two files called" in refused(tmp_path, archive)


def test_archive_file_that_is_a_folder_too(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", PHOTO), ("a.png/b.png", PHOTO))
    assert "cannot unpack" in refused(tmp_path, archive)


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\x89PNG", b"PK\5\6" + b"\xff" * 18])
def test_archive_broken(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    assert "cannot unpack" in refused(tmp_path, tmp_path / "a.zip")


def test_archive_with_a_broken_photo(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", PHOTO), packing=zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(PHOTO[20:40], b"x" * 20))
    assert "cannot unpack" in refused(tmp_path, archive)


def test_archive_missing(tmp_path):
    assert "found none" in refused(tmp_path, tmp_path / "a.zip")


def test_archive_without_photos(tmp_path):
    assert "expected photos" in refused(tmp_path, zipped(tmp_path / "a.zip", ("a.txt", b"x")))


def test_archive_of_deep_or_long_names(tmp_path):
    for name in ("a/" * 40 + "a.png", "x" * 300 + ".png"):
        assert "shorten it" in refused(tmp_path, zipped(tmp_path / "a.zip", (name, PHOTO)))


@pytest.mark.parametrize("what", ["file", "full", "link"])
def test_archive_into_a_place_that_is_taken(tmp_path, what):
    archive, place = zipped(tmp_path / "a.zip", ("a.png", PHOTO)), tmp_path / "out"
    (tmp_path / "elsewhere").mkdir()
    if what == "file":
        place.write_text("mine")
    elif what == "full":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    else:
        place.symlink_to(tmp_path / "elsewhere")
    assert "new or empty folder" in refused(tmp_path, archive)


def test_archive_into_an_empty_folder_keeps_the_folder(tmp_path):
    (tmp_path / "out").mkdir()
    archive = zipped(tmp_path / "a.zip", ("a.png", b"\0" * 5_000_000))
    refused(tmp_path, archive, ArchiveLimits(ratio=10))
    assert (tmp_path / "out").is_dir()
