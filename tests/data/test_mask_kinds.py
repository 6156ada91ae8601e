"""Masks as people have them: the object is the object, ids are not degrees, and a doubt is a question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from helpers.drawn_photos import write_photos
from robustvit import UserError
from robustvit.cli import main as cli
from robustvit.common.photo_options import PhotoOptions
from robustvit.data.mask_files import check_mask, read_ids, read_mask
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.mask_kinds import MASK_KINDS
from robustvit.data.mask_pixels import sign
from robustvit.data.mask_values import voc_colours

HEIGHT, WIDTH = 30, 40
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
DISTANCE = (ROWS - 14) ** 2 + (COLUMNS - 17) ** 2
OBJECT, RIM = DISTANCE < 64, (DISTANCE >= 64) & (DISTANCE < 100)
WHITE, BLACK, RED, BLUE, GREY = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255), (128, 128, 128)
VOC = [tuple(colour) for colour in voc_colours().tolist()]


def palette(ids, *colours):
    image = Image.fromarray(ids.astype(np.uint8), mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def painted(inside, outside):
    return Image.fromarray(np.where(OBJECT[..., None], inside, outside).astype(np.uint8))


def grey(values, kind=np.uint8):
    return Image.fromarray(values.astype(kind))


def with_alpha(colours, alpha):
    image = colours.convert("RGBA")
    image.putalpha(grey(alpha))
    return image


def trimap(inside, rim, outside):
    return np.where(OBJECT, inside, np.where(RIM, rim, outside))


def saved(folder, name, image, **options):
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, image)
    else:
        image.save(path, **options)
    return path


READ = {
    "white first.png": palette(~OBJECT, WHITE, BLACK),
    "white first.gif": palette(~OBJECT, WHITE, BLACK),
    "white first.bmp": palette(~OBJECT, WHITE, BLACK),
    "nearly white first.png": palette(~OBJECT, (254, 254, 254), (3, 3, 3)),
    "black first.png": palette(OBJECT, BLACK, WHITE),
    "quantised.png": painted(WHITE, BLACK).quantize(2),
    "quantised.gif": painted(WHITE, BLACK).quantize(2),
    "one bit.tif": Image.fromarray(OBJECT),
    "of VOC.png": palette(trimap(8, 255, 0), *VOC),
    "of VOC with a grey.png": palette(trimap(7, 255, 0), *VOC),
    "in VOC's colours.png": Image.fromarray(np.array(VOC, np.uint8)[trimap(15, 255, 0)]),
    "only red.png": painted(RED, BLACK),
    "only blue.png": painted(BLUE, BLACK),
    "opaque.png": with_alpha(painted(WHITE, BLACK), np.full_like(OBJECT, 255)),
    "all transparent.png": with_alpha(painted(WHITE, BLACK), np.zeros_like(OBJECT)),
    "cut out.png": with_alpha(painted(WHITE, BLACK), 255 * OBJECT),
    "zero one.png": grey(OBJECT),
    "sixteen bits.png": grey(255 * OBJECT, np.uint16),
    "float.tif": grey(255 * OBJECT, np.float32),
    "float.npy": 255.0 * OBJECT,
    "lossless.webp": painted(WHITE, BLACK),
}


@pytest.mark.parametrize("name", READ)
def test_masks_that_can_be_read_in_one_way_only(tmp_path, name):
    path = saved(tmp_path, name, READ[name], **({"lossless": True} if name.endswith("webp") else {}))
    assert np.array_equal(read_mask(path), OBJECT)


@pytest.mark.parametrize("colour", ["L", "RGB"])
def test_noise_of_a_jpeg_is_no_part_of_the_object(tmp_path, colour):
    path = saved(tmp_path, "m.jpg", grey(255 * OBJECT).convert(colour), quality=90)
    assert len(np.unique(np.asarray(Image.open(path)))) > 4
    mask = read_mask(path)
    assert np.array_equal(mask > 0.5, OBJECT)
    assert set(np.unique(mask[DISTANCE > 150])) == {0}
    again = saved(tmp_path, "m.png", Image.open(path))
    assert np.array_equal(read_mask(again) > 0.5, OBJECT)
    with pytest.raises(UserError, match="empty mask"):
        check_mask(read_mask(saved(tmp_path, "black.jpg", grey(2 * OBJECT))), "black.jpg")


def test_smooth_outlines_and_soft_values_stay_degrees(tmp_path):
    rows, columns = np.mgrid[:180, :240]
    large = grey(255 * ((rows - 90) ** 2 + (columns - 110) ** 2 < 3600))
    smooth = large.reduce(2)
    assert np.unique(np.asarray(smooth)).tolist() == [0, 64, 128, 191, 255]
    images = {"smooth": smooth, "blurred": large.filter(ImageFilter.GaussianBlur(5)), "254": grey(254 * OBJECT)}
    for name, image in images.items():
        mask = read_mask(saved(tmp_path, f"{name}.png", image))
        assert np.allclose(mask, np.asarray(image) / 255, atol=1e-6)
    own = saved(tmp_path, "own.png", grey(trimap(255, 40, 0)), pnginfo=sign())
    assert read_mask(own)[RIM] == pytest.approx(40 / 255)


ASKED = {
    "id 33.png": (grey(33 * OBJECT), "none of which reaches one half: class ids or soft values"),
    "ids.png": (grey(1 + COLUMNS // 10) , "class ids or soft values"),
    "ids 0 to 4.png": (grey(OBJECT * (1 + COLUMNS % 4)), "class ids or soft values"),
    "ids and void.png": (grey(trimap(3, 255, 0)), "class ids or soft values"),
    "id 140 of ADE.png": (grey(140 * OBJECT), "class ids or soft values"),
    "Cityscapes.png": (grey(np.where(OBJECT, 26, 7 + ROWS // 15)), "no pixel is 0"),
    "instances.png": (grey(26001 * OBJECT, np.uint16), "class ids or soft values"),
    "ids.npy": (12 * OBJECT, "class ids or soft values"),
    "ids.tif": (grey(12 * OBJECT, np.float32), "class ids or soft values"),
    "ids.jpg": (grey(12 * OBJECT), "class ids or soft values"),
    "pet.png": (grey(trimap(1, 3, 2)), "--mask-format trimap"),
    "pet without border.png": (grey(trimap(1, 2, 2)), "--mask-format trimap"),
    "matting.png": (grey(trimap(255, 128, 0)), "--mask-format trimap"),
    "red and blue.png": (palette(OBJECT, BLUE, RED), "index 0 is not black"),
    "red first.png": (palette(~OBJECT, RED, BLACK), "another colour before black, though index 0"),
    "grey first.png": (palette(~OBJECT, GREY, BLACK), "another colour before black, though index 0"),
    "greys.png": (palette(trimap(3, 1, 0), (90, 90, 90), WHITE, BLACK, GREY), "degrees by its colours or class ids"),
    "red on white.png": (painted(RED, WHITE), "cannot tell what the colours"),
    "shades.png": (Image.fromarray(COLUMNS[..., None].astype(np.uint8) * np.uint8([6, 0, 0])), "cannot tell"),
    "both.png": (with_alpha(painted(BLACK, WHITE), 255 * (ROWS > 4)), "the colours or the transparency"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_masks_that_could_be_read_in_two_ways_are_asked_about(tmp_path, name):
    image, words = ASKED[name]
    with pytest.raises(UserError, match=words) as error:
        read_mask(saved(tmp_path, name, image))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "name", "image"),
    [
        ("ids", "m.png", grey(trimap(33, 255, 0))),
        ("ids", "m.png", palette(trimap(1, 2, 0) * OBJECT, RED, BLUE)),
        ("ids", "m.png", grey(trimap(300, 65535, 0), np.uint16)),
        ("ids", "m.npy", trimap(12, -1, 0)),
        ("binary", "m.png", grey(33 * OBJECT)),
        ("binary", "m.gif", palette(~OBJECT, WHITE, BLACK)),
        ("inverted", "m.png", grey(255 * ~OBJECT)),
        ("inverted", "m.png", palette(OBJECT, WHITE, BLACK)),
        ("inverted", "m.png", grey(33 * ~OBJECT)),
        ("inverted", "m.png", palette(OBJECT, RED, BLACK)),
        ("binary", "m.png", palette(~OBJECT, RED, BLACK)),
        ("trimap", "m.png", grey(trimap(1, 3, 2))),
        ("trimap", "m.png", palette(trimap(1, 3, 2), *VOC)),
        ("trimap", "m.png", grey(trimap(255, 128, 0))),
    ],
)
def test_what_was_said_is_done(tmp_path, kind, name, image):
    assert np.array_equal(read_mask(saved(tmp_path, name, image), kind), OBJECT)


@pytest.mark.parametrize(
    ("kind", "image", "words"),
    [
        ("ids", palette(~OBJECT, WHITE, BLACK), "--mask-format binary .* or --mask-format inverted .black."),
        ("ids", palette(~OBJECT, RED, BLACK), "--mask-format binary .* or --mask-format inverted .black."),
        ("binary", grey(trimap(1, 3, 2)), "--mask-format trimap"),
        ("soft", grey(trimap(1, 3, 2)), "--mask-format trimap"),
        ("binary", grey(OBJECT * (1 + COLUMNS % 4)), "expected two values"),
        ("binary", palette(trimap(8, 255, 0), *VOC), "cannot tell what the colours"),
        ("soft", palette(trimap(8, 15, 0), *VOC), "--mask-format ids"),
        ("trimap", grey(33 * OBJECT), "expected a trimap"),
        ("imagenet-s", grey(33 * OBJECT), "expected a colour mask of ImageNet-S"),
    ],
)
def test_what_contradicts_the_file_is_refused(tmp_path, kind, image, words):
    with pytest.raises(UserError, match=words):
        read_mask(saved(tmp_path, "m.png", image), kind)


def test_ids_of_a_jpeg_are_refused(tmp_path):
    with pytest.raises(UserError, match="JPEG changes them"):
        read_ids(saved(tmp_path, "m.jpg", grey(60 * OBJECT)))


def flat_set(folder, masks):
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number, mask in enumerate(masks):
        Image.new("RGB", (WIDTH, HEIGHT), "teal").save(folder / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return {"images": str(folder / "images"), "masks": str(folder / "masks")}


def test_masks_that_cover_the_frames_border_are_asked_about(tmp_path):
    folders = flat_set(tmp_path, [255 * ~OBJECT, 255 * ~(OBJECT & (ROWS > 9)), 255 * OBJECT])
    with pytest.raises(UserError, match=r"in 2 of 3 masks .* --mask-format inverted .* --mask-format soft"):
        find_usable_photos(PhotoOptions(**folders), labelled=False)
    _, notes = find_usable_photos(PhotoOptions(**folders, mask_format="soft"), labelled=False)
    assert "In 2 of 3 masks" in notes[0]
    assert find_usable_photos(PhotoOptions(**folders, mask_format="inverted"), labelled=False)[1] == []


def test_a_single_object_at_the_border_is_no_doubt(tmp_path):
    folders = flat_set(tmp_path, [255 * ~OBJECT, 255 * OBJECT, 255 * (ROWS > 20)])
    assert find_usable_photos(PhotoOptions(**folders), labelled=False)[1] == []


def test_soft_masks_that_never_reach_one_half_are_named(tmp_path):
    folders = flat_set(tmp_path, [33 * OBJECT, 255 * OBJECT])
    _, notes = find_usable_photos(PhotoOptions(**folders, mask_format="soft"), labelled=False)
    assert len(notes) == 1
    assert "1 of 2 masks looked at never reach one half" in notes[0]
    assert str(Path(folders["masks"]) / "0.png") in notes[0]


def test_evaluate_reads_masks_by_their_colours_and_asks_about_ids(capsys, tmp_path, model_folder):
    images, masks = write_photos(tmp_path, 2)
    command = ["evaluate", "--model", model_folder, "--images", images, "--masks", masks, "--swaps", 0]
    command = [str(word) for word in command]
    drawn = {path: np.asarray(Image.open(path)) > 0 for path in masks.rglob("*.png")}
    assert cli.main(command) == 0
    expected = capsys.readouterr()
    for path, inside in drawn.items():
        palette(~inside, WHITE, BLACK).save(path)
    assert cli.main(command) == 0
    assert capsys.readouterr() == expected
    for path, inside in drawn.items():
        grey(33 * inside).save(path)
    assert cli.main(command) == 2
    assert "class ids or soft values? say so with" in capsys.readouterr().err
    assert cli.main([*command, "--mask-format", "ids"]) == 0
    assert capsys.readouterr() == expected
    assert cli.main([*command, "--mask-format", "soft"]) == 0
    assert "6 of 6 masks looked at never reach one half" in capsys.readouterr().err.replace("\n", " ")


def test_the_page_on_masks_lists_what_is_read():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "mask-files.md").read_text(encoding="utf-8")
    for kind, (holds, inside) in MASK_KINDS.items():
        assert f"| `{kind}` | {holds} | {inside} |" in page
