"""Photos and masks as people have them: every format, every layout, and a clear word about what is wrong."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.drawn_photos import CLASSES, write_photos
from helpers.small_models import SIZE
from robustvit import UserError
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos, SwappedPhotos, evaluation_transform, kept_share, training_transform
from robustvit.data.datasets import read_pair as read
from robustvit.data.find_photos import MaskRules, find_photos
from robustvit.data.mask_files import check_mask, read_mask
from robustvit.data.photo import Photo
from robustvit.data.pixels import Pixels
from robustvit.data.read_photos import read_photo
from robustvit.data.selection import choose_classes, select_photos, selection_text
from robustvit.models.classifier import Preprocessing

EXPECTED = np.zeros((4, 6), dtype=np.float32)
EXPECTED[1:3, 2:5] = 1


def save_palette(path, ids):
    image = Image.fromarray(ids.astype(np.uint8), mode="P")
    image.putpalette([value for i in range(256) for value in (i * 37 % 256, i * 91 % 256, i * 53 % 256)])
    image.save(path)


def write_mask(path, kind):
    inside = EXPECTED > 0
    if kind == "zero-one":
        Image.fromarray(inside.astype(np.uint8)).save(path)
    elif kind == "grey":
        Image.fromarray((255 * inside).astype(np.uint8)).save(path)
    elif kind == "one-bit":
        Image.fromarray(inside).save(path)
    elif kind == "voc":
        ids = np.where(inside, 12, 0)
        ids[0] = 255
        save_palette(path, ids)
    elif kind == "palette-binary":
        save_palette(path, np.where(inside, 255, 0))
    elif kind == "imagenet-s":
        ids = np.where(inside, 300, 0)
        ids[3] = 1000
        rgb = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1)
        Image.fromarray(rgb.astype(np.uint8)).save(path)
    elif kind == "grey-rgb":
        Image.fromarray(np.repeat((255 * inside).astype(np.uint8)[..., None], 3, axis=2)).save(path)
    elif kind == "alpha":
        rgba = np.full((4, 6, 4), 90, np.uint8)
        rgba[..., 3] = 255 * inside
        Image.fromarray(rgba).save(path)
    elif kind == "sixteen-bit":
        Image.fromarray((65535 * inside).astype(np.uint16)).save(path)


@pytest.mark.parametrize(
    "kind",
    ["zero-one", "grey", "one-bit", "voc", "palette-binary", "imagenet-s", "grey-rgb", "alpha", "sixteen-bit"],
)
def test_mask_formats(tmp_path, kind):
    write_mask(tmp_path / "m.png", kind)
    mask = read_mask(tmp_path / "m.png")
    assert mask.dtype == np.float32
    assert np.array_equal(mask, EXPECTED)


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (4, 6, 1)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.float64])
def test_arrays_as_masks(tmp_path, shape, dtype):
    np.save(tmp_path / "m.npy", EXPECTED.reshape(shape).astype(dtype))
    assert np.array_equal(read_mask(tmp_path / "m.npy"), EXPECTED)


def test_soft_masks_stay_soft(tmp_path):
    soft = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    np.save(tmp_path / "m.npy", soft)
    assert np.array_equal(read_mask(tmp_path / "m.npy"), soft)
    Image.fromarray((255 * soft).round().astype(np.uint8)).save(tmp_path / "m.png")
    assert np.allclose(read_mask(tmp_path / "m.png"), soft, atol=0.5 / 255)


def test_ids_in_a_grey_image_are_asked_about_not_guessed(tmp_path):
    Image.fromarray(np.where(EXPECTED > 0, 12, 0).astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="--mask-format ids"):
        read_mask(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", "ids"), EXPECTED)
    assert read_mask(tmp_path / "m.png", "soft").max() == pytest.approx(12 / 255)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.full((4, 6), 2.5), r"\[0, 1\]"),
        (np.full((4, 6), 2.0), "class ids or soft values"),
        (np.full((4, 6), np.nan), "NaN"),
        (np.full((4, 6), -1.0), "negative"),
        (np.zeros((4, 6, 3)), "height, width"),
        (np.array([["a", "b"]]), "height, width"),
    ],
)
def test_arrays_that_are_no_masks(tmp_path, array, word):
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(UserError, match=word):
        read_mask(tmp_path / "m.npy")


def test_alpha_that_says_nothing_is_dropped(tmp_path):
    opaque = np.dstack([np.repeat((255 * EXPECTED)[..., None], 3, axis=2), np.full((4, 6), 255)]).astype(np.uint8)
    Image.fromarray(opaque).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), EXPECTED)


def test_ids_in_an_array(tmp_path):
    ids = np.where(EXPECTED > 0, 12, 0)
    ids[0] = 255
    np.save(tmp_path / "m.npy", ids)
    assert np.array_equal(read_mask(tmp_path / "m.npy", "ids"), EXPECTED)


def test_masks_that_teach_nothing_or_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="empty mask a"):
        check_mask(np.zeros((4, 6)), "a")
    with pytest.raises(UserError, match="whole frame"):
        check_mask(np.ones((4, 6)), "a")
    (tmp_path / "m.npy").write_bytes(b"no array")
    (tmp_path / "m.png").write_bytes(b"no image")
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name in ("m.npy", "m.png", "o.npy", "none.png"):
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            read_mask(tmp_path / name)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(UserError, match="colours"):
        read_mask(tmp_path / "c.png")


def gradient(width=6, height=4):
    ramp = np.linspace(0, 255, width * height).reshape(height, width)
    return np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1).round().astype(np.uint8)


def test_photos_of_every_mode(tmp_path):
    rgb = Image.fromarray(gradient())
    rgb.save(tmp_path / "rgb.png")
    assert np.array_equal(read_photo(tmp_path / "rgb.png"), gradient())
    rgb.convert("CMYK").save(tmp_path / "cmyk.tiff")
    assert np.abs(np.asarray(read_photo(tmp_path / "cmyk.tiff"), int) - gradient()).max() <= 2
    Image.fromarray(gradient()[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(read_photo(tmp_path / "deep.png"))[..., 1], gradient()[..., 0])
    clear = np.dstack([gradient(), np.zeros((4, 6), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (np.asarray(read_photo(tmp_path / "clear.png", pixels=Pixels(alpha="white"))) == 255).all()
    for name in ("rgb.png", "cmyk.tiff", "deep.png"):
        assert read_photo(tmp_path / name).mode == "RGB"


@pytest.mark.parametrize("mask_turned", [False, True])
def test_exif_rotation_is_heeded_for_photo_and_mask(tmp_path, mask_turned):
    upright = Image.fromarray(gradient())
    mask = Image.fromarray((255 * EXPECTED).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "p.png", exif=exif)
    (mask.transpose(Image.Transpose.ROTATE_90) if mask_turned else mask).save(tmp_path / "m.png")
    image, read_back = read(Photo(tmp_path / "p.png", tmp_path / "m.png"))
    assert np.array_equal(image, gradient())
    assert np.array_equal(read_back[0], EXPECTED)


def test_photos_that_cannot_be_read(tmp_path):
    Image.fromarray(gradient(60, 40)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:400])
    (tmp_path / "text.png").write_text("hello")
    for name in ("cut.jpg", "text.png", "none.jpg"):
        with pytest.raises(UserError, match=name.replace(".", r"\.")) as caught:
            read_photo(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_mask_of_another_size(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "p.png")
    Image.fromarray((255 * EXPECTED[:, :-1]).astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match=r"5 x 4 pixels.*6 x 4"):
        read(Photo(tmp_path / "p.png", tmp_path / "m.png"))


def test_class_folders_are_paired_by_class_and_stem(photos):
    found = find_photos(*photos)
    assert len(found) == 30
    assert found == sorted(found, key=lambda photo: photo.image)
    assert all(p.mask.stem == p.image.stem and p.mask.parent.name == p.class_name for p in found)


def test_csv_and_flat_folders(tmp_path, photos):
    images, masks = photos
    with (tmp_path / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mask", "label"])
        writer.writerow([images / "disc" / "000.png", masks / "disc" / "000.png", "disc"])
    assert find_photos(tmp_path / "list.csv") == [
        Photo(images / "disc" / "000.png", masks / "disc" / "000.png", "disc")
    ]
    flat = find_photos(images / "disc", masks / "disc", labelled=False)
    assert len(flat) == 10
    assert {photo.class_name for photo in flat} == {None}
    with pytest.raises(UserError, match="--target predicted"):
        find_photos(images / "disc", masks / "disc")


def test_folders_that_do_not_match(tmp_path):
    images, masks = write_photos(tmp_path, 2)
    (masks / "disc" / "001.png").rename(tmp_path / "aside.png")
    with pytest.raises(UserError, match=r"image without a mask: .*disc/001\.png"):
        find_photos(images, masks)
    assert len(find_photos(images, masks, rules=MaskRules(skip_unmasked=True))) == 5
    (tmp_path / "aside.png").rename(masks / "disc" / "001.png")
    (images / "frame" / "000.png").unlink()
    with pytest.raises(UserError, match=r"mask without an image: .*frame/000\.png"):
        find_photos(images, masks)
    (masks / "disc").rename(masks / "disk")
    with pytest.raises(UserError, match=r"lacks disc and .* lacks disk"):
        find_photos(images, masks)


def test_other_bad_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    for place, word in ((tmp_path / "none", "found none"), (tmp_path / "empty", "found none")):
        with pytest.raises(UserError, match=word):
            find_photos(place)
    images, masks = write_photos(tmp_path, 1)
    (masks / "disc" / "000.npy").write_bytes(b"")
    with pytest.raises(UserError, match="two masks"):
        find_photos(images, masks)
    Image.new("RGB", (4, 4)).save(images / "stray.png")
    with pytest.raises(UserError, match=r"stray\.png"):
        find_photos(images)
    (tmp_path / "list.csv").write_text("image,mask\nnone.png,\n")
    with pytest.raises(UserError, match=r"none\.png"):
        find_photos(tmp_path / "list.csv")
    photo = photo_row = images / "disc" / "000.png"
    (tmp_path / "list.csv").write_text(f"image,label\n{photo},a\n{photo_row},a\n")
    with pytest.raises(UserError, match="more than once"):
        find_photos(tmp_path / "list.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=r"folder\.csv"):
        find_photos(tmp_path / "folder.csv")
    (tmp_path / "list.csv").write_text("label,image\na\n")
    with pytest.raises(UserError, match="without a photo"):
        find_photos(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("picture\nnone.png\n")
    with pytest.raises(UserError, match="columns"):
        find_photos(tmp_path / "list.csv")


def labelled(names, *arguments):
    return [p.label for p in match_labels([Photo("x", class_name=name) for name in names], *arguments)]


def test_labels_from_names_wnids_or_order():
    assert labelled(["b", "A"], 3, ("a", "x", "B")) == [2, 0]
    assert labelled(["z", "y", "z"], 2) == [1, 0, 1]
    assert labelled(["n02123045", "tabby"], 1000, ("none",) * 281 + ("tabby",) + ("none",) * 718) == [281, 281]
    assert labelled(["10", "2"], 12) == [10, 2], "numbered folders are numbers, not sorted text"
    with pytest.raises(UserError, match="did you mean 'horse'"):
        labelled(["horze"], 2, ("cat", "horse"))
    with pytest.raises(UserError, match=r"expected 5 class folders.*found 2"):
        labelled(["cat", "dog"], 5)


def test_labels_from_the_order_of_folders_are_said_once(capsys):
    for _ in range(2):
        assert labelled(["ocelot", "lynx"], 2) == [1, 0]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("0 lynx, 1 ocelot (ImageFolder and timm agree on it)") == 1
    assert "--class-names NAME,NAME,..." in said
    labelled(["ocelot", "lynx"], 2, ("ocelot", "lynx"))
    assert capsys.readouterr().err == ""


def fake_photos(counts):
    return [Photo(f"{name}{i}", f"{name}{i}m", name, 0) for name, count in counts.items() for i in range(count)]


def test_selection_is_seeded_disjoint_and_covers_every_class():
    everything = fake_photos({"a": 10, "b": 10, "c": 4, "d": 2})
    chosen = select_photos(everything, samples_per_class=3, classes=0.5, seed=1)
    assert chosen == select_photos(list(everything), samples_per_class=3, classes=0.5, seed=1)
    assert chosen != select_photos(everything, samples_per_class=3, classes=0.5, seed=2)
    trained = {photo.class_name for photo in chosen.train}
    assert len(trained) == 2
    assert not set(chosen.train) & set(chosen.validation)
    assert {photo.class_name for photo in chosen.validation} == {"a", "b", "c", "d"}
    counts = [sum(p.class_name == name for p in chosen.train) for name in sorted(trained)]
    assert all(1 <= count <= 3 for count in counts)
    few = select_photos(everything, samples_per_class=30, validation_per_class=1)
    assert all(sum(p.class_name == name for p in few.validation) == 1 for name in "abcd")
    assert sum(p.class_name == "a" for p in few.train) == 8


def test_given_validation_leaves_all_photos_to_training():
    chosen = select_photos(fake_photos({"a": 3}), samples_per_class=5, validation=fake_photos({"b": 1}))
    assert len(chosen.train) == 3
    assert [photo.class_name for photo in chosen.validation] == ["b"]


def test_choice_of_classes():
    names = list("abcdef")
    assert choose_classes(names, "all", 0) == names
    assert choose_classes(names, ["f", "b"], 0) == ["b", "f"]
    assert len(choose_classes(names, 0.5, 0)) == len(choose_classes(names, 3, 0)) == 3
    assert choose_classes(names, 1.0, 0) == names
    assert len({tuple(choose_classes(names, 3, seed)) for seed in range(8)}) > 1
    assert choose_classes(names, "b, f", 0) == ["b", "f"]
    for wrong in (0, 7, ["x"], "some", 0.01, 1.5, -0.5, float("nan"), []):
        with pytest.raises(UserError, match="class"):
            choose_classes(names, wrong, 0)
    with pytest.raises(UserError, match="at least 2 photos"):
        select_photos(fake_photos({"a": 1}))
    with pytest.raises(UserError, match="at least 1"):
        select_photos(fake_photos({"a": 5}), samples_per_class=0)


def test_selection_as_csv():
    chosen = select_photos(fake_photos({"a": 5}), samples_per_class=2)
    text = selection_text({"train": chosen.train, "validation": chosen.validation})
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["split"] for row in rows] == ["train"] * 2 + ["validation"] * 3
    assert set(rows[0]) == {"split", "class", "label", "image", "mask", "sha256", "phash"}


def test_transforms_move_image_and_mask_together(photos):
    """The objects are brighter than their background, so a mask that moved otherwise would not lie on them."""
    found = find_photos(*photos)
    preprocessing = Preprocessing((SIZE, SIZE))
    for augment in (True, False):
        torch.manual_seed(0)
        dataset = MaskedPhotos(match_labels(found, 3, CLASSES), preprocessing, augment=augment)
        for index in (0, 12, 25):
            item = dataset[index]
            image, mask = item["image"], item["mask"]
            assert image.shape == (3, SIZE, SIZE)
            assert mask.shape == (1, SIZE, SIZE)
            assert 0 <= image.min() <= image.max() <= 1
            assert set(mask.unique().tolist()) <= {0.0, 1.0}
            inside, outside = image.amin(0)[mask[0] > 0.5], image.amin(0)[mask[0] < 0.5]
            assert inside.mean() > outside.mean() + 0.3
            assert item["label"] == CLASSES.index(found[index].class_name)


def test_evaluation_transform_is_resize_and_centre_crop():
    picture = Image.fromarray(gradient(300, 200))
    out = evaluation_transform(Preprocessing((112, 112), crop_share=0.875, interpolation="bilinear"))(picture)
    small = picture.resize((192, 128), Image.Resampling.BILINEAR)
    expected = np.asarray(small)[8:120, 40:152].transpose(2, 0, 1) / 255
    assert np.abs(out.numpy() - expected).max() < 2 / 255
    wide = evaluation_transform(Preprocessing((64, 128), crop_share=1.0))(picture)
    assert wide.shape == (3, 64, 128)


def test_training_transform_flips_and_crops_at_random():
    picture = Image.fromarray(gradient(64, 64))
    transform = training_transform(Preprocessing((56, 56)))
    torch.manual_seed(0)
    outs = [transform(picture) for _ in range(6)]
    assert all(out.shape == (3, 56, 56) for out in outs)
    assert any(not torch.equal(outs[0], out) for out in outs[1:])


def test_share_of_the_box_that_the_crop_keeps():
    preprocessing = Preprocessing((100, 100), crop_share=0.5)
    mask = torch.zeros(1, 100, 200)
    mask[:, 40:60, 90:110] = 1
    assert kept_share(mask, preprocessing) == 1.0
    mask = torch.zeros(1, 100, 200)
    mask[:, 40:60, 70:80] = 1  # the crop starts at column 75
    assert kept_share(mask, preprocessing) == pytest.approx(0.5)
    mask = torch.zeros(1, 100, 200)
    mask[:, 0:20, 0:20] = 1
    assert kept_share(mask, preprocessing) == 0.0
    assert kept_share(torch.zeros(1, 100, 200), preprocessing) == 0.0


def test_swapped_photos_show_the_object_on_the_other_background(photos):
    found = match_labels(find_photos(*photos), 3, CLASSES)
    dataset = MaskedPhotos(found, Preprocessing((SIZE, SIZE), crop_share=1.0))
    swapped = SwappedPhotos(dataset, [(0, 15)])[0]
    item, donor = dataset[0], dataset[15]
    inside = item["mask"][0] > 0.5
    assert torch.equal(swapped["image"][:, inside], item["image"][:, inside])
    apart = ~inside & (donor["mask"][0] < 0.5)
    assert (swapped["image"] - donor["image"])[:, apart].abs().mean() < 0.1
    assert swapped["label"] == item["label"]


def test_swapped_photos_read_a_photo_once_and_keep_only_some(photos, monkeypatch):
    found = match_labels(find_photos(*photos), 3, CLASSES)
    dataset = MaskedPhotos(found, Preprocessing((SIZE, SIZE), crop_share=1.0))
    read = []

    class Counted(MaskedPhotos):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    pairs = [(index, donor) for index in range(6) for donor in range(6) if index != donor]
    swapped = SwappedPhotos(Counted(found, dataset.preprocessing), pairs)
    together = [swapped[position]["image"] for position in range(len(pairs))]
    assert sorted(read) == [*range(6)]
    monkeypatch.setattr(SwappedPhotos, "_KEPT", 2)
    swapped = SwappedPhotos(Counted(found, dataset.preprocessing), pairs)
    for position, (image, pair) in enumerate(zip(together, pairs, strict=True)):
        assert torch.equal(swapped[position]["image"], image)
        assert torch.equal(SwappedPhotos(dataset, [pair])[0]["image"], image)
        assert len(swapped._read) <= 2
