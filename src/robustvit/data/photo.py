"""A photo with its class and mask, and what a command expects of a list of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.wording import pluralize
from robustvit.data.photo_lists import columns_of
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.tables.source import expect_source, is_list


@dataclass(frozen=True)
class Photo:
    """A photo on disk.

    Attributes:
        image: the image file.
        mask: its foreground mask, if there is one.
        class_name: its class as named on disk, if known.
        label: the model's index of that class, once it is matched.
        is_mask_id: whether the class is named by its id in the mask, where 0 is the background.
        pixels: how its pixels are read.
        no_object: whether it was said to show no object; an empty mask says so too.
        group: where it is from, such as a camera, a hospital or a kind of background, if that was said.
        labels: for a multi-label model, all classes that it shows, sorted; ``label`` is the rarest of them.
        class_masks: the mask of each of these, if they do not share one.
    """

    image: Path
    mask: Path | None = None
    class_name: str | None = None
    label: int | None = None
    is_mask_id: bool = False
    pixels: Pixels = PLAIN
    no_object: bool = False
    group: str | None = None
    labels: tuple[int, ...] | None = None
    class_masks: tuple[Path | None, ...] = ()


def expect_photos(images: str | Path | None, masks: str | Path | None = None) -> None:
    """Refuse paths that do not exist, as ``find_photos`` does, before a model is loaded, which takes longer."""
    if images is not None:
        expect_source(images)
    if masks is not None:
        expect_folder(Path(masks), "masks")


def expect_photos_of(options: Mapping[str, Any]) -> None:
    """Call ``expect_photos`` on all photos that options of ``finetune`` name."""
    for kind in ("", "val_", "test_"):
        expect_photos(options.get(f"{kind}images"), options.get(f"{kind}masks"))


def expect_classes(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without classes; ``fix`` says what to do."""
    every = list(photos)
    if lacking := [photo for photo in every if photo.class_name is None]:
        if is_list(images):
            there = f", beside the columns {', '.join(map(repr, columns_of(images)))} (--label-column names one)"
        else:
            lists = sorted(path for path in Path(images).iterdir() if is_list(path) and path.suffix != ".txt")
            there = f", beside the list {lists[0].name}, which --images can name," if lists else ""
        raise UserError(
            f"expected a class for every photo in {images} (class folders, or a CSV column 'label'), found "
            f"{len(lacking)} of {pluralize(len(every), 'photo')} without, such as {lacking[0].image.name}{there}: {fix}"
        )


def expect_masks(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without masks; ``fix`` says what to do."""
    if any(photo.mask is None and not photo.no_object for photo in photos):
        raise UserError(
            f"expected masks for the photos in {images}, found none: {fix}; robustvit masks {images} --out masks makes "
            "them"
        )


def lost_classes(before: Sequence[Photo], after: Sequence[Photo]) -> dict[str, int]:
    """Return the classes of which no photo is left, and how many they had."""
    left = {photo.class_name for photo in after}
    return dict(Counter(str(photo.class_name) for photo in before if photo.class_name not in left))
