"""Listing photos with their classes and masks: class folders, a flat folder, or a CSV file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustvit.common.csv_files import read_csv
from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.progress import warn
from robustvit.data.mask_files import MASK_SUFFIXES
from robustvit.data.photo_names import adopt_masks
from robustvit.data.read_photos import IMAGE_SUFFIXES

_LONGEST_SHOWN = 500
_COLUMNS = ("image", "mask", "label")


@dataclass(frozen=True)
class Photo:
    """A photo on disk.

    Attributes:
        image: the image file.
        mask: its foreground mask, if there is one.
        class_name: its class as named on disk, if known.
        label: the model's index of that class, once it is matched.
        is_mask_id: whether the class is named by its id in the mask, where 0 is the background.
    """

    image: Path
    mask: Path | None = None
    class_name: str | None = None
    label: int | None = None
    is_mask_id: bool = False


def expect_photos(images: str | Path | None, masks: str | Path | None = None) -> None:
    """Refuse paths that do not exist, as ``find_photos`` does, before a model is loaded, which takes longer."""
    if images is not None and not _is_list(Path(images)):
        expect_folder(Path(images), "photos")
    elif images is not None and not Path(images).is_file():
        raise UserError(f"expected a CSV file, found none at {images}: check the path")
    if masks is not None:
        expect_folder(Path(masks), "masks")


def expect_photos_of(options: Mapping[str, Any]) -> None:
    """Call ``expect_photos`` on all photos that options of ``finetune`` name."""
    for kind in ("", "val_", "test_"):
        expect_photos(options.get(f"{kind}images"), options.get(f"{kind}masks"))


def _is_list(images: Path) -> bool:
    return images.suffix.lower() == ".csv"


def find_photos(
    images: str | Path,
    masks: str | Path | None = None,
    *,
    labelled: bool = True,
    skip_unmasked: bool = False,
    keep: Callable[[Photo], bool] | None = None,
) -> list[Photo]:
    """List photos with their classes and masks, in a fixed order.

    Args:
        images: a folder with one folder of photos per class, a flat folder, or a CSV file with the columns ``image``
            and optionally ``mask`` and ``label``; paths in it are relative to the file.
        masks: a folder that mirrors ``images`` by class and stem; not for a CSV file.
        labelled: whether classes are needed; without them a flat folder is enough.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        keep: whether to use a photo; see ``MaskFilter``.
    """
    images = Path(images)
    if _is_list(images):
        photos = _filter(_read_list(images), keep)
        if masks is not None:
            raise UserError(f"expected no --masks beside {images}: name the masks in its column 'mask'")
        if not skip_unmasked and any(photo.mask for photo in photos):
            _refuse_unmasked([photo.image for photo in photos if photo.mask is None])
    else:
        photos = _read_folder(images)
        if masks is not None:
            photos = _add_masks(photos, images, Path(masks), skip_unmasked, keep)
    if skip_unmasked and any(photo.mask for photo in photos):
        photos = [photo for photo in photos if photo.mask is not None]
    if labelled:
        expect_classes(photos, images, "add them, or finetune with --target predicted")
    return photos


def expect_classes(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without classes; ``fix`` says what to do."""
    if any(photo.class_name is None for photo in photos):
        raise UserError(
            f"expected a class for every photo in {images} (class folders, or a CSV column 'label'), found photos "
            f"without: {fix}"
        )


