"""The answers of two models on a benchmark set or on class folders, to compare them by class."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from robustvit.common.errors import UserError
from robustvit.common.option_groups import RunningOptions, SetOptions
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.progress import warn
from robustvit.data.class_matching import doubt_order, match_labels
from robustvit.data.find_photos import MaskRules, expect_classes, find_photos
from robustvit.data.overlap import note_copies
from robustvit.data.photo import Photo
from robustvit.data.pixels import Pixels
from robustvit.data.tables.source import root_of
from robustvit.data.trained_photos import photos_behind
from robustvit.evaluation.classes.changes import compare_classes
from robustvit.evaluation.classes.compared import Compared, describe_as_set, load_pair
from robustvit.evaluation.classes.labels import compare_labels
from robustvit.evaluation.on_sets.command import load_set_models, make_set_settings
from robustvit.evaluation.on_sets.images import name_of
from robustvit.evaluation.on_sets.recording import SetModel, ask_set, record_set
from robustvit.evaluation.sets import Benchmark, Sample, find_benchmarks
from robustvit.explanation.methods import check_method
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS
from robustvit.models.load import load_given
from robustvit.models.options import ComparedModels


def compare_on_set(
    name: str, models: ComparedModels, sets: SetOptions, running: RunningOptions, method: str | None
) -> Compared:
    """Compare two models on a set and record both; recorded answers are used again.

    ``method`` of the relevance maps is checked before anything runs; it is None without maps.
    """
    named = find_benchmarks(name)
    if len(named) > 1:
        raise UserError(f"expected one set, {name} stands for {', '.join(one.name for one in named)}: name one of them")
    setup = make_set_settings(sets, running)
    candidate, other = load_set_models(models, sets, setup.accelerator.device)
    assert other is not None  # a baseline was named
    _check_methods(method, candidate, other)
    after, before = ask_set(named[0], candidate, setup, other)
    assert before is not None
    record_set(named[0], candidate, setup, after, other, before)
    seen = after.answers.places(candidate.seen) if candidate.seen else None
    changes = compare_classes(before.outcomes, after.outcomes, seen)
    return Compared(candidate, other, named[0], setup, after, before, changes, {})


def compare_on_photos(
    own: MeasuredPhotos, models: ComparedModels, sets: SetOptions, running: RunningOptions, method: str | None
) -> Compared:
    """Compare two models on the user's photos; nothing is recorded. ``method`` is as in ``compare_on_set``."""
    classifier = load_given(models, CLASSIFIERS)
    own = own.or_else(classifier.pixels)
    if classifier.head_kind == "multi-label":
        return compare_labels(own, models, sets, running, classifier)
    photos, root, notes = _find_photos(own, models, classifier)
    setup = make_set_settings(replace(sets, root=str(root), records=tempfile.gettempdir()), running)
    candidate, original = load_pair(models, sets, classifier, setup.accelerator.device)
    _check_methods(method, candidate, original)
    for note in notes:
        warn(note)
    note_copies([photo.image for photo in photos], notes)
    benchmark = _describe_photos(str(own.images), photos, classifier)
    with _shared_folder(setup.accelerator) as folder:
        after, before = ask_set(benchmark, candidate, replace(setup, records=folder), original)
    assert before is not None
    said = after.outcomes
    notes += doubt_order(said.class_names.tolist(), said.right[:, 0].tolist(), said.answers.tolist(), classifier)
    changes = compare_classes(before.outcomes, said, candidate.seen or None)
    named = {name_of(Sample(photo.image, (), ""), root): photo for photo in photos}
    return Compared(candidate, original, benchmark, setup, after, before, changes, named, notes)


def _find_photos(
    own: MeasuredPhotos, models: ComparedModels, classifier: Classifier
) -> tuple[list[Photo], Path, list[str]]:
    """Return the user's photos that no model was trained on, with their labels; their root folder; and notes."""
    images = str(own.images)
    notes: list[str] = []
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
    files = [photo.image for photo in listed]
    trained = photos_behind(models.model, models.baseline, models.checkpoint).among(files)
    kept, on_seen = trained.left(listed, own.include_trained)
    photos = match_labels(kept, classifier.num_classes, classifier.class_names)
    return photos, root_of(images, files), [*notes, *on_seen]


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


def _describe_photos(images: str, photos: Sequence[Photo], classifier: Classifier) -> Benchmark:
    """Describe photos as a set; classes that the model does not name have the names of their folders."""
    folders = {photo.label: str(photo.class_name) for photo in reversed(photos)}
    names = list(classifier.class_names) or [
        folders.get(label, classifier.name_of(label)) for label in range(classifier.num_classes)
    ]
    samples = [
        Sample(photo.image, (int(photo.label or 0),), str(photo.class_name), pixels=photo.pixels) for photo in photos
    ]
    return describe_as_set(images, names, samples, len(samples))


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
