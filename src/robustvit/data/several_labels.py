"""Photos of several classes, for multi-label models: one row per photo and class becomes one photo with its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from robustvit.common.errors import UserError
from robustvit.common.options import MaskFormat
from robustvit.common.wording import pluralize
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos, read_mask_of, read_pair, thicken
from robustvit.data.notes import add_note
from robustvit.data.photo import Photo
from robustvit.models.classifier import Classifier, Preprocessing

NO_LABEL = "(no label)"  # stands for the class of photos that show none
_MARKS = ("/", "+", "&", "-", "_", ":", "\t", " ")  # that may separate labels, beside those that are read
_NAMED = 5  # classes in a message
RARE = "(rare)"  # stands for the classes that lead in a single photo each


def label_several(rows: Sequence[Photo], classifier: Classifier) -> list[Photo]:
    """Return photos with all their labels, from one row for each of their classes; see ``join_labels``."""
    if not classifier.class_names:
        raise UserError(
            f"{classifier} does not name its classes, and no order of several labels is agreed on: give their names in "
            "the order of its outputs, --class-names NAME,NAME,... or a file with one name per line"
        )
    _ask_separator({row.class_name for row in rows if row.class_name is not None}, classifier.class_names)
    return join_labels(match_labels(list(rows), classifier.num_classes, classifier.class_names))


def _ask_separator(names: Iterable[str], classes: Collection[str]) -> None:
    """Refuse a label that is several classes of the model with a mark between them, and ask if it separates them."""
    for name in sorted(set(names) - set(classes)):
        for mark in _MARKS:
            parts = [part.strip() for part in name.split(mark)]
            if len(parts) > 1 and set(parts) <= set(classes):
                raise UserError(
                    f"the label {name!r} is not a class of the model, but {' and '.join(parts)} are: say what "
                    f"separates them, --label-separator '{mark}'"
                )


def match_photos(photos: list[Photo], classifier: Classifier) -> list[Photo]:
    """Return photos with the label that each has, or all of them for a multi-label model."""
    if classifier.head_kind == "multi-label":
        return label_several(photos, classifier)
    return match_labels(photos, classifier.num_classes, classifier.class_names)


def join_labels(rows: Sequence[Photo]) -> list[Photo]:
    """Return one photo for each file, from one row for each of its classes; a row without a class stands for none.

    In selection and halves, a photo belongs to its rarest class, so that every class is drawn from; photos without any
    class form a class, and so do photos that would be alone in theirs. The ``mask`` is that of all classes if they
    share one.
    """
    counts = Counter(row.label for row in rows if row.label is not None)
    members: dict[Path, list[Photo]] = {}
    for row in rows:
        members.setdefault(row.image, []).append(row)
    masked = any(row.mask is not None for row in rows)
    return _join_singles([_join(own, counts, masked) for own in members.values()])


def _join_singles(photos: list[Photo]) -> list[Photo]:
    """Put photos that are alone in their class into one class: none could be both trained on and held out."""
    counts = Counter(photo.class_name for photo in photos)
    alone = [photo for photo in photos if counts[photo.class_name] == 1]
    name = RARE if len(alone) > 1 else counts.most_common(1)[0][0]
    return [replace(photo, class_name=name) if counts[photo.class_name] == 1 else photo for photo in photos]


def _join(rows: Sequence[Photo], counts: Counter[int], masked: bool) -> Photo:
    named = sorted((row for row in rows if row.label is not None), key=lambda row: row.label or 0)
    if not named:
        return replace(rows[0], mask=None, class_name=NO_LABEL, label=None, labels=(), no_object=masked)
    leading = min(named, key=lambda row: (counts[row.label or 0], row.label))
    masks = tuple(row.mask for row in named)
    return replace(
        leading,
        mask=leading.mask or next((mask for mask in masks if mask is not None), None),
        labels=tuple(row.label or 0 for row in named),
        class_masks=() if len(set(masks)) == 1 else masks,
        no_object=all(row.no_object for row in named),
    )


def describe_labels(photos: Sequence[Photo]) -> list[str]:
    """Return notes on the number of labels, if photos have several, and on classes without a mask."""
    if all(photo.labels is None for photo in photos):
        return []
    counts = Counter(len(photo.labels or ()) for photo in photos)
    shares = ", ".join(f"{counts[n]} with {n}" for n in sorted(counts))
    lines = [f"{pluralize(len(photos), 'photo')} of several labels: {shares}."]
    lacking = [photo for photo in photos if photo.mask is not None and None in photo.class_masks]
    if lacking:
        lines.append(
            f"In {pluralize(len(lacking), 'photo')}, such as {lacking[0].image.name}, a class has no mask: its "
            "relevance is not guided there, and their objects are not put on other backgrounds."
        )
    return lines


def note_absent(photos: Sequence[Photo], classifier: Classifier, notes: list[str]) -> None:
    """Note the classes of a multi-label model that no photo shows: means over classes do not include them."""
    shown = {label for photo in photos for label in photo.labels or ()}
    absent = [name for label, name in enumerate(classifier.class_names) if label not in shown]
    if shown and absent:
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        others = pluralize(len(shown), "class")
        text = f"No photo shows {', '.join(absent[:_NAMED])}{more}: means over classes are those of the other {others}."
        add_note(text, notes)


def to_targets(labels: Iterable[Sequence[int] | None], classes: int) -> Tensor:
    """Return which classes photos show, ``(N, classes)`` of 0 and 1."""
    rows = list(labels)
    found = torch.zeros(len(rows), classes)
    for row, own in zip(found, rows, strict=True):
        row[list(own or ())] = 1
    return found


class LabelledPhotos(MaskedPhotos):
    """``MaskedPhotos`` of several labels; its ``mask`` is what the masks of all classes cover together.

    Items hold two more tensors: ``targets`` ``(K,)``, 1 for the classes that a photo shows, and ``class_masks``
    ``(P, H, W)``, the masks of its classes in their order, zeros behind the last; P is 1 where one mask is for all.

    Args:
        photos: see ``join_labels``.
        preprocessing: as in ``MaskedPhotos``, as is what follows.
        classes: number of classes of the model, K.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        preprocessing: Preprocessing,
        *,
        classes: int,
        augment: bool = False,
        mask_format: MaskFormat = "auto",
    ) -> None:
        super().__init__(photos, preprocessing, augment=augment, mask_format=mask_format)
        self.classes = classes
        self.slots = max((len(photo.class_masks) for photo in photos), default=0) or 1
        if self.slots > 1:  # a photo with one mask for all has it in each slot
            self.slots = max(len(photo.labels or ()) for photo in photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        photo = self.photos[index]
        image, each = read_pair(replace(photo, mask=None)) if photo.class_masks else read_pair(photo, self.mask_format)
        each = self._read_class_masks(photo, each)
        facts = self._describe(index, each.as_subclass(Tensor).amax(dim=0, keepdim=True))
        if None in photo.class_masks:  # an object without a mask would stay behind
            facts["kept"] = 0.0
        seen, masks = self._transform(image, each, index)
        if bool((each.flatten(1).any(dim=1) & ~masks.flatten(1).any(dim=1)).any()):  # an object is thinner than a pixel
            seen, masks = self._transform(image, thicken(each, self.preprocessing), index)
        masks = masks.as_subclass(Tensor)
        return {
            "image": seen.as_subclass(Tensor),
            "mask": masks.amax(dim=0, keepdim=True),
            **facts,
            "targets": to_targets([photo.labels], self.classes)[0],
            "class_masks": masks,
        }

    def _read_class_masks(self, photo: Photo, one: tv_tensors.Mask) -> tv_tensors.Mask:
        """Return the masks of the photo's classes, ``(P, h, w)``."""
        size = (one.shape[-1], one.shape[-2])
        if photo.class_masks:
            nothing = np.zeros(size[::-1], dtype=np.float32)
            found = [
                nothing if mask is None else read_mask_of(photo.image, mask, size, self.mask_format)
                for mask in photo.class_masks
            ]
        else:
            found = [one[0].numpy()] * min(self.slots, max(1, len(photo.labels or ())))
        found += [np.zeros(size[::-1], dtype=np.float32)] * (self.slots - len(found))
        return tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(np.stack(found))))
