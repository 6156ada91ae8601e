"""What an audit is given: photos with classes and masks, masks found where there are none, backgrounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from robustvit.audits.options import AuditRequest
from robustvit.common.errors import UserError
from robustvit.common.wording import counted
from robustvit.data.labels import match_labels
from robustvit.data.mask_filter import find_usable_photos
from robustvit.data.pairs import Photo, expect_classes, find_photos
from robustvit.data.trained_photos import photos_behind
from robustvit.masks.make import MadeMasks, make_masks
from robustvit.models.classifier import Classifier


def find_audit_photos(request: AuditRequest, page: Path, classifier: Classifier) -> tuple[list[Photo], list[str]]:
    """Find the photos of an audit, and their masks where none are given.

    Args:
        request: what is asked for.
        page: HTML file of the audit; masks that are found go beside it.
        classifier: the model, whose classes the photos' classes are matched to.

    Returns:
        Photos with masks and labels, and a line for each thing that a reader must know of them.
    """
    given = request.photos
    images, masks, notes = given.images, given.masks, []
    plain = find_photos(images, labelled=False)
    expect_classes(plain, images, "an audit compares answers with classes")
    _check_classes(match_labels(plain, classifier.num_classes, classifier.class_names))
    if masks is None and not any(photo.mask for photo in plain):
        made, masks = _make_masks(request, page)
        notes.append(_made_note(made, request))
    skip = given.skip_unmasked or masks != given.masks
    listed, left_out = find_usable_photos(replace(given, masks=masks, skip_unmasked=skip))
    if masks == given.masks:  # the note on masks that were made says it already
        notes += left_out
    photos = match_labels(listed, classifier.num_classes, classifier.class_names)
    _check_classes(photos)
    return photos, notes


def _check_classes(photos: list[Photo]) -> None:
    names = sorted({str(photo.class_name) for photo in photos})
    if len({photo.label for photo in photos}) < 2:
        raise UserError(
            f"expected photos of at least two classes, found only {names[0]!r}: backgrounds are swapped between classes"
        )


def _make_masks(request: AuditRequest, page: Path) -> tuple[MadeMasks, str]:
    images, found = request.photos.images, request.found
    if Path(images).suffix.lower() == ".csv":
        raise UserError(f"expected a column 'mask' in {images}: masks are found for folders of photos only")
    folder = found.masks_out or str(page.with_name(f"{page.stem}-masks"))
    try:
        made = make_masks(
            images,
            out=folder,
            model=found.mask_model,
            checkpoint=found.mask_checkpoint,
            feature=found.mask_feature,
            centre=found.mask_centre,
            threshold=found.mask_threshold,
            size=found.mask_size,
            workers=request.running.workers,
            device=request.running.device,
        )
    except UserError as error:
        raise UserError(
            f"no masks were given, and none could be found: {error} (the backbone that finds masks has the options "
            "--mask-model and --mask-checkpoint; --masks names masks that are there)"
        ) from error
    return made, folder


def _made_note(made: MadeMasks, request: AuditRequest) -> str:
    counts = {name: sum(record.verdict == name for record in made.records) for name in ("good", "doubtful", "none")}
    backbone = request.found.mask_model or "vit_small_patch16_224.dino"
    use = "used" if request.photos.doubtful else "left out"
    return (
        f"No masks were given: TokenCut found them with {backbone} ({counts['good']} good, {counts['doubtful']} "
        f"doubtful and {use}, {counted(counts['none'], 'photo')} without an object and left out, "
        f"{len(made.problems)} that could not be used). "
        f"The audit is only as good as these masks: look them over in {made.folder}."
    )


def trained_on(photos: list[Photo], *sources: Any) -> list[str]:
    """What must be said of photos that the models' runs were trained on; they are audited all the same.

    Args:
        photos: of the audit.
        sources: models and checkpoints as a user names them.
    """
    seen = photos_behind(*sources).among([photo.image for photo in photos])
    return seen.notes("audit photos that it has not seen")
