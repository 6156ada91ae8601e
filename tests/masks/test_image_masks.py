"""Masks as images: VOC, ImageNet-S and plain ones come back, what does not match is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.annotation_files import HEIGHT, WIDTH, complaints, only, save_mask, save_photo
from robustvit.common.errors import UserError
from robustvit.data.class_matching import match_labels
from robustvit.data.find_photos import find_photos
from robustvit.data.manifest import read_manifest
from robustvit.data.mask_files import read_mask
from robustvit.masks.annotations import read_annotations
from robustvit.masks.make import make_masks

pytest.importorskip("pycocotools.mask")

NAMES = [f"class {number}" for number in range(1, 21)]


def class_ids() -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    ids[5:20, 10:30] = 2
    ids[20:25, 10:30] = 1
    ids[4, 10:30] = 255
    return ids


@pytest.mark.parametrize("palette", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_voc_ids(tmp_path, palette, nested):
    inner = "cat" if nested else "."
    save_photo(tmp_path / "images" / inner / "a.jpg")
    save_mask(class_ids(), tmp_path / "masks" / inner / "a.png", palette)
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    (photo,) = annotations.photos
    one, two = photo.read()
    assert [one.category, two.category] == ["1", "2"]
    assert np.array_equal(one.mask, class_ids() == 1)
    assert np.array_equal(two.mask, class_ids() == 2)


@pytest.mark.parametrize("names", ["labelmap.txt", "classes.txt"])
def test_voc_names(tmp_path, names):
    save_photo(tmp_path / "images" / "a.jpg")
    save_mask(class_ids(), tmp_path / "masks" / "a.png", palette=True)
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "ant:1,2,3::", "bee:9,9,9::"]
    (tmp_path / names).write_text("\n".join(lines) if names == "labelmap.txt" else "ant\nbee")
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    assert annotations.categories == ("ant", "bee")
    assert [found.category for found in annotations.photos[0].read()] == ["ant", "bee"]


def test_voc_colours_by_label_map(tmp_path):
    save_photo(tmp_path / "images" / "a.jpg")
    colours = np.array([[0, 0, 0], [1, 2, 3], [9, 9, 9], [7, 7, 7]], dtype=np.uint8)
    save_mask(colours[class_ids().clip(0, 3)], tmp_path / "masks" / "a.png")
    with pytest.raises(UserError, match="found colours"):
        read_annotations("voc", tmp_path / "masks", tmp_path / "images").photos[0].read()
    (tmp_path / "masks" / "labelmap.txt").write_text("background:0,0,0::\nant:1,2,3::\nbee:9,9,9::\n")
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    masks = {found.category: found.mask for found in annotations.photos[0].read()}
    assert np.array_equal(masks["bee"], class_ids() == 2)
    assert set(masks) == {"ant", "bee"}
    assert "1 colour that labelmap.txt does not name" in complaints(annotations)


def test_imagenet_s_ids(tmp_path):
    save_photo(tmp_path / "images" / "n01" / "a.jpg")
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    ids[5:20, 10:30], ids[0, :], ids[1, :] = 300, 1000, 7
    channels = np.stack([ids % 256, ids // 256, 0 * ids], axis=-1).astype(np.uint8)
    save_mask(channels, tmp_path / "masks" / "n01" / "a.png")
    (photo,) = read_annotations("imagenet-s", tmp_path / "masks", tmp_path / "images").photos
    low, high = photo.read()
    assert [low.category, high.category] == ["7", "300"]
    assert np.array_equal(high.mask, ids == 300)


@pytest.mark.parametrize("kind", ["npy", "8 bits", "16 bits"])
@pytest.mark.parametrize("format", ["soft", "grey", "binary"])
def test_plain_masks(tmp_path, kind, format):
    save_photo(tmp_path / "images" / "a.jpg")
    soft = np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32)
    soft[0, 0], soft[0, 1] = 1, 0
    path = tmp_path / "masks" / "a.npy"
    path.parent.mkdir()
    if kind == "npy":
        np.save(path, soft)
    elif kind == "8 bits":
        save_mask((255 * soft).round().astype(np.uint8), path.with_suffix(".png"))
    else:
        save_mask((65535 * soft.astype(float)).round().astype(np.uint16), path.with_suffix(".png"))
    found = only(read_annotations(format, tmp_path / "masks", tmp_path / "images"))
    assert found.category is None
    if format == "binary":
        doubtful = abs(soft - 0.5) < 0.01
        assert np.array_equal(found.mask[~doubtful], (soft >= 0.5)[~doubtful])
        assert set(np.unique(found.mask)) == {0, 1}
    else:
        assert np.abs(found.mask - soft).max() < (1e-6 if kind == "npy" else 0.6 / 255)


def test_masks_that_do_not_match(tmp_path):
    for name in ("a", "c", "d", "e"):
        save_photo(tmp_path / "images" / f"{name}.jpg")
    masks = tmp_path / "masks"
    save_mask(class_ids().T.copy(), masks / "a.png")
    save_mask(class_ids(), masks / "z.png")
    save_mask(class_ids(), masks / "c.png")
    np.save(masks / "c.npy", np.ones((HEIGHT, WIDTH)))
    np.save(masks / "d.npy", np.ones((WIDTH, HEIGHT)))
    found = complaints(read_annotations("grey", masks, tmp_path / "images"))
    assert "a.jpg has 30 x 44 pixels (height x width), the mask has 44 x 30" in found
    assert "z.png: no photo 'z'" in found
    assert "is listed twice, also by" in found
    assert "d.npy: the mask has 44 x 30 pixels" in found
    assert "2 photos without a mask, the first is" in found


def test_masks_of_another_coding(tmp_path):
    save_photo(tmp_path / "images" / "a.jpg")
    grey = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    save_mask(grey, tmp_path / "masks" / "a.png")
    assert "is it a grey mask?" in complaints(read_annotations("voc", tmp_path / "masks", tmp_path / "images"))
    assert "ImageNet-S" in complaints(read_annotations("imagenet-s", tmp_path / "masks", tmp_path / "images"))


INSIDE = np.zeros((HEIGHT, WIDTH), dtype=bool)
INSIDE[5:25, 10:30] = True
RIM = np.zeros((HEIGHT, WIDTH), dtype=bool)
RIM[4:26, 9:31] = ~INSIDE[4:26, 9:31]


def made(folder, masks, form, **options):
    """Call ``masks --from`` on a flat folder of the masks given, with photos beside."""
    for name, values in masks.items():
        save_photo(folder / "images" / f"{name}.jpg")
        save_mask(values.astype(np.uint8), folder / "masks" / f"{name}.png")
    out = str(folder / f"out-{form}")
    return make_masks(str(folder / "masks"), out=out, from_=form, images=str(folder / "images"), **options)


@pytest.mark.parametrize("form", ["voc", "binary", "grey", "soft"])
def test_the_background_of_a_trimap_is_never_the_object(tmp_path, form):
    trimap = {"a": np.where(INSIDE, 1, np.where(RIM, 3, 2))}
    with pytest.raises(UserError, match="--from trimap") as error:
        made(tmp_path, trimap, form)
    assert "--mask-format" not in str(error.value)
    assert "a.png" in str(error.value) or "a.jpg" in str(error.value)
    (record,) = made(tmp_path, trimap, "trimap").records
    assert np.array_equal(read_mask(record.mask), INSIDE)
    assert record.verdict == "good"


def test_ids_that_cover_the_whole_border_are_told_apart_by_a_person(tmp_path):
    street = {"a": np.where(INSIDE, 26, np.where(np.arange(WIDTH) < 20, 7, 11))}
    with pytest.raises(UserError, match=r"the ids 7, 11, 26 cover the whole border .* --categories 7$"):
        made(tmp_path, street, "voc")
    (record,) = made(tmp_path, street, "voc", categories="26").records
    assert np.array_equal(read_mask(record.mask), INSIDE)
    (tmp_path / "masks" / "classes.txt").write_text("\n".join(f"class{number}" for number in range(1, 27)))
    (named,) = make_masks(
        str(tmp_path / "masks"), out=str(tmp_path / "named"), from_="voc", images=str(tmp_path / "images")
    ).records
    assert named.label == "class11"


@pytest.mark.parametrize("form", ["voc", "grey", "binary", "soft"])
def test_a_palette_of_white_and_black_is_read_by_its_colours(tmp_path, form):
    save_photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    image = Image.fromarray((~INSIDE).astype(np.uint8), mode="P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "masks" / "a.png")
    options = {"out": str(tmp_path / "out"), "from_": form, "images": str(tmp_path / "images")}
    if form == "voc":
        with pytest.raises(UserError, match=r"--from binary \(the other colour\) or --from inverted \(black\)"):
            make_masks(str(tmp_path / "masks"), **options)
    else:
        (record,) = make_masks(str(tmp_path / "masks"), **options).records
        assert np.array_equal(read_mask(record.mask), INSIDE)
        assert record.verdict == "good"


def test_grey_masks_of_ids_are_asked_about_and_faint_ones_are_not_good(tmp_path):
    with pytest.raises(UserError, match=r"class ids or soft values. say so with --from voc or --from soft"):
        made(tmp_path, {"a": 33 * INSIDE}, "grey")
    (soft,) = made(tmp_path, {"a": 33 * INSIDE}, "soft").records
    assert (soft.verdict, soft.reason) == ("doubtful", "no pixel reaches one half")
    with pytest.raises(UserError, match="its greatest value is 4 of 255"):
        made(tmp_path / "four", {"a": 4 * INSIDE}, "soft")
    with pytest.raises(UserError, match=r"255 void: is it --from binary"):
        made(tmp_path / "white", {"a": 255 * INSIDE}, "voc")


def test_masks_of_the_background_are_doubtful_until_they_are_inverted(tmp_path):
    masks = {"a": 255 * ~INSIDE, "b": 255 * ~INSIDE, "c": 255 * INSIDE}
    found = made(tmp_path, masks, "binary")
    assert [record.verdict for record in found.records] == ["doubtful", "doubtful", "good"]
    assert [record.confidence for record in found.records] == [0, 0, 1]
    assert "2 of 3 masks cover the border of the frame" in found.problems[-1]
    assert read_manifest(found.manifest) == found.records
    again = made(tmp_path, masks, "binary")
    assert (again.made, again.records, again.problems) == (0, found.records, found.problems)
    inverted = made(tmp_path, {name: masks["a"] for name in "abc"}, "inverted")
    assert {record.verdict for record in inverted.records} == {"good"}
    assert all(np.array_equal(read_mask(record.mask), INSIDE) for record in inverted.records)


def test_ids_of_masks_are_no_outputs_of_a_model(tmp_path):
    found = made(tmp_path, {"a": 8 * INSIDE, "b": 12 * INSIDE}, "voc")
    assert [record.label for record in found.records] == ["8", "12"]
    assert "the classes have no names but the ids 8, 12: put their names into a classes.txt" in found.problems[-1]
    photos = find_photos(found.manifest)
    for names in ((), [f"name{number}" for number in range(20)]):
        with pytest.raises(UserError, match=r"ids of the masks \(8, 12\), where 0 is the background"):
            match_labels(photos, 20, names)
    matched = match_labels(photos, 20, [str(number) for number in range(1, 21)])
    assert [photo.label for photo in matched] == [7, 11]
    (tmp_path / "masks" / "classes.txt").write_text("\n".join(NAMES))
    named = make_masks(str(tmp_path / "masks"), out=str(tmp_path / "n"), from_="voc", images=str(tmp_path / "images"))
    assert not named.problems
    assert [photo.label for photo in match_labels(find_photos(named.manifest), 20, NAMES)] == [7, 11]


def test_ids_of_imagenet_s_are_no_outputs_and_class_folders_may_be_numbers(tmp_path):
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[INSIDE] = 44, 1, 0
    found = made(tmp_path, {"a": colours}, "imagenet-s")
    with pytest.raises(UserError, match=r"ids of the masks \(300\)"):
        match_labels(find_photos(found.manifest), 1000)
    folder = tmp_path / "sorted"
    save_photo(folder / "images" / "3" / "a.jpg")
    save_mask((8 * INSIDE).astype(np.uint8), folder / "masks" / "3" / "a.png")
    in_folders = make_masks(str(folder / "masks"), out=str(folder / "out"), from_="voc", images=str(folder / "images"))
    assert not in_folders.problems
    numbers = [str(number) for number in range(20)]
    assert [photo.label for photo in match_labels(find_photos(in_folders.manifest), 20, numbers)] == [3]


@pytest.mark.parametrize("lines", [["ant", "background", "bee"], ["ant", "void", "bee", "cow"]])
def test_names_after_a_background_in_between_are_in_doubt(tmp_path, lines):
    save_photo(tmp_path / "images" / "a.jpg")
    save_mask(class_ids(), tmp_path / "masks" / "a.png", palette=True)
    (tmp_path / "classes.txt").write_text("\n".join(lines))
    annotations = read_annotations("voc", tmp_path / "masks", tmp_path / "images")
    assert [found.category for found in annotations.photos[0].read()] == ["ant", "2"]
    assert f"{lines[1]!r} stands between the classes" in complaints(annotations)


def test_masks_and_photos_in_one_folder(tmp_path):
    """Roboflow's export for semantic segmentation; a mask is never taken for a photo of itself."""
    for name in ("a.jpg", "b.png"):
        save_photo(tmp_path / "set" / name)
        save_mask(class_ids(), tmp_path / "set" / f"{name[0]}_mask.png", palette=True)
    annotations = read_annotations("voc", tmp_path / "set", tmp_path / "set")
    assert [photo.image.name for photo in annotations] == ["a.jpg", "b.png"]
    save_photo(tmp_path / "plain" / "a.png")
    with pytest.raises(UserError, match=r"both lie in .* and no name tells them apart"):
        read_annotations("voc", tmp_path / "plain", tmp_path / "plain")


@pytest.mark.parametrize(("masks", "images"), [("set/masks", "set"), ("set", "set/images")])
def test_a_folder_of_masks_inside_that_of_photos_or_the_other_way_round(tmp_path, masks, images):
    save_photo(tmp_path / "set" / "images" / "a.png")
    save_mask(class_ids(), tmp_path / "set" / "masks" / "a.png", palette=True)
    annotations = read_annotations("voc", tmp_path / masks, tmp_path / images)
    assert [photo.image.parent.name for photo in annotations] == ["images"]
    assert complaints(annotations) == ""


def test_the_reason_is_that_of_a_photo_not_how_it_was_found(tmp_path):
    save_photo(tmp_path / "images" / "a.jpg")
    save_mask((255 * INSIDE).astype(np.uint8), tmp_path / "masks" / "a_mask.png")
    options = {"out": str(tmp_path / "out"), "images": str(tmp_path / "images")}
    with pytest.raises(UserError, match=r"a_mask\.png: .*is it --from binary"):
        make_masks(str(tmp_path / "masks"), from_="voc", **options)
    assert make_masks(str(tmp_path / "masks"), from_="binary", **options).records[0].verdict == "good"
