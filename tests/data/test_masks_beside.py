"""Masks in the folders of their photos are never taken for photos; `--masks` with the same folder uses them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from robustvit import UserError, make_masks
from robustvit.cli import main as cli
from robustvit.data import masks_beside as module
from robustvit.data.find_photos import find_photos
from robustvit.data.mask_files import read_mask
from robustvit.data.masks_beside import masks_beside
from robustvit.data.photo_tree import PhotoTree
from robustvit.data.placed_photos import place_folder


def draw(path, kind: str = "photo", size: tuple[int, int] = (16, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
    if kind == "mask":
        values = np.zeros(size[::-1], np.uint8)
        values[3:9, 4:12] = 255
    elif kind == "on white":
        values[..., 2] //= 4
        values[: size[1] // 4] = values[:, size[0] // 4 :] = 255
    elif kind == "ids":
        values = np.zeros(size[::-1], np.uint8)
        values[:4], values[5:8], values[8:] = 7, 3, 12
    elif kind == "slope":
        values = np.tile(np.arange(size[0], dtype=np.uint8), (size[1], 1))
    elif kind == "black":
        values = np.zeros(size[::-1], np.uint8)
    Image.fromarray(values).save(path)


def draw_tiles(folder) -> None:
    """As the magnetic tiles are downloaded: MT_Free/Imgs/a.jpg and its black a.png."""
    for name, mask in (("MT_Blowhole", "mask"), ("MT_Free", "black")):
        for stem in ("exp1_num_1", "exp1_num_2"):
            draw(folder / name / "Imgs" / f"{stem}.jpg")
            draw(folder / name / "Imgs" / f"{stem}.png", mask)


def test_pictures_of_few_tones_beside_jpegs_are_masks(tmp_path):
    draw_tiles(tmp_path)
    notes: list[str] = []
    alone = find_photos(tmp_path, notes=notes)
    assert [photo.image.suffix for photo in alone] == [".jpg"] * 4
    assert "8 files seen, 4 read, 4 left out: 4 that are masks of photos beside them" in " ".join(notes)
    notes.clear()
    found = find_photos(tmp_path, tmp_path, notes=notes)
    assert [photo.mask.name for photo in found if photo.mask] == ["exp1_num_1.png", "exp1_num_2.png"] * 2
    assert {photo.class_name for photo in found} == {"MT_Blowhole", "MT_Free"}
    assert "masks of photos" not in " ".join(notes)


@pytest.mark.parametrize("name", ["1_mask.png", "1_mask.jpg", "mask_1.png", "1-seg.png", "1_gt.bmp"])
def test_a_name_may_say_that_it_is_a_mask(tmp_path, name):
    for folder in ("cat", "dog"):
        draw(tmp_path / folder / "1.jpg")
        draw(tmp_path / folder / name, "mask")
    found = find_photos(tmp_path, tmp_path)
    assert [photo.image.name for photo in found] == ["1.jpg", "1.jpg"]
    assert {photo.mask.name for photo in found if photo.mask} == {name}
    photos, _ = place_folder(tmp_path)
    assert [photo.image.name for photo in photos] == ["1.jpg", "1.jpg"]


def test_photos_of_two_endings_stay_photos(tmp_path):
    draw(tmp_path / "1.jpg")
    draw(tmp_path / "1.png")  # many tones
    draw(tmp_path / "2.jpg")
    draw(tmp_path / "2.png", "mask", (8, 8))  # of another size
    draw(tmp_path / "3.png", "mask")  # alone
    draw(tmp_path / "4_mask.png", "mask")  # of no photo
    draw(tmp_path / "5.jpg")
    (tmp_path / "5.png").write_bytes(b"broken")
    assert masks_beside({path.name: path for path in tmp_path.iterdir()}) == {}


def test_a_photo_without_its_mask_is_still_missed(tmp_path):
    draw_tiles(tmp_path)
    (tmp_path / "MT_Blowhole" / "Imgs" / "exp1_num_2.png").unlink()
    with pytest.raises(UserError, match=r"image without a mask: .*exp1_num_2.jpg"):
        find_photos(tmp_path, tmp_path)


def test_masks_beside_photos_are_read_as_annotations_too(tmp_path, capsys):
    draw_tiles(tmp_path / "tiles")
    done = make_masks(str(tmp_path / "tiles"), from_="grey", images=str(tmp_path / "tiles"), out=str(tmp_path / "out"))
    assert [record.verdict for record in done.records] == ["good", "good", "no-object", "no-object"]
    assert read_mask(done.records[0].mask).sum() == 48
    images, out = str(tmp_path / "tiles"), str(tmp_path / "more")
    assert cli.main(["masks", images, "--from", "grey", "--images", images, "--out", out]) == 0
    assert "2 photos said to show no object" in capsys.readouterr().out


def test_masks_with_soft_rims_are_masks_and_one_among_many_is_enough(tmp_path):
    for stem in ("1", "2", "3"):
        draw(tmp_path / f"{stem}.jpg", size=(64, 48))
        rim = np.zeros((48, 64), np.uint8)
        rim[12:36, 16:48] = 255
        rim[10:12] = np.arange(0, 256, 4)
        Image.fromarray(rim).save(tmp_path / f"{stem}.png")
    Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))).save(tmp_path / "3.png")  # a slope alone
    files = {path.name: path for path in tmp_path.iterdir()}
    assert set(masks_beside(files)) == {"1.png", "2.png", "3.png"}
    for stem in ("1", "2"):
        draw(tmp_path / f"{stem}.png", size=(64, 48))
    assert masks_beside(files) == {}


def test_several_masks_of_a_photo_are_united_by_the_command_and_refused_otherwise(tmp_path):
    """As in ultrasound pictures of breasts: benign (1).png with benign (1)_mask.png and benign (1)_mask_1.png."""
    for name in ("benign", "normal"):
        draw(tmp_path / "set" / name / f"{name} (1).png")
        draw(tmp_path / "set" / name / f"{name} (1)_mask.png", "mask" if name == "benign" else "black")
    second = np.zeros((12, 16), np.uint8)
    second[0:2, 0:2] = 255
    Image.fromarray(second).save(tmp_path / "set" / "benign" / "benign (1)_mask_1.png")
    assert [photo.image.name for photo in find_photos(tmp_path / "set")] == ["benign (1).png", "normal (1).png"]
    with pytest.raises(UserError, match=r"several masks of one photo.*robustvit masks"):
        find_photos(tmp_path / "set", tmp_path / "set")
    folder = str(tmp_path / "set")
    done = make_masks(folder, from_="binary", images=folder, out=str(tmp_path / "out"))
    assert "1 photo with several masks, which are united" in "\n".join(done.problems)
    assert [(one.label, one.verdict) for one in done.records] == [("benign", "good"), ("normal", "no-object")]
    assert read_mask(done.records[0].mask).sum() == 48 + 4
    used = find_photos(tmp_path / "set", tmp_path / "out")
    assert [photo.mask is not None for photo in used] == [True, True]


def test_two_files_of_one_name_are_not_united(tmp_path):
    draw(tmp_path / "photos" / "a.jpg")
    for name in ("a_mask.png", "a_mask.bmp", "b_mask.png"):
        draw(tmp_path / "masks" / name, "mask")
    draw(tmp_path / "photos" / "b.jpg")
    options = {"from_": "binary", "images": str(tmp_path / "photos"), "out": str(tmp_path / "out")}
    done = make_masks(str(tmp_path / "masks"), **options)
    assert [one.image.name for one in done.records] == ["b.jpg"]
    assert "is listed twice" in "\n".join(done.problems)


def test_a_folder_of_masks_in_each_class(tmp_path):
    for name in ("cat", "dog"):
        draw(tmp_path / name / "images" / "1.jpg")
        draw(tmp_path / name / "masks" / "1.png", "mask")
    found = find_photos(tmp_path, tmp_path)
    assert [photo.mask.relative_to(tmp_path).as_posix() for photo in found if photo.mask] == [
        "cat/masks/1.png", "dog/masks/1.png"]  # fmt: skip
    assert [photo.image.name for photo in find_photos(tmp_path)] == ["1.jpg", "1.jpg"]
    done = make_masks(str(tmp_path), from_="grey", images=str(tmp_path), out=str(tmp_path / "out"))
    assert [one.label for one in done.records] == ["cat", "dog"]


def in_folder(folder) -> dict:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_word_in_the_name_of_the_photo_is_no_part_of_it(tmp_path):
    """As in DeepGlobe: 0_sat.jpg and 0_mask.png, and here a plain pair too."""
    for stem in "012":
        draw(tmp_path / f"{stem}_sat.jpg")
        draw(tmp_path / f"{stem}_mask.png", "mask")
    done = make_masks(str(tmp_path), from_="binary", images=str(tmp_path), out=str(tmp_path / "out"))
    assert [record.verdict for record in done.records] == ["good"] * 3
    draw(tmp_path / "9.jpg")
    draw(tmp_path / "9_mask.png", "mask")
    assert sorted(PhotoTree(tmp_path).photos) == ["0_sat.jpg", "1_sat.jpg", "2_sat.jpg", "9.jpg"]
    found = find_photos(tmp_path, tmp_path, labelled=False)
    assert [photo.mask.name for photo in found if photo.mask] == [f"{stem}_mask.png" for stem in "0129"]
    done = make_masks(str(tmp_path), from_="binary", images=str(tmp_path), out=str(tmp_path / "again"))
    assert not [line for line in done.problems if "without a mask" in line]


@pytest.mark.parametrize("kind", ["photo", "on white"])
def test_photos_with_names_of_masks_stay_photos(tmp_path, kind):
    for stem in ("w0", "w1"):
        for name in (f"{stem}.jpg", f"{stem}_label.jpg", f"{stem}_gt.png"):  # the back of the bottle, a car
            draw(tmp_path / "wine" / name, kind, (64, 48))
    assert len(PhotoTree(tmp_path).photos) == 6


@pytest.mark.parametrize("kind", ["ids", "slope"])
def test_other_masks_are_masks_if_their_names_say_so(tmp_path, kind):
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "a_seg.png", kind)
    assert set(masks_beside(in_folder(tmp_path))) == {"a_seg.png"}
    draw(tmp_path / "a.png", kind)
    (tmp_path / "a_seg.png").unlink()
    assert masks_beside(in_folder(tmp_path)) == {}


def test_a_picture_with_a_mask_in_another_folder_is_a_photo(tmp_path):
    for stem in ("mustang", "mustang_gt"):
        draw(tmp_path / "photos" / "ford" / f"{stem}.png", "mask")  # a drawing in black and white
        draw(tmp_path / "m" / "ford" / f"{stem}.png", "mask")
    draw(tmp_path / "photos" / "vw" / "1.png")
    draw(tmp_path / "m" / "vw" / "1.png", "mask")
    found = find_photos(tmp_path / "photos", tmp_path / "m")
    assert [photo.mask.name for photo in found if photo.mask] == ["mustang.png", "mustang_gt.png", "1.png"]
    assert "mustang_gt.png" not in [photo.image.name for photo in find_photos(tmp_path / "photos")]


@pytest.mark.parametrize("as_grey", [False, True])
def test_photos_on_white_are_no_masks(tmp_path, as_grey):
    for stem in "012":
        for ending in ("jpg", "png"):
            draw(tmp_path / f"{stem}.{ending}", "on white", (64, 48))
        if as_grey:
            with Image.open(tmp_path / f"{stem}.png") as photo:
                photo.convert("L").save(tmp_path / f"{stem}.png")
    assert masks_beside(in_folder(tmp_path)) == {}


@pytest.mark.parametrize(("masks", "name"), [(1, "{}"), (3, "{}"), (3, "{}_mask")])
def test_some_masks_and_some_photos_are_asked_about(tmp_path, masks, name):
    for stem in range(4):
        draw(tmp_path / f"{stem}.jpg")
        draw(tmp_path / f"{name.format(stem)}.png", "mask" if stem < masks else "photo")
    with pytest.raises(UserError, match=r"4 pictures may be masks.*0.*\.png looks like a mask, .*png does not; move"):
        PhotoTree(tmp_path)


def test_few_pictures_are_looked_at_and_once(tmp_path, monkeypatch):
    for stem in range(60):
        for ending in ("jpg", "png"):
            draw(tmp_path / f"{stem}.{ending}")
    opened = []
    read = module.read_pixels
    monkeypatch.setattr(module, "read_pixels", lambda path: opened.append(path) or read(path))
    assert len(PhotoTree(tmp_path).photos) == len(PhotoTree(tmp_path).photos) == 120
    assert 0 < len(opened) <= 16
    for stem in range(60):
        draw(tmp_path / f"{stem}.png", "mask")
    assert len(PhotoTree(tmp_path).photos) == 60, "files that changed are looked at again"


def test_a_numbered_mask_of_a_lost_photo_is_not_one_of_several(tmp_path):
    """Photos of faces with masks: with_mask_1.jpg."""
    for number in (1, 2, 9):
        draw(tmp_path / "photos" / f"with_mask_{number}.jpg")
        draw(tmp_path / "masks" / f"with_mask_{number}.png", "mask")
    (tmp_path / "photos" / "with_mask_9.jpg").unlink()
    with pytest.raises(UserError, match=r"mask without an image: .*with_mask_9.png"):
        find_photos(tmp_path / "photos", tmp_path / "masks", labelled=False)


@pytest.mark.parametrize("word", ["mask", "Mask", "MASK"])
def test_numbered_masks_are_united_whatever_their_capitals(tmp_path, word):
    draw(tmp_path / "photos" / "IMG.jpg")
    for number in (1, 2):
        draw(tmp_path / "masks" / f"IMG_{word}_{number}.png", "mask")
    options = {"images": str(tmp_path / "photos"), "out": str(tmp_path / "out")}
    done = make_masks(str(tmp_path / "masks"), from_="binary", **options)
    assert [record.verdict for record in done.records] == ["good"]


def test_no_option_is_named_that_a_command_lacks(tmp_path):
    draw_tiles(tmp_path)
    assert "--" not in PhotoTree(tmp_path).count.note


def test_a_mask_is_one_whatever_the_format_of_its_photo(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"read by another library")
    draw(tmp_path / "a_mask.png", "mask", (64, 48))
    assert set(masks_beside(in_folder(tmp_path))) == {"a_mask.png"}
