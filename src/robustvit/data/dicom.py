"""Reading DICOM with pydicom: rescaled, windowed and inverted as the file says (PS3.3, C.11 and C.7.6.3).

Only the pixels and their meaning are used, and no text of pydicom is shown: it may quote a patient.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.common.range_option import Scale
from robustvit.data.deep_pixels import Numbers

if TYPE_CHECKING:
    from pydicom import FileDataset

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
CONVERT = ", or convert the photo to PNG"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # markers of JPEG among those that start a frame


def read_dicom(path: str | Path, most_pixels: int) -> Numbers:
    """Read the picture of a DICOM file of at most ``most_pixels``."""
    with _quiet_library(path) as library:
        return _as_numbers(_open(library, path, most_pixels), path)


def check_dicom(path: str | Path, most_pixels: int) -> None:
    """Refuse a DICOM file as ``read_dicom`` does, before anything is decoded."""
    with _quiet_library(path) as library:
        _open(library, path, most_pixels)


@contextmanager
def _quiet_library(path: str | Path) -> Iterator[ModuleType]:
    """Give pydicom to a block that reads a file; its errors become one line, without its text."""
    if not Path(path).is_file():  # reading a pipe would block forever
        raise UserError(f"expected a DICOM file at {path}, found none: check the path")
    library = import_extra("pydicom", "dicom", f"reading {path}", CONVERT)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield library
    except (UserError, MemoryError):
        raise
    except PermissionError as error:
        raise UserError(f"cannot read {path}: no permission; change its rights, or move it elsewhere") from error
    except Exception as error:  # a broken file can raise any error, and its text may hold names
        raise UserError(
            f"cannot read {path}: it is not DICOM, broken or cut off, or compressed in a way that is not read here "
            f"({type(error).__name__}); replace it or save it uncompressed"
        ) from None
    finally:
        logging.disable(disabled)


def _open(library: ModuleType, path: str | Path, most_pixels: int) -> FileDataset:
    """Open a file; refuse any that is not a single picture of an allowed size, before anything is decoded."""
    from pydicom.pixels import get_decoder

    syntax = library.filereader.read_file_meta_info(path).TransferSyntaxUID
    if syntax == _DEFLATED:  # it would be unpacked whole, to any size
        raise UserError(f"cannot read {path}: it is deflated as a whole; save it as Explicit VR Little Endian")
    found = library.dcmread(path)
    if "PixelData" not in found:
        raise UserError(f"cannot read {path}: it is DICOM without a picture; move it elsewhere")
    if (frames := int(found.get("NumberOfFrames") or 1)) > 1:
        raise UserError(f"cannot read {path}: it holds {frames} frames; save those to use as files of their own")
    width, height = int(found.Columns), int(found.Rows)
    if width * height > most_pixels:
        raise UserError(
            f"refused to decode {path}: {width:,} x {height:,} pixels are more than the {most_pixels:,} that are read; "
            "make it smaller"
        )
    if syntax.is_compressed:
        if not get_decoder(syntax).is_available:
            raise UserError(
                f"cannot read {path}: it is compressed as {syntax.name}: pip install pylibjpeg pylibjpeg-libjpeg "
                "pylibjpeg-openjpeg, or save it uncompressed"
            )
        frame = library.encaps.get_frame(found.PixelData, 0, number_of_frames=1)
        if "RLE" not in syntax.name and _size_in_stream(frame) != (width, height):
            raise UserError(
                f"cannot read {path}: its picture is not compressed as {syntax.name} of the size that it says; save it "
                "uncompressed"
            )
    return found


def _size_in_stream(frame: bytes) -> tuple[int, int]:
    """Return the width and height that JPEG, JPEG-LS or JPEG 2000 data claim; zeros for anything else."""
    if frame.startswith(b"\xff\x4f\xff\x51"):
        right, bottom, left, top = (int.from_bytes(frame[at : at + 4]) for at in (8, 12, 16, 20))
        return right - left, bottom - top
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 9 <= len(frame):
        code = frame[at + 1]
        if (0xC0 <= code <= 0xCF and code not in _NO_SIZE) or code == 0xF7:
            return int.from_bytes(frame[at + 7 : at + 9]), int.from_bytes(frame[at + 5 : at + 7])
        at += 2 + int.from_bytes(frame[at + 2 : at + 4])
    return 0, 0


def _as_numbers(found: FileDataset, path: str | Path) -> Numbers:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    values, meaning, bits = pixel_array(found), str(found.PhotometricInterpretation), int(found.BitsStored)
    if meaning == "PALETTE COLOR":
        values = apply_color_lut(values, found)[..., :3]
        return Numbers(values, Scale.of_bits(8 * values.itemsize))
    if not meaning.startswith("MONOCHROME"):
        if values.shape[2:] != (3,):
            raise UserError(f"cannot read {path}: its pixels are {meaning}, which is neither grey nor colours")
        return Numbers(values, Scale.of_bits(bits))
    values = apply_modality_lut(values, found)
    rescaled = "ModalityLUTSequence" in found or "RescaleSlope" in found
    scale, shown = _window(found, values)
    if scale is None and shown is None and not rescaled and bits < 16 and not int(found.PixelRepresentation):
        scale = Scale.of_bits(max(bits, 8)) if bits >= 8 else Scale(0, 2**bits - 1, clips=True)
    inverted = meaning == "MONOCHROME1" or found.get("PresentationLUTShape") == "INVERSE"
    return Numbers(values, scale, inverted, shown)


def _window(found: FileDataset, values: np.ndarray) -> tuple[Scale | None, np.ndarray | None]:
    """Return the first window of a file as a scale; a table or a sigmoid as the values it maps to, 0 to 1."""
    from pydicom.pixels import apply_voi_lut

    if "VOILUTSequence" in found:
        bits = int(found.VOILUTSequence[0].LUTDescriptor[2])
        return None, apply_voi_lut(values.astype(np.int64), found).astype(np.float64) / (2**bits - 1)
    if found.get("WindowCenter") is None or found.get("WindowWidth") is None:
        return None, None
    centre, width = (float(np.atleast_1d(found[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    kind = found.get("VOILUTFunction") or "LINEAR"
    if kind == "SIGMOID":
        return None, 1 / (1 + np.exp(-4 * (values - centre) / width))
    low, high = centre - width / 2, centre + width / 2
    if kind == "LINEAR":  # C.11.2.1.2.1: centre - 0.5 -+ (width - 1) / 2
        high -= 1
    return (Scale(low, high, clips=True) if low < high else None), None
