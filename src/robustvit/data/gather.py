"""The photos of a run: listed, matched to classes, selected and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.options import Classes, Negatives
from robustvit.common.outcomes import MIN_PHOTOS
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.cached_photos import see_photos
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.duplicates import Fingerprint
from robustvit.data.given_photos import FoundPhotos, Labeller, PhotoSources, find_given
from robustvit.data.leave_out import count_groups, leave_groups_out
from robustvit.data.notes import add_note
from robustvit.data.objects_seen import ObjectCheck, check_objects, describe_objects
from robustvit.data.overlap import check_overlap, hash_photos, leave_out_copies
from robustvit.data.photo import Photo
from robustvit.data.selection import Selection, balance_classes, select_photos, selection_text
from robustvit.models.classifier import Classifier


@dataclass(frozen=True)
class SelectionSettings:
    """Which photos a run takes; see ``select_photos`` for the first four.

    Attributes:
        balanced: train on equally many photos of every class.
        halve: without photos to test on, split the photos held out: one half chooses the epoch, the other judges. Only
            a run of an older version is resumed with all of them for both.
        older: a run that an older version started is resumed: its photos stay as they are, copies or not.
        order: outputs of the classes by name, of the run that is resumed, for a head without names.
        negatives: what photos without an object train; with ``none`` they are left out of training.
        leave_out: groups whose photos only judge.
    """

    samples_per_class: int
    classes: Classes
    validation_per_class: int
    seed: int
    balanced: bool = False
    halve: bool = True
    older: bool = False
    order: Mapping[str, int] = field(default_factory=dict)
    negatives: Negatives = "classification"
    leave_out: Sequence[str] | str | None = None


@dataclass(frozen=True)
class RunPhotos:
    """Photos of a run.

    Attributes:
        train: photos to train on.
        validation: photos held out to choose the epoch.
        verdict: photos held out to measure before and after.
        notes: for readers of the verdict.
        prints: fingerprints of all photos, by file.
        object_classes: labels of the training photos that show an object.
        read: the validation photos and those of the verdict as the model sees them, by these names.
        groups: number of photos of each group among those that could train.
    """

    train: list[Photo]
    validation: list[Photo]
    verdict: list[Photo]
    notes: list[str]
    prints: dict[Path, Fingerprint]
    object_classes: tuple[int, ...] = ()
    read: dict[str, MaskedPhotos] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

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

    ``labelled`` says whether true labels are needed; if they are not and some photo has none, ``predict`` labels all
    photos with the model's predictions.
    """
    notes: list[str] = []
    given = find_given(sources, classifier, settings.order, labelled, predict, notes)
    if settings.leave_out:
        given = leave_groups_out(given, settings.leave_out, notes)
    train, validation, verdict, prints = _divide(given, settings, notes)
    notes += _describe_judging(validation, verdict)
    check_overlap(train, validation, verdict, prints, notes, older=settings.older)
    see = partial(see_photos, model=classifier, mask_format=sources.mask_format)
    read = {"validation": see(validation)}
    read["verdict"] = read["validation"] if verdict is validation else see(verdict)
    training = check_objects(see(train))
    checks = [*training, *(check for data in dict.fromkeys(read.values()) for check in check_objects(data))]
    trained = _drop_negatives(training, settings.negatives)
    for note in describe_objects(checks, classifier.preprocessing, _describe_negatives(training, settings.negatives)):
        add_note(note, notes)
    objects = sorted({one.photo.label for one in training if not one.empty and one.photo.label is not None})
    counts = count_groups(given.photos)
    if unseen := sorted(set(counts) - set(count_groups(trained))):
        more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
        few = f"--samples-per-class {settings.samples_per_class} draws without regard to groups"
        add_note(f"No photo of these groups was trained on: {'; '.join(unseen[:5])}{more} ({few}).", notes)
    return RunPhotos(trained, validation, verdict, notes, prints, tuple(objects), read, counts)


