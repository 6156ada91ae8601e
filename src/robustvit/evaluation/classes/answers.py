"""The answers of two models on a benchmark set or on class folders, to compare them by class."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, SetOptions
from robustvit.common.options import Protocol
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.progress import warn
from robustvit.data.class_matching import doubt_order, match_labels
from robustvit.data.find_photos import MaskRules, expect_classes, find_photos
from robustvit.data.overlap import note_copies
from robustvit.data.photo import Photo
from robustvit.data.pixels import Pixels
from robustvit.data.tables.source import root_of
from robustvit.data.trained_photos import photos_behind
from robustvit.evaluation.classes.changes import class_changes
from robustvit.evaluation.classes.compared import Compared
from robustvit.evaluation.classes.labels import compare_labels
from robustvit.evaluation.on_sets.command import load_set_models, make_set_settings, seen_labels
from robustvit.evaluation.on_sets.images import name_of
from robustvit.evaluation.on_sets.recording import SetModel, ask_set, record_set, set_model
from robustvit.evaluation.sets import Benchmark, Sample, benchmarks_named
from robustvit.evaluation.sets.answers import MemberMaxima, MemberMeans, OwnHead
from robustvit.explanation.methods import check_method
from robustvit.models.baseline import load_baseline
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS
from robustvit.models.load import load_given
from robustvit.models.options import ComparedModels


def compare_on_set(
    name: str, models: ComparedModels, sets: SetOptions, running: RunningOptions, method: str | None
) -> Compared:
    """Compare two models on a set and record both; recorded answers are used again.

    Args:
        name: of the set.
        models: see ``classes``.
        sets: source of the set.
        running: how to run it.
        method: of the relevance maps, checked before anything runs; None for no maps.
    """
    named = benchmarks_named(name)
    if len(named) > 1:
        raise UserError(f"expected one set, {name} stands for {', '.join(one.name for one in named)}: name one of them")
    place = make_set_settings(sets, running)
    candidate, other = load_set_models(models, sets, place.loop.accelerator.device)
    assert other is not None  # a baseline was named
    _check_methods(method, candidate, other)
    after, before = ask_set(named[0], candidate, place, other)
    assert before is not None
    record_set(named[0], candidate, place, after, other, before)
    grouped = isinstance(after.answers, (MemberMeans, MemberMaxima))
    seen = after.answers.places(candidate.seen) if candidate.seen and not grouped else None
    changes = class_changes(before.outcomes, after.outcomes, seen)
    return Compared(candidate, other, named[0], place, after, before, changes, {})


def compare_on_photos(
    own: MeasuredPhotos, models: ComparedModels, sets: SetOptions, running: RunningOptions, method: str | None
) -> Compared:
    """Compare two models on the user's photos; nothing is recorded.

    Args:
        own: the photos, see ``classes``.
        models: see ``compare_on_set``, also for the others.
    """
    images = str(own.images)
    notes: list[str] = []
    classifier = load_given(models, CLASSIFIERS)
    own = own.or_else(classifier.pixels)
    if classifier.head_kind == "multi-label":
        return compare_labels(own, models, sets, running, classifier)
    listed = find_photos(
        images,
        own.masks,
        labelled=own.masks is None,
        rules=MaskRules(skip_unmasked=own.skip_unmasked, no_object=own.no_object),
        pixels=Pixels.of(own),
        columns=own.columns,
        notes=notes,
    )
    expect_classes(listed, images, "add them")
    _refuse_twice(listed, images)
    root = root_of(images, [photo.image for photo in listed])
    place = make_set_settings(replace(sets, root=str(root), records=tempfile.gettempdir()), running)
    trained = photos_behind(models.model, models.baseline, models.checkpoint).among([photo.image for photo in listed])
    kept, on_seen = trained.left(listed, own.include_trained)
    notes += on_seen
    photos = match_labels(kept, classifier.num_classes, classifier.class_names)
    other = load_baseline(models, classifier)
    assert other is not None  # a baseline was named
    device, seen = place.loop.accelerator.device, seen_labels(sets.seen, models.model)
    candidate = set_model(classifier.to(device), models.model, seen, models.checkpoint)
    original = set_model(other.to(device), other.source or str(models.baseline), seen)
    _check_methods(method, candidate, original)
    for note in notes:
        warn(note)
    note_copies([photo.image for photo in photos], notes)
    benchmark = _as_benchmark(images, photos, classifier)
    with _shared_folder(place.loop.accelerator) as folder:
        after, before = ask_set(benchmark, candidate, replace(place, records=folder), original)
    assert before is not None
    said = after.outcomes
    notes += doubt_order(said.class_names.tolist(), said.right[:, 0].tolist(), said.answers.tolist(), classifier)
    changes = class_changes(before.outcomes, said, seen or None)
    named = _by_name(photos, root)
    return Compared(candidate, original, benchmark, place, after, before, changes, named, notes)


def _refuse_twice(photos: Sequence[Photo], images: str) -> None:
    known: dict[Path, Photo] = {}
    for photo in photos:
        if other := known.get(photo.image.resolve()):
            raise UserError(
                f"expected one class for every photo, {images} lists {photo.image} as {other.class_name} and as "
                f"{photo.class_name}: keep one of the rows"
            )
        known[photo.image.resolve()] = photo


def _check_methods(method: str | None, *models: SetModel) -> None:
    for one in models:
        if method is not None:
            check_method(method, one.classifier)


def _as_benchmark(images: str, photos: Sequence[Photo], classifier: Classifier) -> Benchmark:
    """Turn photos into a set, in their order, whose answers are the classes of the model's head."""
    folders = {photo.label: str(photo.class_name) for photo in reversed(photos)}
    names = list(classifier.class_names) or [
        folders.get(label, classifier.name_of(label)) for label in range(classifier.num_classes)
    ]
    samples = [
        Sample(photo.image, (int(photo.label or 0),), str(photo.class_name), pixels=photo.pixels) for photo in photos
    ]
    return Benchmark(
        name="own-photos",
        title=f"photos in {images}",
        images=len(samples),
        classes=len({sample.class_name for sample in samples}),
        folder=".",
        other_folders=(),
        reader=partial(_as_listed, samples),
        scoring={"paper": partial(OwnHead, names), "standard": partial(OwnHead, names)},
        summary={"paper": "accuracy", "standard": "accuracy"},
        source="the user",
        size="",
        licence="",
        num_classes=classifier.num_classes,
    )


def _as_listed(samples: list[Sample], folder: Path, protocol: Protocol) -> tuple[list[Sample], list[str]]:
    return samples, []


def _by_name(photos: Sequence[Photo], root: Path) -> dict[str, Photo]:
    return {name_of(Sample(photo.image, (), ""), root): photo for photo in photos}


@contextmanager
def _shared_folder(accelerator: Accelerator) -> Iterator[Path]:
    """Create a folder for answers that all processes see, and delete it afterwards."""
    made = [tempfile.mkdtemp(prefix="robustvit-") if accelerator.is_main_process else ""]
    broadcast_object_list(made)
    try:
        yield Path(made[0])
    finally:
        if accelerator.is_main_process:
            shutil.rmtree(made[0], ignore_errors=True)
