"""Matching the names of class folders to a model's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from timm.data import ImageNetInfo

from robustvit.common.errors import UserError, nearest
from robustvit.common.progress import warn
from robustvit.data.find_photos import Photo


def match_labels(photos: list[Photo], num_classes: int, class_names: Sequence[str] = ()) -> list[Photo]:
    """Set the label of every photo that has a class, the model's index of it.

    Folder names are looked up, in this order, as numbers if all of them are, in the model's class names, in ImageNet's
    wnids if the model has 1,000 classes, and as sorted folders if there are as many as classes.

    Args:
        photos: photos with or without class names.
        num_classes: number of logits of the model.
        class_names: names of the logits, if known.
    """
    _refuse_mask_ids(photos, class_names)
    names = sorted({photo.class_name for photo in photos if photo.class_name is not None})
    index = _match_names(names, num_classes, class_names)
    return [replace(p, label=None if p.class_name is None else index[p.class_name]) for p in photos]


def _refuse_mask_ids(photos: Sequence[Photo], class_names: Sequence[str]) -> None:
    """Refuse ids of masks as outputs of a model: 0 is the background there, and which class an id is was not said."""
    ids = {photo.class_name for photo in photos if photo.is_mask_id and photo.class_name is not None}
    if nameless := sorted(ids - set(class_names), key=int):
        raise UserError(
            f"expected names of classes, got ids of the masks ({', '.join(nameless[:5])}), where 0 is the background; "
            "they are no outputs of the model: put their names into a classes.txt beside the masks that were read, one "
            "a line from id 1, and make the masks again, or name the outputs by these ids (--class-names 1,2,...)"
        )


@cache  # warn once, however often a command looks labels up
def _warn_sorted(*names: str) -> None:
    """Warn that the order of the folders is assumed: with another order every answer would count as wrong."""
    warn(
        "the model does not name its classes: its outputs are assumed to be the class folders in alphabetical "
        f"order, {names[0]} to {names[-1]}; if they have another order, give the names in that order, --class-names "
        f"{names[-1]},..."
    )


def _match_names(names: list[str], num_classes: int, class_names: Sequence[str]) -> dict[str, int]:
    known = {name.casefold(): i for i, name in reversed(list(enumerate(class_names)))}
    if num_classes == 1000:
        info = ImageNetInfo()
        known |= {info.index_to_label_name(i): i for i in range(num_classes)}
    if names and all(name.isdecimal() for name in names) and not set(names) & set(class_names):
        known = {name: int(name) for name in names if int(name) < num_classes}  # folders 0, 1, ... 10 are numbers
    matched = {name: known[name.casefold()] for name in names if name.casefold() in known}
    if len(matched) == len(names):
        return matched
    if not class_names and len(names) == num_classes:
        _warn_sorted(*names)
        return {name: i for i, name in enumerate(names)}
    stranger = next(name for name in names if name not in matched)
    if not class_names:
        raise UserError(
            f"expected {num_classes} class folders, one per class of the model, found {len(names)}: a head without "
            "class names takes its classes from the sorted folders, so all of them must be there"
        )
    near = nearest(stranger, known)
    hint = f"did you mean {class_names[known[near[0]]]!r}?" if near else f"it has e.g. {class_names[0]!r}."
    raise UserError(
        f"class folder {stranger!r} is not a class of the model ({num_classes} classes): {hint} Rename the folder, "
        "finetune the model to your classes first, or give a zero-shot model (open_clip:...) --class-names"
    )
