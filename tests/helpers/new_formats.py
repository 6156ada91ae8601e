"""Photos as DICOM, HEIC and AVIF; a test that writes one is skipped where its library is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

PATIENT = "Verysecret^Name"
PHOTO = np.zeros((32, 48, 3), np.uint8)
PHOTO[:, 24:] = (200, 40, 40)


def write_newer(path: Path, **options) -> Path:
    if path.suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    Image.fromarray(PHOTO).save(path, {".heic": "HEIF", ".avif": "AVIF"}[path.suffix], quality=95, **options)
    return path


def write_dicom(path, values, *, stored=None, **tags):
    """A file of secondary capture; ``tags`` by their names in DICOM."""
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    values = np.asarray(values)
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    found.PatientName, found.PatientID = PATIENT, "4711"
    found.Rows, found.Columns = values.shape[:2]
    found.SamplesPerPixel = 3 if values.ndim == 3 else 1
    found.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    found.BitsAllocated = 8 * values.dtype.itemsize
    found.BitsStored = stored or found.BitsAllocated
    found.HighBit = found.BitsStored - 1
    found.PixelRepresentation = int(values.dtype.kind == "i")
    if values.ndim == 3:
        found.PlanarConfiguration = 0
    for name, value in tags.items():
        setattr(found, name, value)
    found.PixelData = values.tobytes()
    found.save_as(path, enforce_file_format=True)
    return path
