"""Data sets of FiftyOne: the files of their samples, with classifications as classes and segmentations as masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.extras import import_extra
from robustvit.common.files import new_file
from robustvit.data.tables.hub import reaching
from robustvit.data.tables.source import FIFTYONE
from robustvit.data.tables.table import PhotoTable, table_of_records
from robustvit.data.tables.unpacked import UnpackedPhotos

if TYPE_CHECKING:
    from fiftyone import DatasetView, Segmentation


def read_fiftyone_set(name: str, tag: str | None) -> PhotoTable:
    """Read the samples of a data set of FiftyOne, or those with a tag: ``fiftyone:NAME#TAG``.

    Its fields of type Classification and Segmentation become columns of their names.
    """
    fiftyone = import_extra("fiftyone", "fiftyone", f"reading {FIFTYONE}{name}")
    with reaching(f"cannot read {FIFTYONE}{name}", "check it with fiftyone.load_dataset"):
        known = list(fiftyone.list_datasets())
        if name not in known:
            hint = did_you_mean(name, known) or f"its data sets are: {', '.join(known[:8]) or 'none'}"
            raise UserError(f"expected a data set of FiftyOne behind {FIFTYONE}, found no {name!r}: {hint}")
        data = fiftyone.load_dataset(name)
        classes = list(data.get_field_schema(embedded_doc_type=fiftyone.Classification))
        masks = list(data.get_field_schema(embedded_doc_type=fiftyone.Segmentation))
        view = data if tag is None else data.match_tags(tag)
        unpacked = UnpackedPhotos(f"{FIFTYONE}{name}", Path())
        table = table_of_records(_records(view, classes, masks, unpacked), dict.fromkeys(classes, ()), unpacked, Path())
    if not table.rows:
        of = "" if tag is None else f" with the tag {tag!r}"
        raise UserError(f"expected photos in {FIFTYONE}{name}{of}, found none: add samples, or name another")
    return table


def _records(
    view: DatasetView, classes: list[str], masks: list[str], unpacked: UnpackedPhotos
) -> Iterator[dict[str, object]]:
    for number, sample in enumerate(view):
        row: dict[str, object] = {"image": str(sample.filepath)}
        for field in classes:
            row[field] = getattr(sample[field], "label", None) or ""
        for field in masks:
            row[field] = _mask_of(sample[field], Path(sample.filepath).stem, number, unpacked)
        yield row


def _mask_of(segmentation: Segmentation, stem: str, number: int, unpacked: UnpackedPhotos) -> str:
    """Return the path of a mask: of its file, or of a new file with its array; empty if there is none."""
    if segmentation is None:
        return ""
    if segmentation.mask_path:
        return str(segmentation.mask_path)
    if segmentation.mask is None:
        return ""
    from PIL import Image

    path = unpacked.place / "masks" / f"{number:06d}-{stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(segmentation.mask)
    with new_file(path, flush=False) as file:
        Image.fromarray((255 * array).astype(np.uint8) if array.dtype == bool else array).save(file, "PNG")
    return str(path)
