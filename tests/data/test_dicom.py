"""DICOM: rescaled, windowed and inverted as the file says, refused by name, and silent about the patient."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from helpers.new_formats import write_dicom as write
from robustvit import UserError
from robustvit.common.photo_options import PixelOptions
from robustvit.data.find_photos import find_photos
from robustvit.data.pixels import ANY, Pixels
from robustvit.data.read_photos import read_photo

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.fixture
def pydicom():
    return pytest.importorskip("pydicom")


def grey(path, **options):
    return np.asarray(read_photo(path, pixels=Pixels.of(PixelOptions(**options))))[..., 0].astype(int)


def plain_window(values, centre, width):
    """Second implementation: the pseudocode of PS3.3 C.11.2.1.2.1, one number after another."""
    found = []
    for value in np.asarray(values, dtype=float).ravel():
        if value <= centre - 0.5 - (width - 1) / 2:
            found.append(0.0)
        elif value > centre - 0.5 + (width - 1) / 2:
            found.append(255.0)
        else:
            found.append(((value - (centre - 0.5)) / (width - 1) + 0.5) * 255)
    return np.array(found).reshape(np.shape(values))


def test_numbers_are_rescaled_and_windowed(pydicom, tmp_path):
    stored = (2000 * RAMP).round().astype(np.int16)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": [40, 400], "WindowWidth": [400, 2000]}
    path = write(tmp_path / "a.dcm", stored, **tags)
    assert abs(grey(path) - plain_window(2.0 * stored - 1024, 40, 400)).max() <= 0.5, "the first window"
    lung = grey(path, range="-1350:150")
    assert abs(lung - 255 * ((2.0 * stored - 1024 + 1350) / 1500).clip(0, 1)).max() <= 0.5
    inverted = write(tmp_path / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.array_equal(grey(inverted), 255 - grey(path)) or abs(grey(inverted) + grey(path) - 255).max() <= 1
    assert np.array_equal(np.asarray(read_photo(path, pixels=ANY))[..., 0], grey(path)), "and where it is only shown"


@pytest.mark.parametrize("kind", ["LINEAR_EXACT", "SIGMOID", "table"])
def test_other_windows_are_followed(pydicom, tmp_path, kind):
    stored = (255 * RAMP).round().astype(np.uint16)
    tags = {"WindowCenter": 128, "WindowWidth": 100, "VOILUTFunction": kind}
    if kind == "table":
        table = pydicom.Dataset()
        table.LUTDescriptor, table.LUTData = [256, 0, 8], np.arange(255, -1, -1).astype("<u2").tobytes()
        tags = {"VOILUTSequence": [table]}
    wanted = {
        "LINEAR_EXACT": 255 * ((stored - 128.0) / 100 + 0.5).clip(0, 1),
        "SIGMOID": 255 / (1 + np.exp(-4 * (stored - 128.0) / 100)),
        "table": 255.0 - stored,
    }[kind]
    assert abs(grey(write(tmp_path / "a.dcm", stored, stored=12, **tags)) - wanted).max() <= 0.5


def test_bits_that_the_file_states_are_taken_and_others_asked_about(pydicom, tmp_path):
    stored = (3000 * RAMP).round().astype(np.uint16)
    path = write(tmp_path / "a.dcm", stored, stored=12)
    assert abs(grey(path) - stored * (255 / 4095)).max() <= 0.5
    notes: list[str] = []
    find_photos(tmp_path, labelled=False, notes=notes)
    assert notes == [
        "1 photo states which numbers are black and white (12); --range LOW:HIGH overrides that, on one scale for all."
    ]
    with pytest.raises(UserError, match=r"a\.dcm: .*up to 3000, .*say --range 12 or --range 16"):
        read_photo(write(path, stored))
    with pytest.raises(UserError, match=r"a\.dcm: .*from 0 upwards, found -1024 to 1976: .*--range=LOW:HIGH"):
        read_photo(write(path, stored, stored=12, RescaleSlope=1, RescaleIntercept=-1024))


def test_colours_and_palettes_are_read(pydicom, tmp_path):
    colours = np.dstack([255 * RAMP, 255 - 255 * RAMP, 0 * RAMP]).round().astype(np.uint8)
    assert np.array_equal(np.asarray(read_photo(write(tmp_path / "a.dcm", colours))), colours)
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for at, name in enumerate(("Red", "Green", "Blue")):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = (np.arange(256) * 257 * (at == 1)).astype("<u2").tobytes()
    seen = np.asarray(read_photo(write(tmp_path / "b.dcm", colours[..., 0], **tags)))
    assert np.array_equal(seen[..., 1], colours[..., 0])
    assert seen[..., [0, 2]].max() == 0


def test_compressed_pictures_are_read(pydicom, tmp_path):
    from pydicom.uid import RLELossless

    stored = (4095 * RAMP).round().astype(np.uint16)
    path = write(tmp_path / "a.dcm", stored, stored=12)
    before = grey(path)
    found = pydicom.dcmread(path)
    found.compress(RLELossless)
    found.save_as(path)
    assert np.array_equal(grey(path), before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"NumberOfFrames": 3}, "it holds 3 frames; save those to use as files of their own"),
        ({"Rows": 60_000, "Columns": 60_000}, "refused to decode .*60,000 x 60,000 pixels are more than"),
        ({"PixelData": None}, "it is DICOM without a picture"),
    ],
)
def test_what_is_no_single_picture_is_refused(pydicom, tmp_path, change, said):
    path = write(tmp_path / "a.dcm", (255 * RAMP).astype(np.uint8))
    found = pydicom.dcmread(path)
    for name, value in change.items():
        delattr(found, name) if value is None else setattr(found, name, value)
    found.save_as(path)
    with pytest.raises(UserError, match=said):
        read_photo(path)


def test_a_file_without_its_ending_is_named_with_it(tmp_path):
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(99))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    notes: list[str] = []
    find_photos(tmp_path, labelled=False, notes=notes)
    assert notes[0].endswith("1 left out: 1 without an ending that are photos, to be renamed to .dcm (IM0001).")
    (tmp_path / "IM0001").rename(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b\.png: it is not an image of a kind that \.png stands for, but DCM"):
        read_photo(tmp_path / "b.png")


@pytest.mark.parametrize(("ending", "module", "extra"), [("dcm", "pydicom", "dicom"), ("heic", "pillow_heif", "heic")])
def test_without_its_library_the_extra_is_named(tmp_path, monkeypatch, ending, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(bytes(200))
    with pytest.raises(UserError, match=rf"needs {module}, which is not installed: pip install 'robustvit\[{extra}\]'"):
        read_photo(path)
