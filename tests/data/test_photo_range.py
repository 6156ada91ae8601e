"""One scale for the photos of a set of more than 8 bits: chosen, said, refused where several are plausible."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from robustvit import UserError
from robustvit.common.photo_options import PixelOptions
from robustvit.common.range_option import Scale
from robustvit.data.find_photos import find_photos
from robustvit.data.image_tags import count_pages
from robustvit.data.photo_scales import read_together, recorded_scale, settle_pixels
from robustvit.data.pixels import ANY, Pixels
from robustvit.data.read_photos import read_photo

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def grey(image):
    return np.asarray(image)[..., 0].astype(int)


def plain_scale(values, low, high):
    """Second implementation, one pixel after another."""
    shares = [min(1.0, max(0.0, (float(value) - low) / (high - low))) for value in np.asarray(values).ravel()]
    return np.array([round(255 * share) for share in shares]).reshape(np.shape(values))


def write_tiff(path, values, kind=1, order="<", bits=None, further=()):
    """A TIFF of one strip, of any type of number: ``kind`` 1 is unsigned, 2 signed, 3 floats."""
    values = np.asarray(values)
    height, width, bands = (*values.shape, 1)[:3]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    depth = bits or 8 * values.dtype.itemsize
    tags = {256: [width], 257: [height], 258: [depth] * bands, 259: [1], 262: [1 if bands < 3 else 2], 277: [bands]}
    tags |= {278: [height], 284: [1], 339: [kind] * bands, 273: [8], 279: [len(data)]} | dict(further)
    place, entries, tail = 8 + len(data), b"", b""
    for tag, found in sorted(tags.items()):
        wide = tag in (256, 257, 273, 278, 279)
        packed = struct.pack(f"{order}{len(found)}{'I' if wide else 'H'}", *found)
        if len(packed) > 4:
            start = place + 2 + 12 * len(tags) + 4 + len(tail)
            tail, packed = tail + packed, struct.pack(f"{order}I", start)
        entries += struct.pack(f"{order}HHI", tag, 4 if wide else 3, len(found)) + packed.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(f"{order}I", place) + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + tail
    path.write_bytes(mark + body)
    return path


def test_saturated_photos_of_a_set_say_their_bits(tmp_path):
    for name, top in (("a", 4095), ("b", 4095), ("c", 900)):
        save(tmp_path / f"{name}.png", (top * RAMP).round().astype(np.uint16))
    notes: list[str] = []
    photos = find_photos(tmp_path, labelled=False, notes=notes)
    assert notes == ["3 photos of more than 8 bits: 0 is black and 4095 white (--range 12)."]
    assert recorded_scale(photo.pixels for photo in photos) == "12"
    seen = {photo.image.stem: grey(read_photo(photo.image, pixels=photo.pixels)) for photo in photos}
    assert np.array_equal(seen["a"], plain_scale((4095 * RAMP).round(), 0, 4095))
    assert np.array_equal(seen["c"], plain_scale((900 * RAMP).round(), 0, 4095)), "the dark one is on the same scale"
    (tmp_path / "b.png").unlink()  # a single photo that reaches 4095 may be a dark one of 16 bits
    for photo in find_photos(tmp_path, labelled=False):
        with pytest.raises(UserError, match=rf"{photo.image.name}: .*say --range 12 or --range 16"):
            read_photo(photo.image, pixels=photo.pixels)


def test_a_photo_that_is_plain_by_itself_waits_for_the_doubt_of_its_set(tmp_path):
    save(tmp_path / "a.tif", (200 * RAMP).astype(np.float32))
    save(tmp_path / "b.tif", (800 * RAMP).astype(np.float32))
    assert grey(read_photo(tmp_path / "a.tif")).max() == 200
    with pytest.raises(UserError, match=r"a\.tif: its pixels are floats up to 800"):
        read_together([tmp_path / "a.tif", tmp_path / "b.tif"])


def test_a_window_cuts_and_bits_refuse_what_is_beyond(tmp_path):
    tomography = (2000 * RAMP - 1000).round().astype(np.int32)
    path = save(tmp_path / "a.tif", tomography)
    options = PixelOptions(range="-160:240")
    assert np.array_equal(grey(read_photo(path, pixels=Pixels.of(options))), plain_scale(tomography, -160, 240))
    with pytest.raises(UserError, match=r"pixels from 0 to 4095, found -1000 to 1000: give another --range"):
        read_photo(path, pixels=Pixels.of(PixelOptions(range=12)))
    with pytest.raises(UserError, match=r"--range=LOW:HIGH or --range percentile"):
        read_photo(path)


def test_percentiles_are_those_of_all_photos_together(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(centre, 300, (32, 32)).round().astype(np.int32) for centre in (0, 2000)]
    paths = [save(tmp_path / f"{number}.tif", array) for number, array in enumerate(arrays)]
    ordered = np.sort(np.concatenate(arrays, axis=None).astype(float))
    places = [(len(ordered) - 1) * share for share in (0.01, 0.99)]  # interpolated between the two nearest
    low, high = ((1 - place % 1) * ordered[int(place)] + place % 1 * ordered[int(place) + 1] for place in places)
    pixels = Pixels.of(PixelOptions(range="percentile"))
    settled = settle_pixels(paths, pixels)
    text = recorded_scale(settled.photos.values())
    assert [float(part) for part in text.split(":")] == pytest.approx([low, high], abs=1e-2)
    for path, array, image in zip(paths, arrays, read_together(paths, pixels), strict=True):
        assert abs(grey(image) - plain_scale(array, low, high)).max() <= 1
        again = read_photo(path, pixels=Pixels.of(PixelOptions(range=text)))
        assert np.array_equal(grey(again), grey(image)), "what is recorded reads the same"
    save(tmp_path / "0.tif", np.full((8, 8), 7, np.int32))
    with pytest.raises(UserError, match="all are 7: give LOW:HIGH"):
        read_photo(tmp_path / "0.tif", pixels=pixels)


@pytest.mark.parametrize("text", ["1", "8", "12", "16", "0:4095", "-160:240", "0.5:1.25"])
def test_a_scale_is_written_as_it_is_read(text):
    assert str(Scale.read(text)) == text


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "kind"), [("u2", 1), ("i2", 2), ("u4", 1), ("i4", 2), ("f4", 3), ("i1", 2)],
)  # fmt: skip
def test_numbers_of_any_type_are_read_or_asked_about(tmp_path, order, dtype, kind):
    values = (100 * RAMP).round().astype(dtype)
    path = write_tiff(tmp_path / "a.tif", values, kind, order)
    if (dtype, order) == ("u4", ">"):
        with pytest.raises(UserError, match="a TIFF of a kind that is not read"):
            read_photo(path)
        return
    seen = grey(read_photo(path, pixels=Pixels.of(PixelOptions(range="0:100"))))
    assert np.array_equal(seen, plain_scale(values, 0, 100))
    if kind == 2:
        write_tiff(path, values - values.dtype.type(50), kind, order)
        with pytest.raises(UserError, match="from 0 upwards, found -50 to 50"):
            read_photo(path)


def test_unsigned_numbers_of_32_bits_do_not_turn_negative(tmp_path):
    values = (4_000_000_000 * RAMP).round().astype("u4")
    path = write_tiff(tmp_path / "a.tif", values)
    seen = grey(read_photo(path, pixels=Pixels.of(PixelOptions(range="0:4000000000"))))
    assert np.array_equal(seen, plain_scale(values, 0, 4e9))
    with pytest.raises(UserError, match=r"up to 4e\+09, .*say --range LOW:HIGH"):
        read_photo(path)


@pytest.mark.parametrize(("dtype", "kind"), [("f2", 3), ("f8", 3), ("u8", 1)])
def test_other_tiffs_are_refused_by_name(tmp_path, dtype, kind):
    with pytest.raises(UserError, match=r"a\.tif: it is a TIFF of a kind that is not read, .*save it as PNG"):
        read_photo(write_tiff(tmp_path / "a.tif", RAMP.astype(dtype), kind))


@pytest.mark.parametrize(("bands", "meaning"), [(4, [0]), (5, [0, 0])])
def test_bands_that_would_be_dropped_are_asked_about(tmp_path, bands, meaning):
    values = np.dstack([(255 * RAMP).round().astype(np.uint8)] * bands)
    path = write_tiff(tmp_path / "a.tif", values, further={338: meaning}.items())
    with pytest.raises(UserError, match=rf"a\.tif: it has {bands} bands, .*--alpha ignore"):
        read_photo(path)
    assert np.array_equal(grey(read_photo(path, pixels=Pixels(alpha="ignore"))), values[..., 0])
    assert grey(read_photo(path, pixels=ANY)).max() == 255, "pictures that are only shown need no answer"


def test_a_range_for_sixteen_bit_colours_of_a_tiff_is_refused_where_half_is_lost(tmp_path):
    values = np.dstack([(4095 * RAMP).round().astype("u2")] * 3)
    path = write_tiff(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=r"only the upper 8 bits can be read here, .*as a PNG of 16 bits"):
        read_photo(path, pixels=Pixels.of(PixelOptions(range=12)))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_files_of_several_pictures_are_counted_and_named(tmp_path, kind):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    ending = {"TIFF": "tif"}.get(kind, kind.lower())
    for name in ("a", "b"):
        first.save(tmp_path / f"{name}.{ending}", kind, save_all=True, append_images=[second])
    first.save(tmp_path / f"c.{ending}", kind)
    notes: list[str] = []
    assert len(find_photos(tmp_path, labelled=False, notes=notes)) == 3
    assert notes == [
        f"2 photos hold several pictures (a.{ending}: 2, b.{ending}: 2): the first of each is read; save the others as "
        "files of their own to use them."
    ]


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}])
def test_pages_are_counted_without_reading_their_tags(tmp_path, options):
    first = Image.new("L", (8, 8))
    path = tmp_path / "a.tif"
    first.save(path, save_all=True, append_images=[first] * 3, **options)
    assert count_pages(path) == 4
    if not options:  # the last page leads back to the first
        whole = bytearray(path.read_bytes())
        place = int.from_bytes(whole[4:8], "little")
        while place:
            following = place + 2 + 12 * int.from_bytes(whole[place : place + 2], "little")
            place = int.from_bytes(whole[following : following + 4], "little")
        whole[following : following + 4] = whole[4:8]
        path.write_bytes(whole)
        assert count_pages(path) == 4
    path.write_bytes(path.read_bytes()[:9])
    assert count_pages(path) == 1
