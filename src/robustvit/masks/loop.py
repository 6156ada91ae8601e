"""The loop that makes masks: photos are prepared in batches here, and finished here or by worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace

import numpy as np
from PIL import Image

from robustvit.common.errors import UserError
from robustvit.common.progress import bar
from robustvit.common.signals import name_stopped_run
from robustvit.common.workers import worker_pool
from robustvit.data.manifest import NO_OBJECT, MaskRecord
from robustvit.data.placed_photos import PlacedPhoto
from robustvit.data.read_photos import read_photo
from robustvit.masks.confidence import FoundMask, no_object
from robustvit.masks.folder import MaskFolder, digest_inputs
from robustvit.masks.sources import MaskSource

_Waiting = list[tuple[PlacedPhoto, "Future[FoundMask]"]]


def mask_photos(
    source: MaskSource, photos: Sequence[PlacedPhoto], folder: MaskFolder, batch_size: int, workers: int
) -> list[str]:
    """Make and write the masks of photos; return a line for each photo that could not be used.

    ``batch_size`` photos are prepared at a time; without ``workers``, this process finishes the masks.
    """
    problems: list[str] = []
    waiting: _Waiting = []
    with name_stopped_run(folder.path), worker_pool(workers) as executor, bar(speed=True) as progress:
        task = progress.add_task("masks", total=len(photos))
        for start in range(0, len(photos), batch_size):
            batch = photos[start : start + batch_size]
            fresh = _submit(source, batch, executor, problems)
            _write(waiting, source, folder, problems)  # while the workers process the new batch
            waiting = fresh
            progress.advance(task, len(batch))
        _write(waiting, source, folder, problems)
    return problems


def write_black_masks(photos: Sequence[PlacedPhoto], folder: MaskFolder) -> list[str]:
    """Write black masks for photos whose class means that there is no object; return lines as ``mask_photos`` does."""
    problems: list[str] = []
    for photo in photos:
        record = MaskRecord(
            photo.image, folder.path / photo.mask, photo.label, NO_OBJECT, 1.0, "--no-object names its class"
        )
        try:
            image = read_photo(photo.image, pixels=photo.pixels)
            record = replace(record, inputs=digest_inputs(photo.image, NO_OBJECT))
            folder.add(record, np.zeros((image.height, image.width), np.float32))
        except UserError as error:
            problems.append(str(error))
    return problems


def _submit(source: MaskSource, batch: Sequence[PlacedPhoto], executor: Executor, problems: list[str]) -> _Waiting:
    readable: list[tuple[PlacedPhoto, Image.Image]] = []
    for photo in batch:
        try:
            readable.append((photo, read_photo(photo.image, pixels=photo.pixels)))
        except UserError as error:
            problems.append(str(error))
    if not readable:
        return []
    jobs = source.prepare([image for _, image in readable], [photo.image for photo, _ in readable])
    return [
        (
            photo,
            executor.submit(_of_one_colour, image.size) if _is_plain(image) else executor.submit(source.finish, job),
        )
        for (photo, image), job in zip(readable, jobs, strict=True)
    ]


def _is_plain(image: Image.Image) -> bool:
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]


def _of_one_colour(size: tuple[int, int]) -> FoundMask:
    return no_object((size[1], size[0]), "the photo is of one colour")


def _write(waiting: _Waiting, source: MaskSource, folder: MaskFolder, problems: list[str]) -> None:
    for photo, future in waiting:
        try:
            found = future.result()
        except UserError as error:
            problems.append(f"{photo.image}: {error}")
            continue
        mask = None if found.verdict == "none" else folder.path / photo.mask
        record = MaskRecord(
            photo.image, mask, photo.label, found.verdict, found.confidence, found.reason, source.name, found.measures
        )
        try:
            inputs = digest_inputs(photo.image, source.content(photo.image))
            folder.add(replace(record, inputs=inputs, origin=source.origin(photo.image)), found.mask)
        except UserError as error:
            problems.append(str(error))
