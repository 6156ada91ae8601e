"""Selecting photos to train on and photos to hold out: a few of each class, fixed by a seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustvit.common.csv_files import csv_text
from robustvit.common.errors import UserError, expect_one_of
from robustvit.common.files import encode_text
from robustvit.common.options import Classes
from robustvit.common.wording import list_names
from robustvit.data.duplicates import Fingerprint
from robustvit.data.photo import Photo


@dataclass(frozen=True)
class Selection:
    """Photos to train on and photos held out."""

    train: list[Photo]
    validation: list[Photo]


def choose_classes(names: Sequence[str], classes: Classes, seed: int) -> list[str]:
    """Choose the classes to train on: ``all``, a number, a fraction below 1, or a list of names."""
    names = sorted(names)
    if classes == "all":
        return names
    if isinstance(classes, str):
        classes = list_names(classes)
    if isinstance(classes, (list, tuple)):
        if not classes:
            raise UserError(f"expected at least one class in --classes, got none: choose out of {', '.join(names)}")
        for name in sorted(classes):
            expect_one_of("--classes", name, names)
        return sorted(classes)
    if isinstance(classes, float) and not (0 < classes <= 1 or classes.is_integer()):
        raise UserError(f"expected --classes as a share up to 1, or a whole number of classes, got {classes}")
    count = round(classes * len(names)) if isinstance(classes, float) and classes <= 1 else int(classes)
    if not 1 <= count <= len(names):
        raise UserError(f"expected --classes between 1 and the {len(names)} classes there are, got {classes}")
    return sorted(random.Random(seed).sample(names, count))


def select_photos(
    photos: Sequence[Photo],
    *,
    samples_per_class: int = 3,
    classes: Classes = "all",
    validation: Sequence[Photo] | None = None,
    validation_per_class: int = 20,
    seed: int = 0,
) -> Selection:
    """Choose photos to train on and, unless they are given, photos to hold out.

    One photo in five of every class, and at least one, is held out first; training takes up to ``samples_per_class``
    of the others, and the rest is held out too. Photos of classes that are not trained on are all held out, so that the
    measurement covers them.

    Args:
        photos: all photos; those without a class count as one class.
        samples_per_class: number of photos to train on, per chosen class.
        classes: see ``choose_classes``.
        validation: photos to hold out instead.
        validation_per_class: number of photos that are held out at most, per class.
        seed: fixes every choice.
    """
    if samples_per_class < 1 or validation_per_class < 1:
        raise UserError("expected --samples-per-class and --validation-per-class of at least 1")
    groups: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        groups[photo.class_name or ""].append(photo)
    chosen = choose_classes(list(groups), classes, seed)
    train: list[Photo] = []
    held_out: list[Photo] = []
    for name in sorted(groups):
        members = random.Random(encode_text(f"{seed} {name}")).sample(groups[name], len(groups[name]))
        reserved = 0 if validation is not None else max(1, len(members) // 5)
        taken = min(samples_per_class, len(members) - reserved) if name in chosen else 0
        if name in chosen and taken < 1:
            raise UserError(f"expected at least 2 photos of class {name!r} (one to train, one to hold out), found 1")
        train += members[:taken]
        held_out += members[taken:][:validation_per_class]
    if validation is not None:
        return Selection(train, list(validation))
    trained = {photo.image for photo in train}  # a photo of several classes may be listed for each
    return Selection(train, [photo for photo in held_out if photo.image not in trained])


def balance_classes(photos: Sequence[Photo]) -> list[Photo]:
    """Return the first photos of every class, as many as the smallest class has, in the same order."""
    counts = Counter(photo.class_name for photo in photos)
    taken: Counter[str | None] = Counter()
    kept, fewest = [], min(counts.values(), default=0)
    for photo in photos:
        taken[photo.class_name] += 1
        if taken[photo.class_name] <= fewest:
            kept.append(photo)
    return kept


def selection_text(splits: dict[str, Sequence[Photo]], prints: Mapping[Path, Fingerprint] | None = None) -> str:
    """Write the use of each photo as CSV: columns split, class, label, image, mask, sha256 and phash; group if any
    photo has one, and labels, joined by spaces, for photos of several. Without ``prints`` the hashes are empty.
    """
    every = [photo for members in splits.values() for photo in members]
    grouped, several = any(p.group is not None for p in every), any(p.labels is not None for p in every)
    more = [*["group"] * grouped, *["labels"] * several]
    rows: list[list[object]] = [["split", "class", "label", "image", "mask", "sha256", "phash", *more]]
    for split, members in splits.items():
        for p in members:
            own = (prints or {}).get(p.image, Fingerprint("", ""))
            named = [split, p.class_name or "", "" if p.label is None else p.label, p.image, p.mask or ""]
            labels = " ".join(map(str, p.labels or ()))
            rows.append([*named, own.content, own.look, *[p.group or ""] * grouped, *[labels] * several])
    return csv_text(rows)
