"""A photo with its class and mask, and checks of lists of photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.tables.source import expect_source


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
        no_object: whether the user said that it shows no object; an empty mask says so too.
        group: its origin, such as a camera, a hospital or a kind of background, if the user named it.
        labels: for a multi-label model, all classes that it shows, sorted; ``label`` is the rarest of them.
        class_masks: the mask of each of these classes, if they do not share a mask.
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


def expect_masks(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without masks; ``fix`` says what to do."""
    if any(photo.mask is None and not photo.no_object for photo in photos):
        raise UserError(
            f"expected masks for the photos in {images}, found none: {fix}; robustvit masks {images} --out masks makes "
            "them"
        )


def count_lost_classes(before: Sequence[Photo], after: Sequence[Photo]) -> dict[str, int]:
    """Return the number of photos of each class of which none is left."""
    left = {photo.class_name for photo in after}
    return dict(Counter(str(photo.class_name) for photo in before if photo.class_name not in left))
