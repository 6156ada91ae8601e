"""From the folders a user names to the photos a run uses: found, matched to classes, selected and looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from robustvit.classifier import Classifier
from robustvit.data.batches import read_pair
from robustvit.data.labels import match_labels
from robustvit.data.pairs import Photo, find_photos
from robustvit.data.selection import Selection, select_photos
from robustvit.errors import UserError
from robustvit.options import Classes, MaskFormat
from robustvit.progress import track

__all__ = ["Gathered", "PhotoSources", "check_photos", "find_labelled", "gather"]

Labeller = Callable[[Sequence[Photo]], list[Photo]]


@dataclass(frozen=True)
class PhotoSources:
    """Where photos and masks are; see ``finetune`` for each."""

    images: str
    masks: str | None = None
    val_images: str | None = None
    val_masks: str | None = None
    test_images: str | None = None
    test_masks: str | None = None
    mask_format: MaskFormat = "auto"
    skip_unmasked: bool = False


@dataclass(frozen=True)
class Gathered:
    """Photos of a run: those selected for training and validation, those the verdict is measured on, and remarks."""

    selection: Selection
    verdict: list[Photo]
    notes: list[str]


def find_labelled(
    images: str, masks: str | None, classifier: Classifier, *, skip_unmasked: bool = False, labelled: bool = True
) -> list[Photo]:
    """Find photos and match their classes to the model's; arguments as ``find_photos``."""
    photos = find_photos(images, masks, labelled=labelled, skip_unmasked=skip_unmasked)
    if not labelled:
        # Folders may be anything to someone who explains predictions; where they are the model's classes, use them.
        try:
            return match_labels(photos, classifier.num_classes, classifier.class_names)
        except UserError:
            return [replace(photo, label=None) for photo in photos]
    return match_labels(photos, classifier.num_classes, classifier.class_names)


def gather(
    sources: PhotoSources,
    classifier: Classifier,
    *,
    labelled: bool,
    predict: Labeller,
    samples_per_class: int,
    classes: Classes,
    validation_per_class: int,
    seed: int,
) -> Gathered:
    """Find, match, select and look at every photo that a run will use, before anything is written.

    Args:
        sources: where photos and masks are.
        classifier: the model they are for.
        labelled: whether true labels are needed.
        predict: gives photos without labels the model's own prediction as label.
        samples_per_class: see ``select_photos``; so are ``classes``, ``validation_per_class`` and ``seed``.

    Raises:
        UserError: anything wrong with folders, files or counts.
    """

    def found(images: str, masks: str | None) -> list[Photo]:
        return find_labelled(images, masks, classifier, skip_unmasked=sources.skip_unmasked, labelled=labelled)

    notes: list[str] = []
    photos = found(sources.images, sources.masks)
    if not classifier.class_names and all(photo.label is not None for photo in photos):
        # A head without names took its classes from the sorted folders: from here on it knows them.
        classifier.class_names = tuple(sorted({str(photo.class_name) for photo in photos}))
    if any(photo.mask is None for photo in photos):
        raise UserError(f"expected masks for the photos in {sources.images}: give --masks FOLDER")
    validation = None if sources.val_images is None else found(sources.val_images, sources.val_masks)
    test = None if sources.test_images is None else found(sources.test_images, sources.test_masks)
    if validation is not None and any(photo.mask is None for photo in validation):
        raise UserError(f"expected masks for the photos in {sources.val_images}: give --val-masks FOLDER")
    if any(photo.label is None for photo in photos):
        notes.append(
            "The photos have no labels: ordinary accuracy here means agreement with the original model's predictions."
        )
        photos = predict(photos)
    if validation is not None and any(photo.label is None for photo in validation):
        validation = predict(validation)
    if test is not None and any(photo.label is None for photo in test):
        test = predict(test)
    selection = select_photos(
        photos,
        samples_per_class=samples_per_class,
        classes=classes,
        validation=validation,
        validation_per_class=validation_per_class,
        seed=seed,
    )
    if test is None:
        notes.append(
            "The verdict was measured on the photos that also chose the epoch, so it is a little optimistic: give "
            "--test-images and --test-masks for an independent one."
        )
    check_photos([*selection.train, *selection.validation, *(test or [])], sources.mask_format)
    return Gathered(selection, selection.validation if test is None else test, notes)


def check_photos(photos: Sequence[Photo], mask_format: MaskFormat) -> None:
    """Decode every photo and mask once.

    Raises:
        UserError: the first that cannot be used.
    """
    for photo in track(photos, "checking photos and masks"):
        read_pair(photo, mask_format)
