"""Copies between training and held-out photos: left out, refused or reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.data.duplicates import Copies, Fingerprint, find_copies, fingerprints
from robustvit.data.find_photos import Photo
from robustvit.data.trained_photos import pairs_named

Prints = Mapping[Path, Fingerprint]


def hash_photos(photos: Sequence[Photo]) -> dict[Path, Fingerprint]:
    """Return the fingerprint of every photo, by its file."""
    files = list(dict.fromkeys(photo.image for photo in photos))
    return dict(zip(files, fingerprints(files), strict=True))


def without_copies(pool: Sequence[Photo], train: Sequence[Photo], prints: Prints, notes: list[str]) -> list[Photo]:
    """Return the photos of a pool that are not copies of training photos or of one another.

    Training and held-out photos come from one folder here, so nobody chose to put a copy on both sides. Files with the
    same bytes and photos that look the same are left out; their number is added to ``notes``.
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
        named = _name_pairs({pool[index].image: other for index, other in pairs.items()})
        _add_note(f"Photos left out as copies of others: {len(pairs)} ({named}).", notes)
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
    """Refuse photos that are both trained on and held out, and report those that look the same.

    Args:
        train: photos to train on.
        validation: photos that choose the epoch.
        verdict: photos that judge.
        prints: of all photos.
        notes: list that lines are added to.
        older: whether a run of an older version is resumed: copies under other names are then reported, not refused.
    """
    held = list(dict.fromkeys([*validation, *verdict]))
    copies = _find_copies(held, train, prints)
    for index, other in copies.same.items():
        if not older or held[index].image.resolve() == train[other].image.resolve():
            _refuse(held[index].image, train[other].image)
    if copies.either:
        named = _name_pairs({held[index].image: train[other].image for index, other in copies.either.items()})
        _add_note(
            f"Held-out photos that look like photos trained on: {len(copies.either)} ({named}); the verdict may be too "
            "good.",
            notes,
        )
    chosen = {photo.image.resolve() for photo in validation}
    if any(photo.image.resolve() in chosen for photo in verdict):
        return  # another note says so
    if again := _find_copies(verdict, validation, prints).either:
        named = _name_pairs({verdict[index].image: validation[other].image for index, other in again.items()})
        _add_note(f"Photos to judge by that look like photos that choose the epoch: {len(again)} ({named}).", notes)


def _find_copies(photos: Sequence[Photo], known: Sequence[Photo], prints: Prints) -> Copies:
    return find_copies([prints[photo.image] for photo in photos], [prints[photo.image] for photo in known])


def _refuse(held: Path, trained: Path) -> None:
    where = "name folders for validation and test without it"
    if held.resolve() == trained.resolve():
        raise UserError(f"{held} would be trained on and held out: {where}")
    raise UserError(f"{held} is the same file as {trained}, which would be trained on and held out: {where}")


def _name_pairs(pairs: Mapping[Path, Path]) -> str:
    return pairs_named(dict(enumerate(range(len(pairs)))), list(pairs), list(pairs.values()))


def _add_note(text: str, notes: list[str]) -> None:
    notes.append(text)
    warn(text)