def _divide(
    given: FoundPhotos, settings: SelectionSettings, notes: list[str]
) -> tuple[list[Photo], list[Photo], list[Photo], dict[Path, Fingerprint]]:
    """Return the photos that train, that choose the epoch and that judge, and the fingerprints of all of them."""
    selection = select_photos(
        given.photos,
        samples_per_class=settings.samples_per_class,
        classes=settings.classes,
        validation=given.validation,
        validation_per_class=settings.validation_per_class,
        seed=settings.seed,
    )
    _name_unused(given, selection, settings)
    train = _balance(selection.train, notes) if settings.balanced else selection.train
    validation, verdict = selection.validation, given.verdict
    prints = hash_photos([*train, *validation, *(verdict or ())])
    if given.validation is None and not settings.older:
        validation = leave_out_copies(validation, train, prints, notes)
    if verdict is None:
        validation, verdict = _halve(validation, notes) if settings.halve else (validation, validation)
    return train, validation, verdict, prints


def _name_unused(given: FoundPhotos, selection: Selection, settings: SelectionSettings) -> None:
    """Print how many photos neither train nor are held out."""
    found = {photo.image for photo in given.photos}
    held_out = selection.validation if given.validation is None else []
    unused = found - {photo.image for photo in [*selection.train, *held_out]}
    if unused:
        limits = f"trains on up to {pluralize(settings.samples_per_class, 'photo')} per class (--samples-per-class)"
        if given.validation is None:
            limits += f" and holds out up to {settings.validation_per_class} (--validation-per-class)"
        warn(f"{len(unused)} of {pluralize(len(found), 'photo')} not used: this run {limits}.")


def _describe_judging(validation: Sequence[Photo], verdict: Sequence[Photo]) -> list[str]:
    """Return notes for readers of the verdict on the photos that judge."""
    notes = []
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
    return notes


def _drop_negatives(checks: Sequence[ObjectCheck], negatives: Negatives) -> list[Photo]:
    """Return the photos to train on; refuse photos of which none shows an object."""
    if not any(one.photo.mask is not None or one.photo.no_object for one in checks):
        return [one.photo for one in checks]  # nothing has a mask: regions alone are guided
    if all(one.empty for one in checks):
        if black := [one.photo.mask for one in checks if one.photo.mask is not None and not one.photo.no_object]:
            raise UserError(
                f"expected training photos that show an object, but none of {pluralize(len(black), 'mask')} has a "
                f"pixel on one, such as {black[0]}: check how the masks were saved"
            )
        raise UserError(
            "expected training photos that show an object, found none: train on other classes as well (--classes)"
        )
    return [one.photo for one in checks if not one.empty or negatives != "none"]


def _describe_negatives(checks: Sequence[ObjectCheck], negatives: Negatives) -> str:
    """Return a sentence on the use of training photos without an object."""
    count = sum(one.empty for one in checks)
    of_them, s = f"{pluralize(count, 'training photo')} of them", "s" if count == 1 else ""
    return {
        "classification": f"{of_them} train{s} the classification alone",
        "uniform": f"{of_them} train{s} the classification, and even{s} out the maps of classes that have objects",
        "none": f"{of_them} {'is' if count == 1 else 'are'} left out of training",
    }[negatives] + f" (--negatives {negatives})."


def _balance(photos: Sequence[Photo], notes: list[str]) -> list[Photo]:
    kept = balance_classes(photos)
    if left_out := len(photos) - len(kept):
        each = pluralize(len(kept) // len({photo.class_name for photo in kept}), "photo")
        add_note(f"Classes were balanced: trained on {each} of each, {left_out} of larger classes left out.", notes)
    return kept


def _halve(photos: list[Photo], notes: list[str]) -> tuple[list[Photo], list[Photo]]:
    """Split photos into those that choose the epoch and those that judge, alternately within each class and group.

    The first of each judges; classes and groups of a single photo alternate too.
    """
    counts = Counter((photo.class_name, photo.group) for photo in photos)
    singles = [name for name, count in counts.items() if count == 1]
    seen = Counter({name: 1 for name in singles[1::2]})
    halves: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        kind = photo.class_name, photo.group
        seen[kind] += 1
        halves[seen[kind] % 2 == 1].append(photo)
    if not halves[0]:
        raise UserError(
            "expected at least two photos to hold out, one to choose or fit and one to judge, found 1: give "
            "--test-images"
        )
    if len(halves[1]) < MIN_PHOTOS:
        notes.append(
            f"Of {len(photos)} photos held out, {len(halves[0])} are for validation and {len(halves[1])} for the test. "
            f"With fewer than {MIN_PHOTOS} no gain can be shown: give more with --test-images and --test-masks."
        )
    return halves
