"""The photos of an audit, with classes and masks; TokenCut makes the masks if none are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustvit.audits.options import AuditRequest
from robustvit.common.errors import UserError, rename_options
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
    "Findings with automatic masks are weaker: a mask that includes background, or misses parts of the object, hides "
    "some of the cost of a wrong background (in a test, masks whose overlap with exact ones was 0.5 to 0.8 showed 60 "
    "to 92 % of it), and relevance on the object means relevance on the mask. A verdict near a limit may differ with "
    "drawn masks."
)


def find_audit_photos(request: AuditRequest, page: Path, classifier: Classifier) -> tuple[list[Photo], list[str]]:
    """Find the photos of an audit with masks and labels, and notes on them for the reader.

    Without masks some are made, beside ``page``. The photos' classes are matched to those of ``classifier``.
    """
    given = request.photos.or_else(classifier.pixels)
    several = classifier.head_kind == "multi-label"
    unread: list[str] = []
    plain = find_photos(
        given.images, labelled=False, pixels=Pixels.of(given), columns=given.columns, notes=unread,
        rules=MaskRules(several=several),
    )  # fmt: skip
    for note in unread:
        warn(note)
    if not several:
        expect_classes(plain, given.images, "an audit compares answers with classes")
    matched = match_photos(plain, classifier)
    _expect_two_classes(matched)
    if request.auditing.without_masks:
        note_copies([photo.image for photo in matched], unread)
        return [replace(photo, mask=None) for photo in matched], unread
    listed, notes = _find_masked(request, given, page, several, any(photo.mask for photo in plain), unread)
    note_copies([photo.image for photo in listed], notes)
    photos = match_photos(listed, classifier)
    _expect_two_classes(photos)
    notes += describe_labels(photos)
    note_absent(photos, classifier, notes)
    return photos, notes


def _find_masked(
    request: AuditRequest, given: GivenPhotos, page: Path, several: bool, listed: bool, unread: list[str]
) -> tuple[list[Photo], list[str]]:
    """Find photos with masks, and make the masks if neither ``given`` nor the list of photos (``listed``) names any."""
    if given.masks is not None or listed:
        if given.masks is None:
            request.found.expect_none(f"{given.images} lists some")
        return find_usable_photos(given, several=several)
    if several:
        raise UserError(
            f"expected masks for the photos of several labels in {given.images}, found none, and none can be made, as "
            "TokenCut marks one object per photo: name --masks, or audit with --without-masks"
        )
    made = _make_masks(request, given, page)
    photos, _ = find_usable_photos(replace(given, masks=str(made.folder), skip_unmasked=True))
    return photos, [_describe_made(made, request), *unread]  # it names the doubtful ones already


def _expect_two_classes(photos: list[Photo]) -> None:
    names = sorted({str(photo.class_name) for photo in photos})
    if len({photo.label for photo in photos}) < 2:
        raise UserError(
            f"expected photos of at least two classes, found only {names[0]!r}: a class is compared with others"
        )


def _make_masks(request: AuditRequest, given: GivenPhotos, page: Path) -> MadeMasks:
    found, running = request.found, request.running
    finding = {name.removeprefix("mask_"): value for name, value in vars(found).items() if name != "masks_out"}
    columns = vars(replace(given.columns, label_separator=None)).items()  # masks are of one class
    options = finding | {name: value for name, value in columns if name != "group_by"}
    options |= {name: getattr(given, name) for name in ("range", "alpha", "no_object")}
    options |= {"workers": running.workers, "device": running.device}
    try:
        with rename_options({"--out": "--masks-out"} | {f"--{name}": f"--mask-{name}" for name in finding}):
            return make_masks(given.images, out=found.masks_out or str(page.with_name(f"{page.stem}-masks")), **options)
    except UserError as error:
        audited = request.settings["model"] if found.mask_model is None else None
        finder = f"--mask-model {audited} finds them with" if isinstance(audited, str) else "--mask-model names"
        model = "the audited model" if isinstance(audited, str) else "another backbone"
        raise UserError(
            f"no masks were given, and none could be found: {error} (--masks names existing ones, {finder} {model})"
        ) from error


def _describe_made(made: MadeMasks, request: AuditRequest) -> str:
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
    """Return notes on photos that these models or checkpoints were trained on; they are audited nevertheless."""
    seen = photos_behind(*sources).among([photo.image for photo in photos])
    return seen.notes("audit photos that it has not seen")
