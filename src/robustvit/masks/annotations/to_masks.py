"""Masks from annotations: choose a photo's foreground objects and its class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np

from robustvit.common.errors import UserError
from robustvit.common.options import LabelFrom
from robustvit.data.manifest import NO_OBJECT, MaskRecord
from robustvit.data.mask_doubts import border_contact
from robustvit.data.mask_values import FAINT
from robustvit.data.matching import compose
from robustvit.masks.annotations.annotated import AnnotatedPhoto, Annotations
from robustvit.masks.annotations.box_reading import BoxReading
from robustvit.masks.annotations.objects import AnnotatedObject, BrokenEntry, leaving_out
from robustvit.masks.confidence import measure_mask
from robustvit.masks.folder import MaskFolder, digest_inputs

_SHOWN = 5
_SURE = 0.5  # agreement from which a model's mask of a box is good
_WHOLE_MASKS = ("binary", "grey", "soft", "trimap", "inverted")  # one mask for a photo: an empty one is a statement
_BOTH_WAYS = "its photo has an EXIF tag that turns it, the annotation fits both ways"
_WHOLE_BORDER = 0.95  # void pixels may take the rest


def check_categories(found: Annotations, categories: Sequence[str]) -> None:
    """Refuse categories that the annotations do not name."""
    # Formats with ids alone reveal their categories only when the masks are read.
    if found.categories and (strangers := sorted(set(categories) - set(found.categories))):
        known = ", ".join(found.categories[:20]) or "none"
        way = f"; they have no names: {found.advice}, or give numbers" if found.advice else ""
        raise UserError(f"unknown category {strangers[0]!r} in --categories: the annotations name {known}{way}")


def choose_foregrounds(
    objects: Sequence[AnnotatedObject], categories: Sequence[str], label_from: LabelFrom | None, folder: str | None
) -> dict[str | None, AnnotatedObject]:
    """Return the foreground of a photo by class, its objects united.

    ``largest`` gives one mask: all objects of the category that covers most. ``all`` gives a mask for each category. In
    a class folder, the folder is the class: the objects of the category of that name, else all of them. Crowds count
    as objects of their category. Without ``categories`` all are used; ``folder`` is the photo's class folder, if any.
    """
    groups: dict[str | None, AnnotatedObject] = {}
    for one in objects:
        if not categories or one.category in categories:
            groups[one.category] = unite([groups[one.category], one]) if one.category in groups else one
    if not groups:
        return {}
    if folder is not None:
        same = compose(folder).casefold()
        own = [one for name, one in groups.items() if name is not None and name.casefold() == same]
        return {folder: unite(own or list(groups.values()))}
    if label_from != "all":
        sizes = {name: float(one.mask.sum()) for name, one in groups.items()}
        largest = max(sizes, key=sizes.__getitem__)
        if equal := [name for name, size in sizes.items() if size == sizes[largest] and name != largest]:
            raise BrokenEntry(
                f"{largest} and {equal[0]} cover equally much of it, so its class is unknown: choose one with "
                "--categories, or give --label-from all"
            )
        return {largest: groups[largest]}
    return groups


def unite(objects: Sequence[AnnotatedObject]) -> AnnotatedObject:
    """Unite objects; the union is as certain as the least certain of them."""
    confidences = [one.confidence for one in objects if one.confidence is not None]
    agreements = [one.agreement for one in objects if one.agreement is not None]
    return AnnotatedObject(
        objects[0].category,
        reduce(np.maximum, (one.mask for one in objects)),
        confidence=min(confidences, default=None),
        boxed=any(one.boxed for one in objects),
        agreement=min(agreements, default=None),
    )


@dataclass(frozen=True)
class MaskImport:
    """How the masks of annotated photos are chosen, and where they go.

    Attributes:
        into: the folder of masks.
        boxes: how boxes become masks.
        images: the folder of photos that masks mirror.
        categories: categories to use; all when empty.
        label_from: see ``choose_foregrounds``.
        advice: what to do about ids without names; empty if classes have names.
    """

    into: MaskFolder
    boxes: BoxReading
    images: Path | None
    categories: Sequence[str]
    label_from: LabelFrom | None
    advice: str = ""

    @property
    def source(self) -> str:
        """The format, for the manifest."""
        return str(self.into.settings["from"])

    def write(self, photos: Iterable[AnnotatedPhoto], folders: Mapping[Path, str | None]) -> list[str]:
        """Write the masks of photos and a record for each; ``folders`` are their class folders.

        Returns:
            One line for each photo without a mask, and one for ids without names.
        """
        problems: list[str] = []
        nameless: set[str] = set()
        for photo in photos:
            folder = folders[photo.image]
            try:
                with leaving_out(photo.image, problems):
                    labels = self._write_photo(photo, folder)
                    nameless |= {label for label in labels if self.advice and label is not None and label != folder}
            except UserError as error:
                problems.append(str(error))
        if nameless:
            numbers = sorted(nameless, key=int)
            more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
            ids = f"{', '.join(numbers[:_SHOWN])}{more}"
            problems.append(f"the classes have no names but the ids {ids}: {self.advice}")
        return problems

    def _write_photo(self, photo: AnnotatedPhoto, folder: str | None) -> list[str | None]:
        """Write the masks of a photo; return their classes."""
        objects = photo.read()
        if not self.categories and self.advice:  # the classes have no names
            _expect_background(photo.image, objects)
        place = _place(photo.image, self.images)
        if not objects and photo.label is None:
            self._add(
                MaskRecord(photo.image, None, folder, "none", 0.0, self.boxes.no_object, self.source), photo, folder
            )
            return []
        if not objects and (not self.categories or compose(str(photo.label)) in self.categories):
            label, why = folder or photo.label, "nothing is marked in it"
            record = MaskRecord(photo.image, self.into.path / place, label, NO_OBJECT, 1.0, why, self.source)
            self._add(record, photo, folder, photo.view.upright(np.zeros(photo.view.size, np.float32)))
            return []
        masks = choose_foregrounds(objects, self.categories, self.label_from, folder)
        if not masks:
            raise UserError(f"{photo.image}: no object of the categories asked for")
        for label, found in masks.items():
            several = self.label_from == "all" and folder is None
            inside = Path(_file_name(str(label))) / place if several else place
            origin = f"{self.source}, {self.boxes.title}" if found.boxed else self.source
            record = _record(photo.image, self.into.path / inside, label, found, origin)
            self._add(record, photo, folder, found.mask)
        return list(masks)

    def _add(
        self, record: MaskRecord, photo: AnnotatedPhoto, folder: str | None, mask: np.ndarray | None = None
    ) -> None:
        """Write a mask, with what it was made from; doubt it if the photo may have been annotated in another view."""
        record = replace(record, inputs=digest_annotation(photo, folder, self.boxes))
        doubt = _BOTH_WAYS if photo.view.doubtful else photo.doubt
        if doubt and record.verdict == "good":
            record = replace(record, verdict="doubtful", confidence=0.0, reason=doubt)
        self.into.add(record, mask)


def _expect_background(image: Path, objects: Sequence[AnnotatedObject]) -> None:
    """Refuse class ids without names that cover the frame's border together: one of them may be the background."""
    ids = sorted({one.category for one in objects if one.category is not None and one.category.isdecimal()}, key=int)
    if len(ids) < 2:
        return
    inside = np.maximum.reduce([one.mask for one in objects]) > 0.5
    if border_contact(inside) >= _WHOLE_BORDER:
        way = ", or read 1 as the object and 2 as background with --from trimap" if set(ids) <= {"1", "2", "3"} else ""
        raise UserError(
            f"{image}: the ids {', '.join(ids[:_SHOWN])} cover the whole border of the frame, and any of them may be "
            f"the background: name the ids of objects, --categories {ids[0]}{way}"
        )


