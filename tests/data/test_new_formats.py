"""HEIC and AVIF: read where they are named so, within the limits of other photos."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from helpers.new_formats import PHOTO
from helpers.new_formats import write_newer as write
from robustvit import UserError
from robustvit.data.find_photos import find_photos
from robustvit.data.read_photos import read_photo

KINDS = ["heic", "avif"]


@pytest.mark.parametrize("kind", KINDS)
def test_photos_of_newer_formats_are_read(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}")
    assert abs(np.asarray(read_photo(path)).astype(int) - PHOTO).max() <= 40
    assert [photo.image for photo in find_photos(tmp_path, labelled=False)] == [path]
    wrong = path.rename(tmp_path / "b.png")
    with pytest.raises(UserError, match=rf"not an image of a kind that \.png stands for, but {kind.upper()}: name it"):
        read_photo(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_they_lie_upright(tmp_path, kind):
    tags = Image.Exif()
    tags[0x0112] = 6
    path = write(tmp_path / f"a.{kind}", exif=tags.tobytes())
    seen = np.asarray(read_photo(path)).astype(int)
    assert seen.shape == (48, 32, 3)
    assert seen[:24].mean() < 20 < seen[24:].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_broken_ones_are_refused(tmp_path, kind):
    whole = write(tmp_path / f"a.{kind}").read_bytes()
    rng = np.random.default_rng(0)
    for attempt in range(40):
        broken = bytearray(whole[: len(whole) - 5 * attempt])
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(0, 256)
        (tmp_path / f"b.{kind}").write_bytes(broken)
        with suppress(UserError):  # read or refused, no other error
            read_photo(tmp_path / f"b.{kind}")


def test_a_jpeg_named_heic_is_read(tmp_path):
    pytest.importorskip("pillow_heif")
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "a.jpg").rename(tmp_path / "a.heic")
    assert abs(np.asarray(read_photo(tmp_path / "a.heic")).astype(int) - PHOTO).max() <= 40
