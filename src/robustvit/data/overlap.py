"""Copies between training and held-out photos: left out, refused or reported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.data.duplicates import Copies, Fingerprint, find_copies, fingerprints, same_files, same_pixels
from robustvit.data.notes import add_note, name_pairs
from robustvit.data.photo import Photo

_ROBOFLOW = re.compile(r"\.rf\.[0-9A-Za-z]{16,}$")

Prints = Mapping[Path, Fingerprint]


def hash_photos(photos: Sequence[Photo]) -> dict[Path, Fingerprint]:
    """Return the fingerprint of every photo, by its file."""
    files = list(dict.fromkeys(photo.image for photo in photos))
    return dict(zip(files, fingerprints(files), strict=True))


def leave_out_copies(pool: Sequence[Photo], train: Sequence[Photo], prints: Prints, notes: list[str]) -> list[Photo]:
    """Return the photos of a pool that are not copies of training photos or of one another.

    Training and held-out photos come from one folder here, so nobody chose to put a copy on both sides. Files with the
    same bytes and photos that look the same are left out; a note has their number.
    """
    own = [prints[photo.image] for photo in pool]
    trained = find_copies(own, [prints[photo.image] for photo in train]).either
    another = find_copies(own, own, earlier=True).either
    pairs = {index: train[other].image for index, other in trained.items()}
    pairs |= {index: pool[other].image for index, other in another.items() if index not in trained}
    kept = [photo for index, photo in enumerate(pool) if index not in pairs]
    if not kept:
        raise UserError(
            f"expected photos to hold out, but all {len(pool)} are copies of photos trained on, such as "
            f"{pool[0].image} of {pairs[0]}: add photos that differ, or name others with --val-images"
        )
    if pairs:
        named = name_pairs({pool[index].image: other for index, other in pairs.items()})
        add_note(f"Photos left out as copies of others: {len(pairs)} ({named}).", notes)
    return kept


def check_overlap(
    train: Sequence[Photo],
    validation: Sequence[Photo],
    verdict: Sequence[Photo],
    prints: Prints,
    notes: list[str],
    *,
    older: bool = False,
) -> None:
    """Refuse photos that are both trained on and held out, and note those that look the same.

    ``validation`` photos choose the epoch and ``verdict`` photos judge; ``prints`` has the fingerprints of all. If a
    run of an ``older`` version is resumed, copies under other names are noted, not refused.
    """
    held = list(dict.fromkeys([*validation, *verdict]))
    copies = _find_copies(held, train, prints)
    for index, other in copies.either.items():
        ours, theirs = held[index].image, train[other].image
        equal = index in copies.same or same_pixels(ours, theirs)
        if equal and (not older or ours.resolve() == theirs.resolve()):
            _refuse(ours, theirs)
    if found := _describe(copies, held, train):
        text = f"Validation or test photos that look like photos trained on: {found}; the verdict may be too good."
        add_note(text, notes)
    if augmented := _find_augmented(held, train):
        add_note(f"Validation or test photos made from photos trained on, by their names: {augmented}.", notes)
    note_copies([photo.image for photo in verdict], notes)
    chosen = {photo.image.resolve() for photo in validation}
    if any(photo.image.resolve() in chosen for photo in verdict):
        return  # another note says so
    if found := _describe(_find_copies(verdict, validation, prints), verdict, validation):
        add_note(f"Photos to judge by that look like photos that choose the epoch: {found}.", notes)


def note_copies(photos: Sequence[Path], notes: list[str]) -> None:
    """Say how many photos to judge by are the same files as others among them."""
    if copies := same_files(photos):
        named = name_pairs({photos[index]: photos[other] for index, other in copies.items()})
        add_note(f"Photos that are the same file as another one here, and count again: {len(copies)} ({named}).", notes)


def _find_augmented(held: Sequence[Photo], train: Sequence[Photo]) -> str:
    """Name held-out photos that Roboflow made from the same photo as one trained on: ``a_jpg.rf.HASH.jpg``."""
    made_from = {_ROBOFLOW.sub("", photo.image.stem): photo.image for photo in train}
    pairs = {
        photo.image: made_from[name]
        for photo in held
        if (name := _ROBOFLOW.sub("", photo.image.stem)) in made_from and name != photo.image.stem
    }
    return f"{len(pairs)} ({name_pairs(pairs)}); the verdict may be too good" if pairs else ""


def _find_copies(photos: Sequence[Photo], known: Sequence[Photo], prints: Prints) -> Copies:
    return find_copies([prints[photo.image] for photo in photos], [prints[photo.image] for photo in known])


def _refuse(held: Path, trained: Path) -> None:
    where = "name folders for validation and test without it"
    if held.resolve() == trained.resolve():
        raise UserError(f"{held} would be trained on and held out: {where}")
    what = "the same file" if held.stat().st_size == trained.stat().st_size else "the same picture"
    raise UserError(f"{held} is {what} as {trained}, which would be trained on and held out: {where}")


def _describe(copies: Copies, photos: Sequence[Photo], known: Sequence[Photo]) -> str:
    """Return the number of copies and the first few of them; empty if there are none."""
    named = name_pairs({photos[index].image: known[other].image for index, other in copies.either.items()})
    return f"{len(copies.either)} ({named})" if copies.either else ""
