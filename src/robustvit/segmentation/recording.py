"""The segmentation test as a set: on ImageNet-Segmentation, or on photos and masks of one's own, with a record."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustvit.data.pairs import Photo, find_photos
from robustvit.errors import UserError
from robustvit.records import Record, check_record_place, read_record, write_record
from robustvit.runs import provenance
from robustvit.segmentation.photos import MAT_IMAGES, MatFile, find_mat
from robustvit.segmentation.scores import SegmentationScores, segmentation_difference, segmentation_test
from robustvit.set_evaluation.recording import SetModel, SetPlace, recorded_preprocessing
from robustvit.wording import counted

__all__ = ["SEGMENTATION_SETS", "evaluate_segmentation"]

SEGMENTATION_SETS = ("imagenet-segmentation", "segmentation")


def evaluate_segmentation(
    name: str,
    model: SetModel,
    place: SetPlace,
    baseline: SetModel | None = None,
    *,
    images: str | None = None,
    masks: str | None = None,
    method: str = "gae",
) -> tuple[Record, bool]:
    """Run the segmentation test and record it; a whole result that was recorded is not made again.

    Args:
        name: one of ``SEGMENTATION_SETS``.
        model: whose relevance maps.
        place: where the set comes from and the record goes.
        baseline: model to compare with.
        images: photos of one's own; see ``find_photos``.
        masks: of these.
        method: of the maps.

    Returns:
        The record, and whether it had been there.

    Raises:
        UserError: the set is not there, photos without masks, maps that are no numbers.
    """
    source, expected, of = _source(name, place, images, masks)
    if images is not None and not isinstance(source, Path):
        name = f"{name}/{_slug(images)}-{_hash_of(source)}"
    about = recorded_preprocessing(model, **{"squash": True, "relevance": method, "precision": "no", **of})
    path = check_record_place(place.records, name, place.protocol, model.weights, complete=True)
    if path.is_file():
        old = read_record(path)
        compared_with = old.compared.get("baseline", {}).get("weights")
        if old.preprocessing == about and compared_with == (None if baseline is None else baseline.weights):
            return old, True
    after = _tested(model, source, place, method)
    compared: dict[str, Any] = {}
    if baseline is not None:
        before = _tested(baseline, source, place, method)
        compared = {"baseline": baseline.about, **segmentation_difference(before, after)}
    samples = len(after.precisions)
    record = Record(
        set=name,
        protocol=place.protocol,
        model=model.about,
        preprocessing=about,
        samples=samples,
        expected=expected,
        complete=samples == expected,
        problems=[] if samples == expected else [f"expected {counted(expected, 'image')}, found {samples:,}"],
        numbers=after.numbers,
        classes={},
        groups={},
        compared=compared,
        **provenance(),
    )
    if place.loop.accelerator.is_main_process:
        write_record(record, place.records)
    return record, False


def _source(
    name: str, place: SetPlace, images: str | None, masks: str | None
) -> tuple[Sequence[Photo] | Path, int, dict[str, Any]]:
    """The images, how many there should be, and what they are."""
    if name == "imagenet-segmentation":
        if place.root is None:
            raise UserError("imagenet-segmentation cannot be streamed: name the folder of its file with --root")
        file = find_mat(place.root)
        return file, MAT_IMAGES, {"images": len(MatFile(file))}
    if images is None:
        raise UserError("expected --images and --masks with --on segmentation: photos, and masks of what they show")
    photos = find_photos(images, masks, labelled=False)
    return photos, len(photos), {"images": len(photos), "folder": str(Path(images).resolve())}


def _hash_of(photos: Sequence[Photo]) -> str:
    """Tells lists of photos apart that lie in folders of the same name."""
    listed = "\n".join(f"{photo.image.resolve()} {photo.mask}" for photo in photos)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _slug(images: str) -> str:
    """The last two parts of a folder's path, as a name of a set may be."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(Path(images).resolve().parts[-2:])).strip("-.") or "photos"


def _tested(model: SetModel, source: Sequence[Photo] | Path, place: SetPlace, method: str) -> SegmentationScores:
    loop = place.loop
    return segmentation_test(
        model.classifier,
        source,
        method=method,
        batch_size=loop.batch_size,
        workers=loop.workers,
        device=loop.accelerator.device,
    )
