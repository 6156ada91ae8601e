"""Matching the names of class folders to a model's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from timm.data import ImageNetInfo

from robustvit.common.errors import UserError, nearest
from robustvit.common.progress import warn
from robustvit.data.class_order import describe_order, find_better_order, list_plausible_orders
from robustvit.data.matching import compose
from robustvit.data.photo import Photo
from robustvit.data.photo_tree import describe_nesting
from robustvit.models.classifier import Classifier

_IMAGENET = 1000
_NAMED, _LISTED = 5, 20  # names in a message: as an example, and of what is wrong


def match_labels(photos: list[Photo], num_classes: int, class_names: Sequence[str] = ()) -> list[Photo]:
    """Set the label of every photo that has a class: the model's index of that class.

    Folder names are looked up in the model's class names, and in ImageNet's wnids if the model has 1,000 classes.
    Folders that are numbers are outputs. Without class names, the folders must be in an order on which the programs
    that train models agree; see ``list_plausible_orders``.
    """
    _refuse_mask_ids(photos, class_names)
    names = sorted({photo.class_name for photo in photos if photo.class_name is not None})
    folders = any(photo.class_name in Path(compose(str(photo.image))).parent.parts for photo in photos)
    try:
        index = _match_names(names, num_classes, class_names, folders)
    except UserError as error:
        raise UserError(f"{error}{describe_nesting([Path(photo.image) for photo in photos], names)}") from error
    return [replace(p, label=None if p.class_name is None else index[p.class_name]) for p in photos]


def _refuse_mask_ids(photos: Sequence[Photo], class_names: Sequence[str]) -> None:
    """Refuse ids of masks as outputs of a model: 0 is the background there, and the classes of the ids are unknown."""
    ids = {photo.class_name for photo in photos if photo.is_mask_id and photo.class_name is not None}
    if nameless := sorted(ids - set(class_names), key=int):
        raise UserError(
            f"expected names of classes, got ids of the masks ({', '.join(nameless[:5])}), where 0 is the background; "
            "they are not outputs of the model: put their names into a classes.txt beside the masks that were read, "
            "one a line from id 1, and make the masks again, or name the outputs by these ids (--class-names 1,2,...)"
        )


def doubt_order(
    classes: Sequence[str | None], labels: Sequence[int | None], predicted: Sequence[int], classifier: Classifier
) -> list[str]:
    """Warn if the answers fit another order of the classes far better; return the warning, if there is any."""
    doubt = find_better_order(classes, labels, predicted, classifier.num_classes, classifier.class_names)
    if doubt:
        warn(doubt)
    return [doubt] if doubt else []


def _match_names(names: list[str], num_classes: int, class_names: Sequence[str], folders: bool) -> dict[str, int]:
    known = _Known(num_classes, class_names)
    if not class_names and not known.wnids.keys() & names:
        return _order_names(names, num_classes, folders)
    numbered = bool(names) and all(name.isdecimal() for name in names)
    if numbered and not known.numbers:
        return _number_names(names, num_classes, class_names)
    return known.find(names)


def _number_names(names: list[str], num_classes: int, class_names: Sequence[str]) -> dict[str, int]:
    """Return the outputs that folders number, for a model whose classes have other names."""
    index = {name: int(name) for name in names}
    if beyond := [name for name, label in index.items() if label >= num_classes]:
        raise UserError(
            f"class folder {beyond[0]!r} is not a class of the model ({num_classes} classes, numbered from 0): rename "
            f"the folders to the model's classes, such as {class_names[0]!r}"
        )
    _say_once(f"the class folders are numbers, taken as outputs of the model: {describe_order(index, class_names)}")
    return index


def _order_names(names: list[str], num_classes: int, folders: bool) -> dict[str, int]:
    """Return the outputs of the classes of a head without names; refuse names that may be in two orders."""
    orders = list_plausible_orders(names, num_classes, folders=folders)
    if names and not orders:
        raise UserError(
            f"expected {num_classes} class folders, one per class of the model, found {len(names)}: a head without "
            "class names takes its classes from the sorted folders, so all of them must be there"
        )
    readings: dict[str, list[str]] = {}
    for order, index in orders.items():
        readings.setdefault(describe_order(index), []).append(order)
    if len(readings) > 1:
        listed = "; or ".join(f"{mapping}: {' and '.join(by)}" for mapping, by in readings.items())
        raise UserError(
            "the model does not name its classes, and the class folders may be its outputs in more than one order. "
            f"{listed}. Give the names of all its classes in the order it was trained with, --class-names NAME,NAME,..."
        )
    index = next(iter(orders.values()), {})
    if index:
        sorts = "ImageFolder and timm agree on it" if len(orders) > 1 else next(iter(orders))
        _say_once(
            f"the model does not name its classes: its outputs are assumed to be {describe_order(index)} ({sorts}); if "
            "they have another order, give the names in that order, --class-names NAME,NAME,..."
        )
    return index


@cache  # once, however often a command looks labels up
def _say_once(text: str) -> None:
    """Say which order is assumed: with another one every answer would count as wrong."""
    warn(text)


class _Known:
    """Looks names up among the classes of a model."""

    def __init__(self, num_classes: int, class_names: Sequence[str]) -> None:
        self.num_classes, self.class_names = num_classes, class_names
        self.numbers = bool(class_names) and all(name.isdecimal() for name in class_names)
        self._exact: dict[str, list[int]] = {}
        self._caseless: dict[str, list[int]] = {}
        for index, name in enumerate(class_names):
            self._exact.setdefault(self._spell(name), []).append(index)
            self._caseless.setdefault(self._spell(name).casefold(), []).append(index)
        info = ImageNetInfo() if num_classes == _IMAGENET else None
        self.wnids: Mapping[str, int] = {info.index_to_label_name(i): i for i in range(_IMAGENET)} if info else {}

    def _spell(self, name: str) -> str:
        return str(int(name)) if self.numbers and name.isdecimal() else compose(name)

    def find(self, names: Sequence[str]) -> dict[str, int]:
        """Return the index of each class; refuse names of no class, all of them in one line, and names of several."""
        fits = {name: [self.wnids[name]] if name in self.wnids else self._fits(name) for name in names}
        if strangers := [name for name in names if not fits[name]]:
            raise UserError(self._describe_strangers(strangers))
        if several := next((name for name in names if len(fits[name]) > 1), None):
            raise UserError(self._describe_several(several, fits[several]))
        return {name: fits[name][0] for name in names}

    def _fits(self, name: str) -> list[int]:
        spelled = self._spell(name)
        return self._exact.get(spelled) or self._caseless.get(spelled.casefold()) or []

    def _describe_several(self, name: str, fits: list[int]) -> str:
        which = " and ".join(f"{index} ({self.class_names[index]})" for index in fits)
        wnids = " or ".join(wnid for wnid, index in self.wnids.items() if index in fits)
        way = f"name it by its wnid, {wnids}" if wnids else "name all folders by the numbers of the outputs"
        return f"class folder {name!r} names several classes of the model, outputs {which}: {way}"

    def _describe_strangers(self, names: Sequence[str]) -> str:
        said = []
        for name in names[:_LISTED]:
            near = nearest(name, self.class_names)
            said.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        known = list(self.class_names or self.wnids)
        examples = ", ".join(map(repr, known[:_NAMED])) + (", ..." if len(known) > _NAMED else "")
        which = "is not a class" if len(names) == 1 else "are not classes"
        return (
            f"class folder{'s' * (len(names) > 1)} {', '.join(said)}{more} {which} of the model ({self.num_classes} "
            f"classes: {examples}): rename {'it' if len(names) == 1 else 'them'}, finetune the model to your classes "
            "first, or give a zero-shot model (open_clip:...) --class-names"
        )
