"""An archive where a folder, a list or annotations are expected is called one, with what to do, whatever its name."""

from __future__ import annotations

import os
import shutil
import zipfile

import pytest
from PIL import Image

from robustvit import UserError
from robustvit.common.files import is_archive
from robustvit.data.find_photos import find_photos
from robustvit.data.tables.source import expect_source
from robustvit.masks.annotations import resolve_format

KINDS = {"zip": "zip", "gztar": "tar.gz", "tar": "tar", "xztar": "tar.xz", "bztar": "tar.bz2"}


@pytest.mark.parametrize("kind", KINDS)
def test_archives_are_to_be_unpacked(tmp_path, kind):
    photo = tmp_path / "photos" / "cat" / "a.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(photo)
    made = shutil.make_archive(str(tmp_path / "set"), kind, tmp_path / "photos")
    assert is_archive(made)
    for read in (find_photos, expect_source, lambda place: resolve_format("coco", place),
                 lambda place: find_photos(photo.parent.parent, place)):  # fmt: skip
        with pytest.raises(UserError, match=r"archive .*: unpack it"):
            read(made)


def test_other_files_are_no_archives(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_archive(tmp_path / "pipe")
    (tmp_path / "a.zip").write_text("no zip")
    assert not any(map(is_archive, (tmp_path, tmp_path / "a.zip", tmp_path / "nothing", "/dev/null")))
    with zipfile.ZipFile(tmp_path / "b.dat", "w"):
        pass
    assert is_archive(tmp_path / "b.dat")
    (tmp_path / "zeros").write_bytes(bytes(2048))
    assert not is_archive(tmp_path / "zeros")
