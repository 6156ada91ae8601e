"""The inputs of an audit: photos with classes and masks, and masks from TokenCut if none are given."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from robustvit.audits.options import AuditRequest
from robustvit.common.errors import UserError, options_called
from robustvit.common.photo_options import GivenPhotos
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.find_photos import MaskRules, expect_classes, find_photos
from robustvit.data.manifest import NO_OBJECT
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.overlap import note_copies
from robustvit.data.photo import Photo
from robustvit.data.pixels import Pixels
from robustvit.data.several_labels import describe_labels, match_photos, note_absent
from robustvit.data.trained_photos import photos_behind
from robustvit.masks.make import MadeMasks, make_masks
from robustvit.masks.options import TOKENCUT_BACKBONE
from robustvit.models.classifier import Classifier

WEAKER = (
    "Findings with found masks are weaker: a mask that takes background along, or leaves parts of the object out, "
    "hides some of the cost of a wrong background (in a test, masks whose overlap with exact ones was 0.5 to 0.8 "
    "showed 60 to 92 % of it), and relevance on the object is relevance on the mask. A verdict near a limit may be "
    "another one with drawn masks."
)


def find_audit_photos(request: AuditRequest, page: Path, classifier: Classifier) -> tuple[list[Photo], list[str]]:
    """Find the photos of an audit, and make masks if none are given.

    Args:
        request: what is asked for.
        page: HTML file of the audit; masks that are made go beside it.
        classifier: the model, to whose classes the photos' classes are matched.

    Returns:
        Photos with masks and labels, and notes on them for the reader.
    """
    given = request.photos.or_else(classifier.pixels)
    images, masks, notes = given.images, given.masks, []
    unread: list[str] = []
    several = classifier.head_kind == "multi-label"
    rules = MaskRules(several=several)
    plain = find_photos(
        images, labelled=False, pixels=Pixels.of(given), columns=given.columns, notes=unread, rules=rules
    )
    for note in unread:
        warn(note)
    if not several:
        expect_classes(plain, images, "an audit compares answers with classes")
    matched = match_photos(plain, classifier)
    _check_classes(matched)
    if request.auditing.without_masks:
        notes += unread
        note_copies([photo.image for photo in matched], notes)
        return [replace(photo, mask=None) for photo in matched], notes
    if several and masks is None and not any(photo.mask for photo in plain):
        raise UserError(
            f"expected masks for the photos of several labels in {images}, found none, and none are made, as a finder "
            "marks one object a photo: name --masks, or audit with --without-masks"
        )
    if masks is None and not any(photo.mask for photo in plain):
        made, masks = _make_masks(request, given, page)
        notes.append(_made_note(made, request))
    skip = given.skip_unmasked or masks != given.masks
    listed, left_out = find_usable_photos(replace(given, masks=masks, skip_unmasked=skip), several=several)
    notes += left_out if masks == given.masks else unread  # the note on made masks already names the doubtful ones
    note_copies([photo.image for photo in listed], notes)
    photos = match_photos(listed, classifier)
    _check_classes(photos)
    notes += describe_labels(photos)
    note_absent(photos, classifier, notes)
    return photos, notes


def _check_classes(photos: list[Photo]) -> None:
    names = sorted({str(photo.class_name) for photo in photos})
    if len({photo.label for photo in photos}) < 2:
        raise UserError(
            f"expected photos of at least two classes, found only {names[0]!r}: one class is compared with others"
        )


_NOT_OF_MASKS = ("group_by", "label_separator")  # columns of a list that say nothing about masks


def _make_masks(request: AuditRequest, given: GivenPhotos, page: Path) -> tuple[MadeMasks, str]:
    images, found = request.photos.images, request.found
    folder = found.masks_out or str(page.with_name(f"{page.stem}-masks"))
    finding = {name.removeprefix("mask_"): value for name, value in asdict(found).items() if name != "masks_out"}
    called = {"--out": "--masks-out"} | {f"--{name}": f"--mask-{name}" for name in finding}
    columns = {name: value for name, value in asdict(given.columns).items() if name not in _NOT_OF_MASKS}
    photos = columns | {name: getattr(given, name) for name in ("range", "alpha", "no_object")}
    running = {"workers": request.running.workers, "device": request.running.device}
    try:
        with options_called(called):
            made = make_masks(images, out=folder, **finding, **photos, **running)
    except UserError as error:
        audited = request.settings["model"] if found.mask_model is None else None
        own = f"--mask-model {audited} finds them with" if isinstance(audited, str) else "--mask-model names"
        model = "the audited model" if isinstance(audited, str) else "another backbone"
        raise UserError(
            f"no masks were given, and none could be found: {error} (--masks names existing ones, {own} {model})"
        ) from error
    return made, folder


def _made_note(made: MadeMasks, request: AuditRequest) -> str:
    counts = {name: sum(record.verdict == name for record in made.records) for name in ("good", "doubtful", "none")}
    backbone = request.found.mask_model or TOKENCUT_BACKBONE
    named = sum(record.verdict == NO_OBJECT for record in made.records)
    none = f"{pluralize(named, 'photo')} that --no-object names, " if named else ""
    use = "used" if request.photos.doubtful else "left out"
    used = ("good", "doubtful") if request.photos.doubtful else ("good",)
    sure = [record.confidence for record in made.records if record.verdict in used]
    mean = f" Their mean confidence is {sum(sure) / len(sure):.2f} of 1." if sure else ""
    return (
        f"No masks were given: TokenCut found them with {backbone} ({counts['good']} good, {counts['doubtful']} "
        f"doubtful and {use}, {none}{pluralize(counts['none'], 'photo')} without an object and left out, "
        f"{len(made.problems)} that could not be used). "
        f"The audit is only as good as these masks: check them in {made.folder}.{mean} {WEAKER}"
    )


def trained_on(photos: list[Photo], *sources: object) -> list[str]:
    """Return notes on photos that the models were trained on; they are audited nevertheless.

    Args:
        photos: of the audit.
        sources: models and checkpoints as the user gave them.
    """
    seen = photos_behind(*sources).among([photo.image for photo in photos])
    return seen.notes("audit photos that it has not seen")
