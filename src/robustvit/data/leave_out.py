"""Leaving a group out: its photos neither train the model nor choose anything, they only judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.wording import list_names, pluralize
from robustvit.data.given_photos import FoundPhotos
from robustvit.data.notes import add_note
from robustvit.data.photo import Photo


def leave_groups_out(found: FoundPhotos, asked: Sequence[str] | str, notes: list[str]) -> FoundPhotos:
    """Return the photos of a run in which some groups only judge.

    Photos of the groups ``asked`` for neither train nor validate, and only they judge. Photos of unknown group could be
    of these, and are not used.
    """
    known = {photo.group for photo in found.photos if photo.group is not None}
    names = _read_names(asked, known)
    rest = [photo for photo in found.photos if photo.group not in names]
    train = [photo for photo in rest if photo.group is not None]
    if not train:
        raise UserError("expected photos of other groups than those of --leave-out to train on, found none")
    given = found.photos if found.verdict is None else found.verdict
    judging = [photo for photo in given if photo.group in names]
    if not judging:
        raise UserError(
            f"expected photos of the group {names[0]} among those to test on (--test-images), found none: name the "
            "list or folder that has them, or leave --test-images out"
        )
    validation = found.validation and [
        photo for photo in found.validation if photo.group is not None and photo.group not in names
    ]
    if validation is not None and not validation:
        raise UserError("expected validation photos of other groups than those of --leave-out, found none: add some")
    line = (
        f"Left out: {', '.join(names)} ({pluralize(len(judging), 'photo')} to judge with), which neither trained the "
        "model nor chose the epoch."
    )
    if unknown := len(rest) - len(train):
        line += f" {pluralize(unknown, 'photo')} without a group are not used."
    add_note(line, notes)
    return replace(found, photos=train, validation=validation, verdict=judging)


def _read_names(asked: Sequence[str] | str, known: set[str]) -> list[str]:
    if not known:
        raise UserError("expected groups to leave one out, found none: name their column or folders with --group-by")
    names = [asked] if isinstance(asked, str) and asked in known else list_names(asked) or [""]  # which is refused
    for name in names:
        expect_one_of("--leave-out", name, sorted(known))
    return names


def count_groups(photos: Sequence[Photo]) -> dict[str, int]:
    """Return the number of photos of each group, by name; photos without a group do not count."""
    return dict(sorted(Counter(photo.group for photo in photos if photo.group is not None).items()))
