"""Masks as images: VOC, ImageNet-S and plain ones come back, what does not match is named."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.annotation_files import HEIGHT, WIDTH, complaints, only, save_mask, save_photo
from robustvit.common.errors import UserError
from robustvit.masks.annotations import read_annotations

pytest.importorskip("pycocotools.mask")


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
    for name in ("a", "b", "c", "d", "e"):
        save_photo(tmp_path / "images" / f"{name}.jpg")
    masks = tmp_path / "masks"
    save_mask(class_ids().T.copy(), masks / "a.png")
    save_mask(0 * class_ids(), masks / "b.png")
    save_mask(class_ids(), masks / "z.png")
    save_mask(class_ids(), masks / "c.png")
    np.save(masks / "c.npy", np.ones((HEIGHT, WIDTH)))
    np.save(masks / "d.npy", np.ones((WIDTH, HEIGHT)))
    found = complaints(read_annotations("grey", masks, tmp_path / "images"))
    assert "a.jpg has 30 x 44 pixels (height x width), the mask has 44 x 30" in found
    assert "b.png: no pixel is on an object" in found
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
