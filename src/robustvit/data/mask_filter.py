"""Filtering photos by the verdict on their mask, in the manifest or by a person."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from robustvit.common.photo_options import PhotoOptions
from robustvit.common.wording import pluralize
from robustvit.data.find_photos import MaskRules, find_photos
from robustvit.data.manifest import MANIFEST, NO_OBJECT, MaskRecord, is_mask_folder, read_manifest
from robustvit.data.mask_doubts import check_masks
from robustvit.data.matching import compose
from robustvit.data.no_object import refuse_lost_classes
from robustvit.data.notes import short_place
from robustvit.data.photo import Photo
from robustvit.data.pixels import Pixels
from robustvit.data.review import Review
from robustvit.data.tables.source import split_part

_REASONS = {
    "dropped": "dropped in the review",
    "doubtful": "with a doubtful mask",
    "none": "in which no object was found",
}


class MaskFilter:
    """Decides whether to use a photo, and counts photos that are left out.

    A review decides first, then the manifest: doubtful masks are left out unless asked for. Photos that neither
    mentions are used.

    Args:
        images: as given to ``find_photos``; as is ``masks``.
        doubtful: use doubtful masks.
        review: decisions of a person.

    Attributes:
        left_out: number of photos left out, by reason.
        by_class: the same for each class; None counts the photos that are used.
    """

    def __init__(
        self, images: str | Path, masks: str | Path | None, *, doubtful: bool = False, review: Review | None = None
    ) -> None:
        manifest = Path(split_part(images)[0]) if masks is None else _find_manifest(Path(masks))
        known = manifest.name.endswith(".csv") and manifest.is_file() and _has_verdicts(manifest)
        self._by_mask: dict[Path, MaskRecord] = {}
        self._by_image: dict[tuple[Path, str | None], MaskRecord] = {}
        for record in read_manifest(manifest) if known else []:
            if record.mask is not None:
                self._by_mask[record.mask.resolve()] = record
            label = None if record.label is None else compose(record.label)
            self._by_image[record.image.resolve(), label] = record
        self.doubtful, self.review, self.where = doubtful, review, short_place(images)
        self.left_out: Counter[str] = Counter()
        self._counted: set[tuple[str, Path]] = set()
        self.by_class: defaultdict[str | None, Counter[str | None]] = defaultdict(Counter)

    def __call__(self, photo: Photo) -> bool:
        """Whether to use a photo."""
        kept = None if self.review is None else self.review.keeps(photo.image)
        reason = "dropped"
        if kept is None:
            record = self._record(photo)
            reason = "good" if record is None or photo.no_object else record.verdict
        fine = kept or reason in ("good", NO_OBJECT) or (reason == "doubtful" and self.doubtful)
        if not fine and (reason, photo.image) not in self._counted:  # once for several labels
            self._counted.add((reason, photo.image))
            self.left_out[reason] += 1
        self.by_class[photo.class_name][None if fine else reason] += 1
        return fine

    def refuse_lost_classes(self) -> None:
        """Refuse to leave out all photos of a class."""
        lost = {name: counts for name, counts in self.by_class.items() if name is not None and not counts[None]}
        if not lost:
            return
        name, counts = min(lost.items())
        ways = {
            "dropped": "keep some in the review",
            "doubtful": "use the doubtful ones with --doubtful",
            "none": f"say --no-object {name} if they show no object",
        }
        parts = [f"{counts[reason]} {words}" for reason, words in _REASONS.items() if counts[reason]]
        fixes = [way for reason, way in ways.items() if counts[reason] or reason == "none"]
        refuse_lost_classes(
            {name: counts.total() for name, counts in lost.items()},
            f"because of their masks ({', '.join(parts)})",
            f"{', '.join(fixes)}, or leave the class out of the photos",
        )

    def _record(self, photo: Photo) -> MaskRecord | None:
        if photo.mask is not None:  # a mask that is not in the manifest was added by a person
            return self._by_mask.get(photo.mask.resolve())
        return self._by_image.get((photo.image.resolve(), photo.class_name))

    @property
    def note(self) -> str:
        """A sentence on what was left out; empty if nothing was."""
        parts = [f"{self.left_out[name]} {words}" for name, words in _REASONS.items() if self.left_out[name]]
        if not parts:
            return ""
        way = " (--doubtful uses the doubtful ones)" if self.left_out["doubtful"] else ""
        count = pluralize(sum(self.left_out.values()), "photo")
        return f"{count} of {self.where} left out: {', '.join(parts)}{way}."


def find_usable_photos(
    given: PhotoOptions,
    *,
    labelled: bool = True,
    review: Review | None = None,
    further: bool = False,
    several: bool = False,
) -> tuple[list[Photo], list[str]]:
    """Find photos, without those whose masks should not be used, and check the masks; see ``find_photos``.

    Returns:
        The photos, and notes on files and photos that were left out and on doubts about the masks.
    """
    keep = MaskFilter(str(given.images), given.masks, doubtful=given.doubtful, review=review)
    notes: list[str] = []
    photos = find_photos(
        str(given.images),
        given.masks,
        labelled=labelled,
        rules=MaskRules(
            skip_unmasked=given.skip_unmasked, no_object=given.no_object, further=further, keep=keep, several=several
        ),
        pixels=Pixels.of(given),
        columns=given.columns,
        notes=notes,
    )
    keep.refuse_lost_classes()
    return photos, [*notes, *([keep.note] if keep.note else []), *check_masks(photos, given.mask_format)]


def _find_manifest(masks: Path) -> Path:
    """Return the manifest of a folder of masks, or that of a parent folder made in one call (train and test)."""
    place = masks.absolute()
    whole = next((folder for folder in place.parents if is_mask_folder(folder)), place)
    return (place if (place / MANIFEST).is_file() else whole) / MANIFEST


def _has_verdicts(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return "verdict" in file.readline().strip().split(",")
