"""The photos that a model is measured on: matched with its classes, without those that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.progress import warn
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.objects_seen import say_looked
from robustvit.data.overlap import note_copies
from robustvit.data.seen_photos import ReadOnce
from robustvit.data.several_labels import describe_labels, match_photos, name_absent
from robustvit.data.trained_photos import SeenPhotos, photos_behind
from robustvit.models.classifier import Classifier
from robustvit.models.options import ComparedModels


@dataclass(frozen=True)
class PhotosToMeasure:
    """Photos to measure a model on.

    Attributes:
        read: the photos, read once for all models.
        seen: which of the photos that were found the models were trained on.
        notes: for the reader, such as photos that were left out.
    """

    read: ReadOnce
    seen: SeenPhotos
    notes: list[str]


def find_photos_to_measure(given: MeasuredPhotos, models: ComparedModels, classifier: Classifier) -> PhotosToMeasure:
    """Find photos, leave out what models were trained on, and look at what the model will see; the notes are shown.

    Args:
        given: the photos, and what to do with those that models were trained on.
        models: where they come from.
        classifier: whose classes the photos have.
    """
    several = classifier.head_kind == "multi-label"
    listed, left_out = find_usable_photos(given, labelled=given.masks is None or several, several=several)
    seen = photos_behind(models.model, models.baseline, models.checkpoint).among([photo.image for photo in listed])
    kept, on_seen = seen.left(listed, given.include_trained)
    notes = [*left_out, *on_seen]
    for note in notes:
        warn(note)
    photos = match_photos(kept, classifier)
    note_copies([photo.image for photo in photos], notes)
    notes += [*describe_labels(photos), *name_absent(photos, classifier)]
    read = ReadOnce(photos, given.mask_format)
    notes += say_looked(read.seen_by(classifier))
    return PhotosToMeasure(read, seen, notes)