def digest_annotation(photo: AnnotatedPhoto, folder: str | None, boxes: BoxReading) -> str:
    """Return a digest of all that the masks of a photo depend on; ``folder`` is its class folder."""
    made_with = [boxes.content] if boxes.content else []
    return digest_inputs(photo.image, photo.content(), str(photo.view), folder or "", *made_with)


def _place(image: Path, images: Path | None) -> Path:
    """Where a photo's mask goes below the folder of masks."""
    try:
        inside = image.resolve().relative_to(images.resolve()) if images is not None else Path(image.name)
    except ValueError:
        inside = Path(image.name)
    return inside.with_suffix(".png")


def _file_name(label: str) -> str:
    return re.sub(r"[^\w .-]", "_", label).strip(". ") or "_"


def _record(image: Path, mask: Path, label: str | None, found: AnnotatedObject, source: str) -> MaskRecord:
    values, measures = found.mask, measure_mask(found.mask > 0.5, agreement=found.agreement)
    if source in _WHOLE_MASKS and not values.any():
        return MaskRecord(image, mask, label, NO_OBJECT, 1.0, "the mask is empty", source, measures)
    if values.max(initial=0) < FAINT / 255:
        top = round(255 * float(values.max(initial=0)))
        reason = f"its greatest value is {top} of 255" if top else "the outline covers no pixel"
        return MaskRecord(image, None, label, "none", 0.0, reason, source, measures)
    if (255 * values).round().min(initial=255) >= 255:
        return MaskRecord(image, None, label, "none", 0.0, "it covers the whole frame", source, measures)
    if not (values >= 0.5).any():
        return MaskRecord(image, mask, label, "doubtful", 0.0, "no pixel reaches one half", source, measures)
    confidence = min(one for one in (found.confidence, found.agreement, 1.0) if one is not None)
    if found.agreement is not None and found.agreement < _SURE:
        return MaskRecord(image, mask, label, "doubtful", confidence, "its source is not sure of it", source, measures)
    return MaskRecord(image, mask, label, "good", confidence, "", source, measures)