def expect_masks(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without masks; ``fix`` says what to do."""
    if any(photo.mask is None for photo in photos):
        raise UserError(f"expected masks for the photos in {images}, found none: {fix}")


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in suffixes and p.name[0] != ".")


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_folder(folder: Path) -> list[Photo]:
    expect_folder(folder, "photos")
    flat = [Photo(path) for path in _files(folder, IMAGE_SUFFIXES)]
    sorted_in = [
        Photo(path, class_name=inner.name) for inner in _folders(folder) for path in _files(inner, IMAGE_SUFFIXES)
    ]
    if flat and sorted_in:
        raise UserError(f"{folder} holds photos both directly ({flat[0].image.name}) and in class folders: sort them")
    if not flat and not sorted_in:
        raise UserError(f"expected photos in {folder} or in class folders in it, found none")
    return flat or sorted_in


def _filter(photos: list[Photo], keep: Callable[[Photo], bool] | None) -> list[Photo]:
    kept = photos if keep is None else [photo for photo in photos if keep(photo)]
    if not kept:
        raise UserError("every photo was left out because of its mask: make better masks, or review them with --review")
    return kept


def _add_masks(
    photos: list[Photo], images: Path, masks: Path, skip_unmasked: bool, keep: Callable[[Photo], bool] | None
) -> list[Photo]:
    expect_folder(masks, "masks")
    by_key: dict[tuple[str | None, str], Path] = {}
    places = [(None, masks)] if photos[0].class_name is None else [(inner.name, inner) for inner in _folders(masks)]
    for class_name, place in places:
        for path in _files(place, MASK_SUFFIXES):
            if other := by_key.get((class_name, path.stem)):
                raise UserError(f"two masks for one photo: {other} and {path}; remove one")
            by_key[class_name, path.stem] = path
    _refuse_two_photos(photos)
    places_of_photos = {(p.class_name, p.image.stem): p.image.relative_to(images).as_posix() for p in photos}
    for line in adopt_masks(by_key, places_of_photos, images, masks):
        warn(line)
    without_photo = sorted(set(by_key) - {(p.class_name, p.image.stem) for p in photos}, key=str)
    found = [Photo(p.image, by_key.get((p.class_name, p.image.stem)), p.class_name) for p in photos]
    kept = _filter(found, keep)
    if not skip_unmasked:
        classes = {p.class_name for p in photos}
        left_out = classes - {p.class_name for p in kept}
        _refuse_other_classes(classes - left_out, {name for name, _ in places} - left_out, images, masks)
        _refuse_unmasked([p.image for p in kept if p.mask is None])
    if without_photo:
        raise UserError(f"mask without an image: {by_key[without_photo[0]]}{_more(without_photo)}; remove or rename it")
    return kept


def _refuse_other_classes(ours: set[str | None], theirs: set[str | None], images: Path, masks: Path) -> None:
    if ours == theirs:
        return
    lacking = [f"{place} lacks {', '.join(sorted(map(str, names)))}" for place, names in
               ((masks, ours - theirs), (images, theirs - ours)) if names]  # fmt: skip
    raise UserError(f"class folders of images and masks do not match: {' and '.join(lacking)}")


def _refuse_unmasked(lacking: list[Path]) -> None:
    if lacking:
        raise UserError(
            f"image without a mask: {lacking[0]}{_more(lacking)}; add the mask, or leave such photos out with "
            "--skip-unmasked"
        )


def _refuse_two_photos(photos: list[Photo]) -> None:
    seen: dict[tuple[str | None, str], Path] = {}
    for photo in photos:
        if other := seen.get((photo.class_name, photo.image.stem)):
            raise UserError(f"two photos of one name would share a mask: {other} and {photo.image}; rename one")
        seen[photo.class_name, photo.image.stem] = photo.image


def _more(items: list) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""


def _cut(path: Path) -> str:
    return str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def _is_mask_id(row: Mapping[str, str | None], label: str) -> bool:
    """Whether a row of a manifest names a class by its id in the mask; a class folder may be named by a number, too."""
    folder = Path(row["image"] or "").parent.name
    return (row.get("source") or "") in ("voc", "imagenet-s") and label.isdecimal() and label != folder


def _read_list(path: Path) -> list[Photo]:
    table = read_csv(path)
    if not table.rows or "image" not in table.columns:
        raise UserError(f"expected a CSV file with the columns image,mask,label and at least one row, got {path}")
    if doubled := [name for name, count in Counter(table.columns).items() if count > 1 and name in _COLUMNS]:
        raise UserError(f"{path} has more than one column {doubled[0]}: keep one")
    photos = []
    for row in table.rows:
        mask, label = (row.get("mask") or "").strip(), (row.get("label") or "").strip()
        photo = Photo(path.parent / (row["image"] or "").strip(), path.parent / mask if mask else None, label or None,
                      is_mask_id=_is_mask_id(row, label))  # fmt: skip
        for named in (photo.image, photo.mask):
            if named is not None and not _is_file(named):
                raise UserError(f"{path} names {_cut(named)}, which does not exist: paths are relative to the CSV file")
        photos.append(photo)
    listed = Counter((photo.image.resolve(), photo.class_name) for photo in photos)
    if twice := next((place for (place, _), count in listed.items() if count > 1), None):
        raise UserError(f"{path} lists {twice} more than once: keep one row per photo and class")
    return photos
