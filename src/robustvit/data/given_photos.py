"""The photos that the user gave, for a run or to measure a model on: found, and matched to the model's classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from robustvit.common.errors import UserError
from robustvit.common.photo_options import GivenPhotos, MeasuredPhotos, PhotoOptions, PixelOptions
from robustvit.data.cached_photos import ReadOnce
from robustvit.data.class_matching import match_labels
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.notes import add_note
from robustvit.data.objects_seen import note_objects
from robustvit.data.overlap import note_copies
from robustvit.data.photo import Photo, expect_masks
from robustvit.data.photo_scales import recorded_scale
from robustvit.data.review import Review, read_review
from robustvit.data.several_labels import describe_labels, label_several, match_photos, note_absent
from robustvit.data.tables.source import is_list
from robustvit.data.trained_photos import SeenPhotos, photos_behind
from robustvit.models.classifier import Classifier
from robustvit.models.options import ComparedModels

Labeller = Callable[[Sequence[Photo]], list[Photo]]
_OF_LISTS = ("image_column", "label_column", "mask_column", "label_separator")


@dataclass(frozen=True, kw_only=True)
class PhotoSources(GivenPhotos):
    """Folders or lists of photos and masks; see ``finetune`` for each option."""

    val_images: str | None = None
    val_masks: str | None = None
    test_images: str | None = None
    test_masks: str | None = None
    review: str | None = None
    shortcuts: str | None = None
    uses_masks: bool = True  # whether the method of guidance does

    def of(self, images: str, masks: str | None) -> PhotoOptions:
        """Return the options of one folder or list of photos; columns belong to lists, class folders to folders."""
        shared = {one.name: getattr(self, one.name) for one in fields(PhotoOptions)}
        left_out = ("class_folders",) if is_list(images) else _OF_LISTS
        return PhotoOptions(**shared | dict.fromkeys(left_out) | {"images": images, "masks": masks})


@dataclass(frozen=True)
class FoundPhotos:
    """Photos that the user gave: to train on or hold out and, if there are any, to validate and to judge with."""

    photos: list[Photo]
    validation: list[Photo] | None
    verdict: list[Photo] | None


def find_given(
    sources: PhotoSources,
    classifier: Classifier,
    order: Mapping[str, int],
    labelled: bool,
    predict: Labeller,
    notes: list[str],
) -> FoundPhotos:
    """Find all photos that were given, with their labels; the classifier gets how pixels are read, and its names."""
    known = PixelOptions(range=sources.range, alpha=sources.alpha).or_else(classifier.pixels)
    sources = replace(sources, range=known.range, alpha=known.alpha)
    review = None if sources.review is None else read_review(sources.review)
    if order and not classifier.class_names:
        _name_outputs(classifier, {label: name for name, label in order.items()})
    finder = _Finder(classifier, labelled, predict, notes, not sources.uses_masks or sources.shortcuts is not None)
    photos = finder.find(sources.of(sources.images, sources.masks), "--masks", review)
    classifier.pixels = PixelOptions(range=recorded_scale(photo.pixels for photo in photos), alpha=sources.alpha)
    sources = replace(sources, range=classifier.pixels.range or sources.range)
    if photos[0].class_name is not None and not classifier.class_names:
        _name_outputs(classifier, {photo.label: str(photo.class_name) for photo in photos})
    whole = None if review is None else replace(review, by_tail=False)
    validation, verdict = (
        None if images is None else finder.find(sources.of(images, masks), option, whole, further=True)
        for images, masks, option in (
            (sources.val_images, sources.val_masks, "--val-masks"),
            (sources.test_images, sources.test_masks, "--test-masks"),
        )
    )
    return FoundPhotos(photos, validation, verdict)


@dataclass(frozen=True)
class _Finder:
    """Finds photos of a run and labels them; see ``gather_photos`` for the fields."""

    classifier: Classifier
    labelled: bool
    predict: Labeller
    notes: list[str]
    masks_optional: bool = False

    def find(self, given: PhotoOptions, option: str, review: Review | None, further: bool = False) -> list[Photo]:
        """Find the photos of a folder or list; ``option`` names their masks."""
        several = self.classifier.head_kind == "multi-label"
        photos, left_out = find_usable_photos(
            given, labelled=self.labelled or several, review=review, further=further, several=several
        )
        if several:
            photos = label_several(photos, self.classifier)
            if given.skip_unmasked and any(photo.mask for photo in photos):
                photos = [photo for photo in photos if photo.mask is not None or photo.no_object]
            left_out = left_out + describe_labels(photos)
        else:
            photos = self._match(photos)
        for note in left_out:
            add_note(note, self.notes)
        images, way = str(given.images), "give the folder of masks beside it"
        if is_list(images):
            way = "name them in its column 'mask' (--mask-column), or give their folder"
        if not self.masks_optional:
            expect_masks(photos, images, f"{way} ({option})")
        if not several and any(photo.label is None for photo in photos):
            return self.predict([replace(photo, class_name=None) for photo in photos])
        return photos

    def _match(self, photos: list[Photo]) -> list[Photo]:
        """Return photos with their labels; without any if they are not needed and folder names are not classes."""
        try:
            return match_labels(photos, self.classifier.num_classes, self.classifier.class_names)
        except UserError:
            if self.labelled:
                raise
            # With predicted targets, folder names need not be classes of the model; where they are, they are used.
            return [replace(photo, label=None) for photo in photos]


def _name_outputs(classifier: Classifier, names: Mapping[int | None, str]) -> None:
    """Keep the names that a head without names was matched to."""
    classifier.class_names = tuple(names.get(i, f"class {i}") for i in range(classifier.num_classes))


@dataclass(frozen=True)
class PhotosToMeasure:
    """Photos to measure a model on.

    Attributes:
        read: the photos, read once for all models.
        seen: which of the given photos the models were trained on.
        notes: for readers, such as on photos that were left out.
    """

    read: ReadOnce
    seen: SeenPhotos
    notes: list[str]


def find_photos_to_measure(given: MeasuredPhotos, models: ComparedModels, classifier: Classifier) -> PhotosToMeasure:
    """Find photos with the classes of a model, without those that ``models`` were trained on; notes are printed."""
    several = classifier.head_kind == "multi-label"
    listed, left_out = find_usable_photos(given, labelled=given.masks is None or several, several=several)
    seen = photos_behind(models.model, models.baseline, models.checkpoint).among([photo.image for photo in listed])
    kept, on_seen = seen.left(listed, given.include_trained)
    notes: list[str] = []
    for note in (*left_out, *on_seen):
        add_note(note, notes)
    photos = match_photos(kept, classifier)
    note_copies([photo.image for photo in photos], notes)
    notes += describe_labels(photos)
    note_absent(photos, classifier, notes)
    read = ReadOnce(photos, given.mask_format)
    note_objects(read.seen_by(classifier), notes)
    return PhotosToMeasure(read, seen, notes)
