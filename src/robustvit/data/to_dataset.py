"""Photos and masks as a set of the library ``datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.extras import import_extra
from robustvit.data.find_photos import find_photos

if TYPE_CHECKING:
    import datasets


def to_dataset(images: str | Path, masks: str | Path | None = None, *, labelled: bool = True) -> datasets.Dataset:
    """Return photos, classes and masks as a ``datasets.Dataset``.

    It has the columns ``image``, ``label`` (names are kept) and, with masks, ``mask``; pictures are read when a row is.
    The other way round, ``dataset.save_to_disk(FOLDER)`` makes a set that every command reads as ``hf:FOLDER``.

    Args:
        images: a folder with one folder of photos per class, a list or a set, as for ``finetune``.
        masks: a folder that mirrors them; photos without a mask have none in their row.
        labelled: whether photos have classes.

    Raises:
        UserError: datasets is not installed, or photos or masks cannot be found.
    """
    library = import_extra("datasets", "sets", "to_dataset()")
    photos = find_photos(images, masks, labelled=labelled)
    columns: dict[str, list[object]] = {"image": [str(photo.image) for photo in photos]}
    features = {"image": library.Image()}
    if masks is not None or any(photo.mask is not None for photo in photos):
        columns["mask"] = [None if photo.mask is None else str(photo.mask) for photo in photos]
        features["mask"] = library.Image()
    if labelled:
        names = sorted({str(photo.class_name) for photo in photos})
        columns["label"] = [names.index(str(photo.class_name)) for photo in photos]
        features["label"] = library.ClassLabel(names=names)
    return library.Dataset.from_dict(columns, features=library.Features(features))
