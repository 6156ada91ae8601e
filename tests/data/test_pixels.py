"""Pixels that are not plain colours: one scale for a set, and a question where several readings are plausible."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from robustvit import UserError
from robustvit.common.photo_options import PhotoOptions
from robustvit.common.range_option import Scale
from robustvit.data.datasets import read_pair
from robustvit.data.find_photos import find_photos
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.photo_scales import read_together
from robustvit.data.pixels import ANY, Pixels
from robustvit.data.placed_photos import place_folder
from robustvit.data.read_photos import read_photo

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def ints(top):
    return (top * RAMP).round().astype(np.uint16)


def grey(image):
    return np.asarray(image)[..., 0]


EIGHT = (255 * RAMP).round()


@pytest.mark.parametrize(("top", "bits"), [(4095, 12), (1023, 10), (16383, 14), (255, 8)])
def test_fewer_bits_in_sixteen_are_asked_about_and_read_as_said(tmp_path, top, bits):
    path = save(tmp_path / "a.png", ints(top))
    with pytest.raises(UserError, match=rf"a\.png: .*up to {top}, .*--range {bits} or --range 16"):
        read_photo(path)
    assert abs(grey(read_photo(path, pixels=Pixels.of(PhotoOptions(range=bits)))) - EIGHT).max() <= 1
    assert grey(read_photo(path, pixels=Pixels(Scale.of_bits(16)))).max() == round(255 * top / 65535)
    if bits > 8:
        with pytest.raises(UserError, match="give another --range"):
            read_photo(path, pixels=Pixels(Scale.of_bits(8)))


def test_one_scale_for_all_photos_of_a_set(tmp_path):
    save(tmp_path / "photos" / "a" / "dark.png", ints(176))
    save(tmp_path / "photos" / "b" / "dim.tif", ints(3000))
    save(tmp_path / "photos" / "b" / "plain.png", EIGHT.astype(np.uint8))
    with pytest.raises(UserError, match=r"dark\.png: its pixels"):
        read_pair(find_photos(tmp_path / "photos")[0])
    save(tmp_path / "photos" / "b" / "bright.png", ints(60000))
    for photo in find_photos(tmp_path / "photos"):
        if photo.image.name != "plain.png":
            stored = np.asarray(Image.open(photo.image), dtype=float)
            assert abs(grey(read_pair(photo)[0]) - stored * 255 / 65535).max() <= 0.5
    placed, _ = place_folder(tmp_path / "photos")
    sixteen = Scale.of_bits(16)
    assert {one.image.name: one.pixels.scale for one in placed} == {
        "dark.png": sixteen, "dim.tif": sixteen, "bright.png": sixteen, "plain.png": None
    }  # fmt: skip


def test_options_of_commands_reach_the_photos(tmp_path):
    save(tmp_path / "a" / "0.png", ints(4095))
    save(tmp_path / "b" / "0.png", np.dstack([EIGHT] * 3 + [0 * EIGHT]).astype(np.uint8))
    photos, _ = find_usable_photos(PhotoOptions(images=str(tmp_path), range=12, alpha="ignore"))
    assert [abs(grey(read_pair(photo)[0]) - EIGHT).max() <= 1 for photo in photos] == [True, True]
    for wrong in (32, 2, "0:", "a:b", "5:5", "9:1", "0:nan", "full"):
        with pytest.raises(UserError, match=r"--range as auto, percentile, 1 .*got"):
            PhotoOptions(range=wrong)


def test_photos_named_one_by_one_are_a_set(tmp_path):
    paths = [save(tmp_path / "dark.png", ints(176)), save(tmp_path / "bright.png", ints(60000))]
    assert [grey(image).max() for image in read_together(paths)] == [1, 233]
    with pytest.raises(UserError, match="the number that is white is not plain"):
        read_together(paths[:1])


@pytest.mark.parametrize(
    "array",
    [(2000 * RAMP - 1000).astype(np.int32), (4 * RAMP - 2).astype(np.float32)],
    ids=["tomography", "standardised"],
)
def test_numbers_below_zero_are_refused(tmp_path, array):
    path = save(tmp_path / "a.tif", array)
    with pytest.raises(UserError, match=r"expected pixels from 0 upwards, found -.*scale it to 8 bits yourself"):
        read_photo(path)
    assert grey(read_photo(path, pixels=ANY)).min() == 0, "pictures that are only shown need no answer"


@pytest.mark.parametrize(("top", "read"), [(1.0, True), (255.0, True), (60000.0, True), (3.2, False), (0.01, False)])
def test_floats_on_a_plain_scale_are_read(tmp_path, top, read):
    path = save(tmp_path / "a.tif", (top * RAMP).astype(np.float32))
    if read:
        scale = 65535 if top > 255 else top
        assert abs(grey(read_photo(path)) - 255 * top / scale * RAMP).max() <= 0.51
    else:
        with pytest.raises(UserError, match="pixels are floats up to"):
            read_photo(path)


def deep_colours(path, top, kind=2):
    """A PNG of 16 bits, which Pillow does not write: colours (2), or grey (4) and colours (6) with transparency."""
    colours, bands = ints(top), {2: 3, 4: 2, 6: 4}[kind]
    values = np.dstack([colours] * bands)
    if kind > 2:
        values[..., -1] = 65535
    data = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    header = struct.pack(">IIBBBBB", 8, 8, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text)) for kind, text in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_colours_of_sixteen_bits_are_read_with_all_of_them(tmp_path, kind):
    assert abs(grey(read_photo(deep_colours(tmp_path / "bright.png", 65535, kind))) - EIGHT).max() <= 1
    dark = deep_colours(tmp_path / "dark.png", 4095, kind)
    with pytest.raises(UserError, match="up to 4095, and the number that is white is not plain: say --range 12"):
        read_photo(dark)
    assert abs(grey(read_photo(dark, pixels=Pixels(Scale.of_bits(12)))) - EIGHT).max() <= 1
    assert grey(read_photo(dark, pixels=Pixels(Scale.of_bits(16)))).max() == 16
    assert [str(photo.pixels.scale) for photo in find_photos(tmp_path, labelled=False)] == ["16", "16"]


def test_netpbm_states_its_scale(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 4095\n" + ints(4095).astype(">u2").tobytes())
    assert abs(grey(read_photo(tmp_path / "a.pgm")) - EIGHT).max() <= 1


def with_alpha(alpha):
    return np.dstack([EIGHT] * 3 + [alpha]).astype(np.uint8)


@pytest.mark.parametrize(
    ("alpha", "suffix"),
    [(np.zeros((8, 8)), "png"), (np.full((8, 8), 7), "tif"), (40 + 150 * RAMP, "tif"), (np.zeros((8, 8)), "webp")],
    ids=["transparent", "constant", "near-infrared", "webp"],
)
def test_a_fourth_band_that_is_hardly_transparency_is_asked_about(tmp_path, alpha, suffix):
    path = save(
        tmp_path / f"a.{suffix}", with_alpha(alpha), **({"lossless": True, "exact": True} if suffix == "webp" else {})
    )
    with pytest.raises(UserError, match=r"Say --alpha white .* or --alpha ignore"):
        read_photo(path)
    assert np.array_equal(grey(read_photo(path, pixels=Pixels(alpha="ignore"))), EIGHT)
    assert grey(read_photo(path, pixels=Pixels(alpha="white"))).min() > 50


def test_cut_out_objects_stand_on_white_unless_said_otherwise(tmp_path):
    alpha = np.where(RAMP > 0.5, 255, 0)
    alpha[3, 6:] = 128  # a soft edge
    path = save(tmp_path / "a.png", with_alpha(alpha))
    assert grey(read_photo(path))[0].tolist() == [255] * 8
    assert np.array_equal(grey(read_photo(path, pixels=Pixels(alpha="ignore"))), EIGHT)
    opaque = save(tmp_path / "b.png", with_alpha(np.full((8, 8), 255)))
    assert np.array_equal(grey(read_photo(opaque)), EIGHT)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16B", "LAB"])
def test_every_mode_is_read(tmp_path, mode):
    path, colour = tmp_path / "a.tif", Image.fromarray(EIGHT.astype(np.uint8))
    if mode == "I;16B":
        Image.fromarray(ints(65535).astype(">u2")).save(path)
    elif mode == "PA":
        path = tmp_path / "a.png"
        colour.quantize(64).save(path, transparency=0)
    elif mode == "LAB":
        Image.new("LAB", (8, 8), (200, 10, 10)).save(path)
    else:
        (colour.convert("RGB") if mode == "CMYK" else colour).convert(mode).save(path)
    seen = read_photo(path, pixels=Pixels(alpha="ignore"))
    assert seen.mode == "RGB"
    if mode not in ("1", "LAB"):
        assert abs(grey(seen) - EIGHT).max() <= 4


def test_a_cmyk_jpeg_looks_as_it_should(tmp_path):
    Image.fromarray(EIGHT.astype(np.uint8)).convert("RGB").convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert abs(grey(read_photo(tmp_path / "a.jpg")) - EIGHT).max() <= 6
