"""The segmentation test as a set with a record: on ImageNet-Segmentation, or on the user's photos and masks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.progress import warn
from robustvit.common.provenance import provenance
from robustvit.common.wording import pluralize
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.objects_seen import shows_no_object
from robustvit.data.photo import Photo
from robustvit.data.photo_scales import recorded_scale
from robustvit.data.trained_photos import UNKNOWN, TrainedPhotos
from robustvit.evaluation.on_sets.loop import SetSettings
from robustvit.evaluation.on_sets.recording import SetModel, describe_preprocessing
from robustvit.evaluation.on_sets.segmentation_scores import (
    SegmentationScores,
    check_masked,
    segmentation_difference,
    segmentation_test,
)
from robustvit.evaluation.on_sets.segmented_photos import MAT_IMAGES, MatFile, find_mat
from robustvit.evaluation.records.record import Record, check_record_place, read_record, write_record
from robustvit.explanation.methods import check_method
from robustvit.models.classifier import Classifier

SEGMENTATION_SETS = ("imagenet-segmentation", "segmentation")
_USUAL = "gae"  # the paper's; other methods give other results

NO_PHOTOS = MeasuredPhotos()


def check_segmentation(
    name: str, setup: SetSettings, own: MeasuredPhotos, method: str, models: Sequence[Classifier]
) -> None:
    """Refuse sets and models that cannot be tested before anything else runs."""
    _find_images(name, setup, own)
    for model in models:
        check_method(method, model)


def evaluate_segmentation(
    name: str,
    model: SetModel,
    setup: SetSettings,
    baseline: SetModel | None = None,
    *,
    own: MeasuredPhotos = NO_PHOTOS,
    method: str = _USUAL,
    trained: TrainedPhotos = UNKNOWN,
) -> tuple[Record, bool]:
    """Run the segmentation test; return its record, and whether the result had been recorded already.

    Args:
        name: one of ``SEGMENTATION_SETS``.
        model: whose relevance maps are tested.
        setup: source of the set and folder of the record.
        baseline: model to compare with.
        own: the user's photos and masks.
        method: of the maps.
        trained: photos that the models were trained on; left out of the user's unless they are included.
    """
    asked = _find_images(name, setup, own)
    if own.images is not None and not isinstance(asked.images, Path):
        asked = _leave_out_trained(asked, asked.images, own, trained)
    if setup.accelerator.is_main_process:
        for line in [*asked.notes, *asked.seen]:
            warn(line)
    name = asked.name + ("" if method == _USUAL else f"+{method}")
    about = describe_preprocessing(model, **{"squash": True, "relevance": method, "precision": "no", **asked.about})
    path = check_record_place(setup.records, name, setup.protocol, model.weights, complete=True)
    if (old := _find_recorded(path, about, baseline)) is not None:
        return old, True
    after = _score_model(model, asked.images, setup, method, own.mask_format)
    record = _make_record(name, model, setup, asked, about, after)
    if baseline is not None:
        before = _score_model(baseline, asked.images, setup, method, own.mask_format)
        record.compared.update({"baseline": baseline.about, **segmentation_difference(before, after)})
    if setup.accelerator.is_main_process:
        write_record(record, setup.records)
    return record, False


def _make_record(
    name: str, model: SetModel, setup: SetSettings, asked: _Asked, about: dict[str, Any], after: SegmentationScores
) -> Record:
    samples = len(after.precisions)
    lacking = f"expected {pluralize(asked.expected, 'image')}, found {samples:,}"
    return Record(
        set=name,
        protocol=setup.protocol,
        model=model.about,
        preprocessing=about,
        samples=samples,
        expected=asked.expected,
        complete=samples == asked.expected,
        problems=[*asked.seen, *([lacking] if samples != asked.expected else [])],
        numbers=after.numbers,
        classes={},
        groups={},
        compared={},
        **provenance(),
    )


def _find_recorded(path: Path, about: dict[str, Any], baseline: SetModel | None) -> Record | None:
    """Return an earlier record of the same test, against the same baseline; None if there is none."""
    old = read_record(path) if path.is_file() else None
    if old is None or old.preprocessing != about:
        return None
    compared_with = old.compared.get("baseline", {}).get("weights")
    return old if baseline is None or compared_with == baseline.weights else None


@dataclass(frozen=True)
class _Asked:
    """The images of a test.

    Attributes:
        name: of the set in records.
        images: photos with masks, or the file of the set.
        expected: their number.
        about: facts that identify them.
        notes: on them, for the reader.
        seen: notes on photos that models were trained on, which are recorded too.
    """

    name: str
    images: Sequence[Photo] | Path
    expected: int
    about: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


def _leave_out_trained(asked: _Asked, photos: Sequence[Photo], own: MeasuredPhotos, trained: TrainedPhotos) -> _Asked:
    """Leave out the user's photos that models were trained on; the name then tells folders apart."""
    kept, seen = trained.among([photo.image for photo in photos]).left(photos, own.include_trained)
    about = asked.about | {"images": len(kept), "mask_format": own.mask_format, "content": _hash_content(kept)}
    name = f"{asked.name}/{_make_slug(str(own.images))}-{_hash_paths(kept)}"
    return _Asked(name, kept, len(kept), about, asked.notes, seen)


def _find_images(name: str, setup: SetSettings, own: MeasuredPhotos) -> _Asked:
    """Find the images of a set, or the user's."""
    if name == "imagenet-segmentation":
        if setup.root is None:
            raise UserError("imagenet-segmentation cannot be streamed: name the folder of its file with --root")
        file = find_mat(setup.root)
        return _Asked(name, file, MAT_IMAGES, {"images": len(MatFile(file))})
    if own.images is None:
        raise UserError("expected --images and --masks with --on segmentation: photos, and masks of what they show")
    every, notes = find_usable_photos(own, labelled=False)
    photos = [photo for photo in every if not shows_no_object(photo, own.mask_format)]
    if without := len(every) - len(photos):
        notes.append(f"{pluralize(without, 'photo')} without an object left out of the segmentation test.")
    about: dict[str, Any] = {"images": len(photos), "folder": str(Path(own.images).resolve())}
    if (scale := recorded_scale(photo.pixels for photo in photos)) is not None:
        about["range"] = scale
    return _Asked(name, check_masked(photos), len(photos), about, notes)


def _hash_content(photos: Sequence[Photo]) -> str:
    """Hash the bytes of masks and the file sizes of photos, so that changed files give another result."""
    found = hashlib.sha256()
    for photo in photos:
        found.update(str(photo.image.stat().st_size).encode() + (photo.mask.read_bytes() if photo.mask else b""))
    return found.hexdigest()[:16]


def _hash_paths(photos: Sequence[Photo]) -> str:
    """Hash the paths of photos and masks, to tell folders of the same name apart."""
    listed = "\n".join(f"{photo.image.resolve()} {photo.mask}" for photo in photos)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _make_slug(images: str) -> str:
    """Turn the last two parts of a folder's path into a valid name for a set."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(Path(images).resolve().parts[-2:])).strip("-.") or "photos"


def _score_model(
    model: SetModel, source: Sequence[Photo] | Path, setup: SetSettings, method: str, mask_format: MaskFormat
) -> SegmentationScores:
    return segmentation_test(
        model.classifier,
        source,
        method=method,
        mask_format=mask_format,
        batch_size=setup.batch_size,
        workers=setup.workers,
        device=setup.accelerator.device,
    )
