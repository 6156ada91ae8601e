"""The photos of a run: listed, matched to classes, selected and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.option_groups import PhotoOptions, PixelOptions
from robustvit.common.options import Alpha, Classes, ClassFolders, MaskFormat, PixelRange
from robustvit.common.outcomes import MIN_PHOTOS
from robustvit.common.progress import track, warn
from robustvit.common.wording import pluralize
from robustvit.data.datasets import read_pair
from robustvit.data.duplicates import Fingerprint
from robustvit.data.find_photos import Photo, expect_masks
from robustvit.data.labels import match_labels
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.overlap import check_overlap, hash_photos, without_copies
from robustvit.data.photo_scales import recorded_scale
from robustvit.data.review import Review, read_review
from robustvit.data.selection import balanced_classes, select_photos, selection_text
from robustvit.data.tables.source import is_list
from robustvit.models.classifier import Classifier

Labeller = Callable[[Sequence[Photo]], list[Photo]]


@dataclass(frozen=True)
class PhotoSources:
    """Folders of photos and masks; see ``finetune`` for each."""

    images: str
    masks: str | None = None
    val_images: str | None = None
    val_masks: str | None = None
    test_images: str | None = None
    test_masks: str | None = None
    mask_format: MaskFormat = "auto"
    skip_unmasked: bool = False
    doubtful: bool = False
    review: str | None = None
    range: PixelRange | None = None
    alpha: Alpha | None = None
    class_folders: ClassFolders | None = None
    image_column: str | None = None
    label_column: str | None = None
    mask_column: str | None = None


@dataclass(frozen=True)
class SelectionSettings:
    """Which photos a run takes; see ``select_photos`` for the first four.

    Attributes:
        balanced: train on equally many photos of every class.
        halve: without photos to test on, split the photos held out: one half chooses the epoch, the other judges. Only
            a run of an older version is resumed with all of them for both.
        older: a run that an older version started is resumed: its photos stay as they are, copies or not.
        order: outputs of the classes by name, of the run that is resumed, for a head without names.
    """

    samples_per_class: int
    classes: Classes
    validation_per_class: int
    seed: int
    balanced: bool = False
    halve: bool = True
    older: bool = False
    order: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunPhotos:
    """Photos of a run.

    Attributes:
        train: to train on.
        validation: held out, to choose the epoch.
        verdict: held out, to measure before and after.
        notes: what a reader of the verdict must know.
        prints: fingerprints of all photos, by file.
    """

    train: list[Photo]
    validation: list[Photo]
    verdict: list[Photo]
    notes: list[str]
    prints: dict[Path, Fingerprint]

    def as_text(self) -> str:
        """Return the rows of ``selection.csv``."""
        return selection_text(self.splits, self.prints)

    @property
    def splits(self) -> dict[str, Sequence[Photo]]:
        """The photos by use."""
        return {"train": self.train, "validation": self.validation, "verdict": self.verdict}


def gather_photos(
    sources: PhotoSources,
    classifier: Classifier,
    settings: SelectionSettings,
    *,
    labelled: bool,
    predict: Labeller,
) -> RunPhotos:
    """Find, match, select and check every photo of a run, before anything is written.

    Args:
        sources: where photos and masks are.
        classifier: the model.
        settings: which photos to take.
        labelled: whether true labels are needed.
        predict: labels photos with the predictions of the model, if they have no labels.
    """
    notes: list[str] = []
    known = PixelOptions(range=sources.range, alpha=sources.alpha).or_else(classifier.pixels)
    sources = replace(sources, range=known.range, alpha=known.alpha)
    review = None if sources.review is None else read_review(sources.review)
    found = partial(_find, classifier=classifier, labelled=labelled, predict=predict, review=review, notes=notes)
    if settings.order and not classifier.class_names:
        _name_outputs(classifier, {label: name for name, label in settings.order.items()})
    photos = found(sources, sources.images, sources.masks)
    classifier.pixels = PixelOptions(range=recorded_scale(photo.pixels for photo in photos), alpha=sources.alpha)
    sources = replace(sources, range=classifier.pixels.range or sources.range)
    if photos[0].class_name is not None and not classifier.class_names:
        _name_outputs(classifier, {photo.label: str(photo.class_name) for photo in photos})
    whole = None if review is None else replace(review, by_tail=False)
    given = [
        None if images is None else found(sources, images, masks, review=whole)
        for images, masks in ((sources.val_images, sources.val_masks), (sources.test_images, sources.test_masks))
    ]
    selection = select_photos(
        photos,
        samples_per_class=settings.samples_per_class,
        classes=settings.classes,
        validation=given[0],
        validation_per_class=settings.validation_per_class,
        seed=settings.seed,
    )
    train = _balance(selection.train, notes) if settings.balanced else selection.train
    validation, verdict = selection.validation, given[1]
    prints = hash_photos([*train, *validation, *(verdict or ())])
    if given[0] is None and not settings.older:
        validation = without_copies(validation, train, prints, notes)
    if verdict is None:
        validation, verdict = _halve(validation, notes) if settings.halve else (validation, validation)
    if verdict[0].class_name is None:
        notes.append(
            "The photos have no labels: ordinary accuracy here means agreement with the original model's predictions."
        )
    if both := {photo.image.resolve() for photo in validation} & {photo.image.resolve() for photo in verdict}:
        notes.append(
            f"{len(both)} of the {pluralize(len(verdict), 'photo')} that judge also chose the epoch: in simulations, "
            "one run in seven that changed nothing was then called better, instead of one in forty. Give other "
            "photos with --test-images and --test-masks."
        )
    check_overlap(train, validation, verdict, prints, notes, older=settings.older)
    check_photos([*train, *validation, *(() if verdict is validation else verdict)], sources.mask_format)
    return RunPhotos(train, validation, verdict, notes, prints)


def _name_outputs(classifier: Classifier, names: Mapping[int | None, str]) -> None:
    """Keep the names that a head without names was matched to."""
    classifier.class_names = tuple(names.get(i, f"class {i}") for i in range(classifier.num_classes))


def _balance(photos: Sequence[Photo], notes: list[str]) -> list[Photo]:
    kept = balanced_classes(photos)
    if left_out := len(photos) - len(kept):
        each = pluralize(len(kept) // len({photo.class_name for photo in kept}), "photo")
        note = f"Classes were balanced: trained on {each} of each, {left_out} of larger classes left out."
        notes.append(note)
        warn(note)
    return kept


def _find(
    sources: PhotoSources,
    images: str,
    masks: str | None,
    *,
    classifier: Classifier,
    labelled: bool,
    predict: Labeller,
    review: Review | None,
    notes: list[str],
) -> list[Photo]:
    photos, left_out = find_usable_photos(
        PhotoOptions(
            images=images,
            masks=masks,
            mask_format=sources.mask_format,
            skip_unmasked=sources.skip_unmasked,
            doubtful=sources.doubtful,
            range=sources.range,
            alpha=sources.alpha,
            class_folders=None if is_list(images) else sources.class_folders,
            image_column=sources.image_column if is_list(images) else None,
            label_column=sources.label_column if is_list(images) else None,
            mask_column=sources.mask_column if is_list(images) else None,
        ),
        labelled=labelled,
        review=review,
    )
    try:
        photos = match_labels(photos, classifier.num_classes, classifier.class_names)
    except UserError:
        if labelled:
            raise
        # With predicted targets, folder names need not be classes of the model; where they are, they are used.
        photos = [replace(photo, label=None) for photo in photos]
    for note in left_out:
        notes.append(note)
        warn(note)
    way = "give the folder of masks beside it"
    if is_list(images):
        way = "name them in its column 'mask' (--mask-column), or give their folder"
    option = {sources.images: "--masks", sources.val_images: "--val-masks"}.get(images, "--test-masks")
    expect_masks(photos, images, f"{way} ({option})")
    if any(photo.label is None for photo in photos):
        return predict([replace(photo, class_name=None) for photo in photos])
    return photos


def _halve(photos: list[Photo], notes: list[str]) -> tuple[list[Photo], list[Photo]]:
    """Split photos into those that choose the epoch and those that judge: alternately within each class, the first to
    judge; classes with a single photo alternate too.
    """
    counts = Counter(photo.class_name for photo in photos)
    singles = [name for name, count in counts.items() if count == 1]
    seen: Counter[str | None] = Counter({name: 1 for name in singles[1::2]})
    halves: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        seen[photo.class_name] += 1
        halves[seen[photo.class_name] % 2 == 1].append(photo)
    if not halves[0]:
        raise UserError(
            "expected at least two photos to hold out, one to choose or fit and one to judge, found 1: give "
            "--test-images"
        )
    if len(halves[1]) < MIN_PHOTOS:
        notes.append(
            f"Of {len(photos)} photos held out, {len(halves[0])} chose the epoch and {len(halves[1])} judge. With "
            f"fewer than {MIN_PHOTOS} no gain can be shown: give more with --test-images and --test-masks."
        )
    return halves


def check_photos(photos: Sequence[Photo], mask_format: MaskFormat) -> None:
    """Decode every photo and mask once."""
    for photo in track(photos, "checking photos and masks"):
        read_pair(photo, mask_format)
