"""Mistakes in a call of ``shifts``: one line for each, and nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.shifted_copies import files_in, refused, run, write_backgrounds


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_backgrounds(tmp_path_factory.mktemp("backgrounds"))


@pytest.mark.parametrize("label", ["a/b", ".hidden", "..", "x" * 300])
def test_classes_that_name_no_folder_are_refused(capsys, tmp_path, photos, label):
    images, masks = photos
    row = f'{images / "disc" / "000.png"},{masks / "disc" / "000.png"},"{label}"'
    (tmp_path / "list.csv").write_text(f"image,mask,label\n{row}\n", encoding="utf-8")
    assert "cannot name a folder" in refused(capsys, tmp_path / "list.csv", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_mistakes_are_one_line_and_nothing_is_written(capsys, tmp_path, photos, plain):
    images, masks = photos
    out = ["--out", tmp_path / "o"]
    for arguments, words in (
        ([images, masks, *out, "--kinds", "si-sise"], "got 'si-sise': did you mean si-size?"),
        ([images, masks, *out, "--kinds", "mixed_rand"], "did you mean mixed-rand?"),
        ([images, masks, *out, "--kinds", ","], "expected --kinds out of original"),
        ([images, *out], "expected masks for the photos"),
        ([images, tmp_path / "none", *out], "expected a folder of masks, found none"),
        ([tmp_path / "none", masks, *out], "expected a folder of photos, found none"),
        ([images / "disc", masks / "disc", *out], "expected a class for every photo"),
        ([images, masks, *out, "--kinds", "si-size", "--backgrounds", tmp_path / "x"], "a folder of backgrounds"),
        ([images, masks, *out, "--kinds", "no-fg", "--backgrounds", plain], "--backgrounds belongs to si-size"),
        ([images, masks, *out, "--kinds", "no-fg", "--every", 3], "--every belongs to si-size"),
        ([images, masks, *out, "--kinds", "si-size", "--pairs", 0], "expected --pairs of at least 1, got 0"),
        ([images, masks, *out, "--kinds", "si-size", "--every", 0], "expected --every of at least 1, got 0"),
        ([images, masks, *out, "--kinds", "si-size", "--min-inside", 95], "expected --min-inside from 0 to 1"),
        ([images, masks, *out, "--size", 4], "expected --size of at least 16, got 4"),
        ([images, masks, *out, "--workers", -1], "expected --workers of at least 0, got -1"),
        ([images, masks, *out, "--format", "webp"], "expected --format to be one of png, jpeg"),
        ([images, masks, *out, "--kinds", "si-size", "--backgrounds", plain, "--pairs", 121], "--pairs of at most 120"),
        ([images, masks, "--out", images / "more"], "expected --out outside of"),
        ([images, masks, "--out", masks], "expected --out outside of"),
        ([images, masks, "--out", images.parent], "was not written by robustvit shifts"),
    ):  # fmt: skip
        assert words in refused(capsys, *arguments), arguments
    assert not (tmp_path / "o").exists()
    assert sorted(p.name for p in images.iterdir()) == sorted(CLASSES)


def test_one_class_alone(capsys, tmp_path, plain):
    images, masks = write_photos(tmp_path, 3, classes=("disc",))
    out = ["--out", tmp_path / "o"]
    line = refused(capsys, images, masks, *out, "--kinds", "mixed-same,mixed-rand")
    assert "at least two classes for mixed-rand" in line
    assert "found only disc" in line
    assert "mixed-next" in refused(capsys, images, masks, *out, "--kinds", "mixed-next")
    assert "give plain ones with --backgrounds" in refused(capsys, images, masks, *out, "--kinds", "si-size")
    code, stdout, _ = run(capsys, images, masks, *out, "--kinds", "mixed-same,si-size", "--backgrounds", plain,
                          "--every", 50, "--size", 64)  # fmt: skip
    assert code == 0
    assert "mixed-same         3" in stdout


def test_broken_and_ill_matched_files(capsys, tmp_path, plain):
    images, masks = write_photos(tmp_path, 2)
    out = ["--out", tmp_path / "o"]
    (images / "disc" / "000.png").write_bytes(b"no image")
    assert "it is not an image" in refused(capsys, images, masks, *out)
    Image.new("RGB", (20, 30)).save(images / "disc" / "000.png")
    assert f"mask {masks / 'disc' / '000.png'} is 48 x 48 pixels" in refused(capsys, images, masks, *out)
    (masks / "disc" / "000.png").unlink()
    assert "image without a mask" in refused(capsys, images, masks, *out)
    assert run(capsys, images, masks, *out, "--skip-unmasked", "--kinds", "no-fg")[0] == 0
    broken = shutil.copytree(plain, tmp_path / "plain")
    for path in broken.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:300])
    arguments = [
        images,
        masks,
        "--out",
        tmp_path / "p",
        "--kinds",
        "si-size",
        "--backgrounds",
        broken,
        "--skip-unmasked",
    ]
    assert "broken or cut off" in refused(capsys, *arguments)
    assert not (tmp_path / "p").exists()


def test_folders_of_others_and_other_options_are_refused(capsys, tmp_path, photos):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert "name a new or empty folder" in refused(capsys, *photos, "--out", mine)
    (mine / "settings.json").write_text('{"method": "tokencut"}')
    assert "name a new or empty folder" in refused(capsys, *photos, "--out", mine)
    assert "is a file" in refused(capsys, *photos, "--out", mine / "thesis.txt")
    assert (mine / "thesis.txt").read_text() == "years of work"
    images, masks = write_photos(tmp_path / "few", 2)
    out = tmp_path / "o"
    assert run(capsys, images, masks, "--out", out, "--kinds", "no-fg", "--size", 32)[0] == 0
    before = files_in(out)
    line = refused(capsys, images, masks, "--out", out, "--kinds", "no-fg", "--size", 48)
    assert "holds copies made with size 32, not 48: give the same options" in line
    assert "kinds" in refused(capsys, images, masks, "--out", out, "--kinds", "only-fg", "--size", 32)
    assert "other photos" in refused(capsys, *photos, "--out", out, "--kinds", "no-fg", "--size", 32)
    assert files_in(out) == before
    assert json.loads(before["settings.json"])["made_by"] == "robustvit shifts"
