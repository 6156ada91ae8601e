"""The photos that a new last layer is fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from robustvit.common.errors import UserError
from robustvit.common.options import Balance
from robustvit.data.gather import RunPhotos
from robustvit.data.photo import Photo


def photos_to_fit(gathered: RunPhotos, classes: int, balance: Balance = "background") -> list[Photo]:
    """Choose the photos to fit a new head on: held-out photos, except those that judge.

    If a class has fewer than two of them, or a class of a group with ``balance="group"``, the training photos are
    added. Classes of a group that still have a single photo are left out, and named in the run's notes.
    """
    judged = {photo.image.resolve() for photo in gathered.verdict}
    photos = [photo for photo in gathered.validation if photo.image.resolve() not in judged]
    if _fewest(photos, classes) < 2:
        photos += gathered.train
    if balance == "group":
        photos = _grouped(photos, gathered)
    if (fewest := _fewest(photos, classes)) < 2:
        raise UserError(
            f"expected at least two photos of each of the model's {classes} classes that do not judge, for --guidance "
            f"dfr, which makes a new head; a class has {fewest}: give more photos, or use --guidance last-layer"
        )
    return photos


def _grouped(photos: list[Photo], gathered: RunPhotos) -> list[Photo]:
    """Return photos of known groups, at least two of each class of each group."""
    there = {photo.image for photo in photos}
    train = [photo for photo in gathered.train if photo.image not in there]
    counts = Counter(map(cell_of, photos))
    if any(counts[cell_of(photo)] < 2 for photo in [*photos, *train] if photo.group is not None):
        photos = [*photos, *train]
        counts = Counter(map(cell_of, photos))
    if not any(photo.group is not None for photo in photos):
        raise UserError("expected groups for --balance group, found none: name their column or folders with --group-by")
    kept = [photo for photo in photos if photo.group is not None and counts[cell_of(photo)] > 1]
    cells = set(map(cell_of, kept))
    if lost := sorted({f"{photo.class_name} of {photo.group}" for photo in photos if cell_of(photo) not in cells}):
        line = f"Not used for the new head, with fewer than two photos or of no group: {', '.join(lost[:10])}."
        if line not in gathered.notes:
            gathered.notes.append(line)
    return kept


def cell_of(photo: Photo) -> tuple[str | None, int | None]:
    """Return group and class of a photo; a balanced subset has equally many photos of each such pair."""
    return photo.group, photo.label


def _fewest(photos: Sequence[Photo], classes: int) -> int:
    counts = Counter(photo.label for photo in photos)
    return min(counts[label] for label in range(classes))
