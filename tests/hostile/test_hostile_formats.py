"""DICOM, HEIC and AVIF that are made to harm or hold names; a test for each row of docs/reference/hostile-files.md."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from helpers.new_formats import PATIENT, write_newer
from helpers.new_formats import write_dicom as write
from robustvit import UserError
from robustvit.data.read_photos import read_photo

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.fixture
def pydicom():
    return pytest.importorskip("pydicom")


def test_photo_dicom_larger_than_it_says(pydicom, tmp_path):
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    path = write(tmp_path / "a.dcm", (255 * RAMP).astype(np.uint8))
    found = pydicom.dcmread(path)
    for side, fits in ((8, True), (3000, False)):
        Image.new("L", (side, side), 77).save(tmp_path / "a.jpg", quality=100)
        found.PixelData = encapsulate([(tmp_path / "a.jpg").read_bytes()])
        found["PixelData"].is_undefined_length = True
        found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        found.save_as(path)
        if fits:
            assert abs(np.asarray(read_photo(path)).astype(int) - 77).max() <= 1
        else:
            with pytest.raises(UserError, match=r"not compressed as JPEG Baseline .* of the size that it says"):
                read_photo(path)


def test_photo_dicom_deflated(pydicom, tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    path = write(tmp_path / "a.dcm", (255 * RAMP).astype(np.uint8))
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    found.save_as(path)
    with pytest.raises(UserError, match="it is deflated as a whole"):
        read_photo(path)


def test_photo_dicom_names_no_patient(pydicom, tmp_path, capsys, caplog, recwarn):
    values = (4095 * RAMP).astype(np.uint16)
    whole = write(tmp_path / "a.dcm", values, stored=12, PatientBirthDate="19700101").read_bytes()
    messages = []
    for size in range(0, len(whole), 7):
        (tmp_path / "b.dcm").write_bytes(whole[:size])
        with pytest.raises(UserError) as caught:
            read_photo(tmp_path / "b.dcm")
        messages.append(f"{caught.value} {caught.value.__cause__}")
    broken = whole.replace(b"19700101", b"Verysecr")
    (tmp_path / "b.dcm").write_bytes(broken)
    read_photo(tmp_path / "b.dcm")
    said = " ".join([*messages, *capsys.readouterr(), caplog.text, *(str(one.message) for one in recwarn)])
    assert PATIENT[:8] not in said
    assert "4711" not in said
    assert read_photo(tmp_path / "a.dcm").info == {}


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_photo_newer_tags_that_share_their_bytes(tmp_path, kind):
    entries = 4000
    block = b"II*\0" + struct.pack("<IH", 8, entries)
    block += b"".join(struct.pack("<HHII", 0x9286, 7, 20_000, 0) for _ in range(entries)) + bytes(4)
    path = write_newer(tmp_path / f"a.{kind}", exif=b"Exif\0\0" + block)
    with pytest.raises(UserError, match=r"its EXIF data or tags claim 80,000,000 bytes"):
        read_photo(path)
