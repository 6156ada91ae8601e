"""Photos and masks that are broken or made to harm; a test for each row of docs/reference/hostile-files.md."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tempfile
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.hostile import chunk, png, refusal, said, swapped_photo
from robustvit.common.errors import UserError
from robustvit.data.datasets import read_pair
from robustvit.data.mask_files import check_mask, read_mask
from robustvit.data.photo import Photo
from robustvit.data.read_photos import IMAGE_FORMATS, MAX_PIXELS, open_image, read_photo


def npy(shape: str, data: bytes = b"\0" * 16) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (11 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


def saved(path, values, **options):
    np.save(path, values, **options)
    return path


def test_photo_missing(tmp_path):
    assert "found none" in refusal(lambda: read_photo(tmp_path / "a.png"))


def test_photo_empty(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert "not an image" in refusal(lambda: read_photo(tmp_path / "a.png"))


def test_photo_cut_off(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:600])
    assert "broken or cut off" in refusal(lambda: read_photo(tmp_path / "a.jpg"))


def test_photo_text(tmp_path):
    (tmp_path / "a.jpg").write_text("<svg onload='alert(1)'/>")
    assert "not an image" in refusal(lambda: read_photo(tmp_path / "a.jpg"))


def test_photo_is_a_folder(tmp_path):
    (tmp_path / "a.png").mkdir()
    assert "found a folder or device" in refusal(lambda: read_photo(tmp_path / "a.png"))


def test_photo_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert "found a folder or device" in refusal(lambda: read_photo(tmp_path / "a.png"))


def test_photo_postscript(tmp_path):
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    (tmp_path / "a.png").write_bytes(text)
    assert "not an image" in refusal(lambda: read_photo(tmp_path / "a.png"))
    assert "EPS" not in IMAGE_FORMATS


def test_photo_30000_squared(tmp_path):
    path = png(tmp_path / "a.png", 30_000, 30_000)
    assert path.stat().st_size < 1000
    assert "refused to decode" in refusal(lambda: read_photo(path))


def test_photo_over_the_limit(tmp_path):
    height = MAX_PIXELS // 2 // 10_000 + 1  # half as many where pixels take more bytes than in a JPEG
    path = png(tmp_path / "a.png", 10_000, height, pixels=b"\0" * 1000)
    tracemalloc.start()
    words = refusal(lambda: read_photo(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "60,000,000" in words
    assert peak < 10_000_000
    grey = Image.new("L", (12_000, 6_000))  # a mask of a photo of 72 megapixels
    grey.save(tmp_path / "grey.png", compress_level=1)
    assert open_image(tmp_path / "grey.png").size == grey.size


def tags(size: int, entries: int, turn: int = 1) -> bytes:
    """EXIF data whose tags all claim the same bytes, as many as there are."""
    rows = [(0x112, 3, 1, turn), *((0x8000 + number, 7, size - 100, 0) for number in range(entries))]
    body = b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows)
    return body + b"\0" * (size - len(body))


def with_tags(path: Path, exif: bytes) -> Path:
    """An image of 8 x 4 pixels with EXIF data of any length, in as many parts as a JPEG needs."""
    stream = io.BytesIO()
    if path.suffix == ".jpg":
        Image.new("RGB", (8, 4), "red").save(stream, "JPEG")
        raw = stream.getvalue()
        parts = [b"Exif\0\0" + exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
        middle = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
        path.write_bytes(raw[:2] + middle + raw[20:])  # without the JFIF block, Pillow looks for the density in EXIF
    elif path.suffix == ".png":
        Image.new("RGB", (8, 4), "red").save(stream, "PNG")
        path.write_bytes(stream.getvalue()[:33] + chunk(b"eXIf", exif) + stream.getvalue()[33:])
    else:
        Image.new("RGB", (8, 4), "red").save(path, exif=b"Exif\0\0" + exif)
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_photo_tags_that_share_their_bytes(tmp_path, ending):
    path = with_tags(tmp_path / f"a.{ending}", tags(600_000, 400))
    start = time.monotonic()
    assert "EXIF data or tags claim" in refusal(lambda: read_photo(path))
    huge = with_tags(tmp_path / f"b.{ending}", tags(25_000_000, 1))
    assert "EXIF data or tags claim" in refusal(lambda: read_photo(huge))
    assert time.monotonic() - start < 20
    plain = with_tags(tmp_path / f"c.{ending}", tags(60_000, 3, turn=6))
    assert read_photo(plain).size == (4, 8), "turned, as its tag says"


def test_photo_tiff_tags_that_share_their_bytes(tmp_path):
    (tmp_path / "a.tif").write_bytes(tags(2_000_000, 400))
    assert "EXIF data or tags claim" in refusal(lambda: read_photo(tmp_path / "a.tif"))
    Image.new("RGB", (8, 4), "red").save(tmp_path / "b.tif", tiffinfo={37724: b"layers" * 3_000_000})
    assert read_photo(tmp_path / "b.tif").size == (8, 4), "layers of an editor may be large"


def test_photo_30000_squared_by_command(tmp_path, photos, model_folder, capsys):
    png(swapped_photo(photos, tmp_path), 30_000, 30_000)
    words = ["--images", tmp_path / "images", "--masks", tmp_path / "masks", "--out", tmp_path / "r"]
    assert "refused to decode" in said(capsys, "finetune", "--model", model_folder, *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1)])
def test_photo_1_by_50000(tmp_path, photos, model_folder, capsys, size):
    path = swapped_photo(photos, tmp_path)
    Image.new("RGB", size).save(path)
    words = said(capsys, "explain", "--model", model_folder, path, "--out", tmp_path / "x")
    assert "100 times the other" in words
    assert not (tmp_path / "x").exists()


def test_photo_text_chunk_bomb(tmp_path):
    bomb = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * 50_000_000, 9))
    path = png(tmp_path / "a.png", 4, 4, bomb, pixels=b"\0" * 52)
    assert "broken or cut off" in refusal(lambda: read_photo(path))


def test_photo_broken_exif(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 20)
    assert read_photo(tmp_path / "a.jpg").size == (8, 8)


def test_photo_unknown_turn(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 99
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg").size == (8, 4)


def test_photo_of_nan(tmp_path):
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "a.tif")
    assert "NaN or infinite" in refusal(lambda: read_photo(tmp_path / "a.tif"))


def test_photo_of_floats_from_0_to_1(tmp_path):
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    Image.fromarray(values).save(tmp_path / "a.tif")
    grey = np.asarray(read_photo(tmp_path / "a.tif"))[..., 0]
    assert grey.tolist() == (255 * values.astype(np.float64)).round().astype(int).tolist()


def test_photo_without_permission():
    """As a user without rights, which a test that runs as root has to become."""
    Image.init()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.png"
        Image.new("RGB", (8, 8)).save(path)
        path.chmod(0)
        Path(place).chmod(0o755)
        if root := os.geteuid() == 0:
            os.seteuid(65534)
        try:
            assert "no permission" in refusal(lambda: read_photo(path))
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "MPO"])
def test_photo_of_several_pictures(tmp_path, kind):
    first, second = Image.new("RGB", (32, 24), (200, 30, 30)), Image.new("RGB", (32, 24), (30, 30, 200))
    options = {"quality": 100} if kind in ("WEBP", "MPO") else {}
    first.save(tmp_path / "a.png", kind, save_all=True, append_images=[second], **options)
    seen = np.asarray(read_photo(tmp_path / "a.png")).astype(int)
    assert seen.shape == (24, 32, 3)
    assert abs(seen - (200, 30, 30)).max() < 10


@pytest.mark.parametrize("kind", ["AVIF", "ICO", "PCX", "TGA", "PDF", "HEIC"])
def test_photo_of_another_format(tmp_path, kind):
    path = tmp_path / "a.png"
    if kind == "HEIC":
        path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    else:
        try:
            Image.new("RGB", (32, 32)).save(path, kind)
        except (KeyError, OSError):
            pytest.skip(f"this Pillow writes no {kind}")
    assert "not an image" in refusal(lambda: read_photo(path))


def test_photo_with_bytes_after_its_end(tmp_path):
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("ab") as file:
        file.write(b"PK\3\4<script>" * 1000)
    assert np.asarray(read_photo(tmp_path / "a.png")).reshape(-1, 3).tolist() == [[0, 128, 128]] * 64


def test_photo_bytes_changed_at_random(tmp_path):
    rng = np.random.default_rng(0)
    for suffix, options in (("png", {}), ("jpg", {}), ("gif", {}), ("webp", {}), ("tif", {"compression": "tiff_lzw"})):
        stream = io.BytesIO()
        Image.effect_noise((24, 24), 50).save(stream, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix), **options)
        for _ in range(60):
            broken = bytearray(stream.getvalue())
            for at in rng.integers(0, len(broken), 6):
                broken[at] = rng.integers(256)
            path = tmp_path / f"a.{suffix}"
            path.write_bytes(broken)
            with contextlib.suppress(UserError):  # any other error fails the test
                read_photo(path)


def test_mask_pickled(tmp_path):
    path = saved(tmp_path / "m.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    assert "not a plain NumPy array" in refusal(lambda: read_mask(path))


@pytest.mark.parametrize("kind", ["complex128", "<U3", "M8[s]", [("a", "u1")]])
def test_mask_of_wrong_type(tmp_path, kind):
    path = saved(tmp_path / "m.npy", np.zeros((4, 4), dtype=kind))
    assert "expected a mask of shape" in refusal(lambda: read_mask(path))


@pytest.mark.parametrize("kind", ["bool", "int8", ">u2", "uint16", "int64", "float16", "float64", "longdouble"])
def test_mask_of_odd_number_types(tmp_path, kind):
    drawn = np.zeros((6, 5))
    drawn[1:3, 1:4] = 1
    most = 65535 if "2" in kind or kind == "uint16" else 1
    for name, order in (("c", "C"), ("f", "F")):
        mask = read_mask(saved(tmp_path / f"{name}.npy", np.asarray(most * drawn, dtype=kind, order=order)))
        assert mask.tolist() == drawn.tolist()
        assert mask.dtype == np.float32


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_mask_of_nan_infinity_or_negative(tmp_path, value):
    assert "expected mask values" in refusal(lambda: read_mask(saved(tmp_path / "m.npy", np.full((4, 4), value))))


def test_mask_of_large_integers(tmp_path):
    path = saved(tmp_path / "m.npy", np.full((2, 2), 2**40))
    assert "8 or 16 bits" in refusal(lambda: read_mask(path))


def test_mask_of_large_floats(tmp_path):
    path = saved(tmp_path / "m.npy", np.full((2, 2), 1e300))
    assert "divide by the largest" in refusal(lambda: read_mask(path))


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4, 4), (2, 4, 4)])
def test_mask_of_wrong_shape(tmp_path, shape):
    path = saved(tmp_path / "m.npy", np.zeros(shape))
    assert "expected a mask of shape" in refusal(lambda: read_mask(path))


@pytest.mark.parametrize("shape", ["(1000000, 10000000)", "(-1, 4)", "(99999999999999999999, 1)", "(4,", "open('x')"])
def test_mask_with_a_lying_header(tmp_path, shape):
    (tmp_path / "m.npy").write_bytes(npy(shape))
    assert "not a plain NumPy array" in refusal(lambda: read_mask(tmp_path / "m.npy"))


def test_mask_zip_named_npy(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", a=np.zeros(10_000_000, np.uint8))
    (tmp_path / "m.npz").rename(tmp_path / "m.npy")
    assert "not a plain NumPy array" in refusal(lambda: read_mask(tmp_path / "m.npy"))


def test_mask_over_the_limit(tmp_path):
    with (tmp_path / "m.npy").open("wb") as file:  # a file with a hole, it takes no room
        file.write(npy(f"(10000, {MAX_PIXELS // 10_000 + 1})", b""))
        file.truncate(MAX_PIXELS + 20_000)
    assert "refused to read mask" in refusal(lambda: read_mask(tmp_path / "m.npy"))


def test_mask_empty(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert "empty mask" in refusal(lambda: check_mask(mask, tmp_path / "m.png"))


def test_mask_full(tmp_path):
    Image.new("L", (8, 8), 255).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert "covers the whole frame" in refusal(lambda: check_mask(mask, tmp_path / "m.png"))


def test_mask_of_other_size(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    half = np.zeros((4, 4), np.uint8)
    half[:2] = 255
    Image.fromarray(half).save(tmp_path / "m.png")
    photo = Photo(tmp_path / "a.png", tmp_path / "m.png")
    assert "make them the same size" in refusal(lambda: read_pair(photo))


def test_mask_of_unclear_colours(tmp_path):
    Image.effect_noise((8, 8), 90).convert("RGB").save(tmp_path / "n.png")
    colours = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "m.png")
    assert "cannot tell what the colours" in refusal(lambda: read_mask(tmp_path / "m.png"))


def test_mask_of_unclear_greys(tmp_path):
    Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8)).save(tmp_path / "m.png")
    assert "--mask-format" in refusal(lambda: read_mask(tmp_path / "m.png"))


def test_mask_30000_squared(tmp_path):
    path = png(tmp_path / "m.png", 30_000, 30_000)
    assert "refused to decode" in refusal(lambda: open_image(path))
    assert "refused to decode" in refusal(lambda: read_mask(path))
