"""Which mask in a folder belongs to which photo, by class folder and name, or by the path in a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.folder_files import files_below, is_hidden
from robustvit.data.mask_doubts import refuse_exchanged
from robustvit.data.mask_pixels import MASK_SUFFIXES
from robustvit.data.masks_beside import masks_beside
from robustvit.data.matching import compose, without_mark, without_number, without_photo_word
from robustvit.data.photo import Photo
from robustvit.data.photo_names import adopt_masks
from robustvit.data.photo_tree import describe_nesting
from robustvit.data.read_photos import IMAGE_SUFFIXES
from robustvit.data.tables.source import places_in, root_of


def add_masks(
    photos: list[Photo], images: Path, masks: Path, skip_unmasked: bool, keep: Callable[[Photo], bool] | None
) -> list[Photo]:
    """Give photos of a folder the masks in another, by class folder and name, and leave photos out by their masks."""
    expect_folder(masks, "masks")
    beside = masks.resolve() == images.resolve()
    by_key = _masks_by_key(masks, flat=photos[0].class_name is None, beside=beside)
    places = [photo.image.relative_to(images).as_posix() for photo in photos]
    keys = list(map(_key, places))
    _refuse_two_photos(photos, keys)
    refuse_exchanged((photo.image for photo in photos), by_key.values())
    for line in adopt_masks(by_key, dict(zip(keys, places, strict=True)), images, masks):
        warn(line)
    kept = filter_photos([replace(p, mask=by_key.get(key)) for p, key in zip(photos, keys, strict=True)], keep)
    if not skip_unmasked:
        _check_class_folders(photos, kept, images, masks)
        refuse_unmasked([p.image for p in kept if p.mask is None and not p.no_object])
    names = {_bare_key(key) for key in keys}
    without_photo = sorted(set(by_key) - set(keys))
    if parts := [by_key[key] for key in without_photo if without_number(key) and _bare_key(key, mask=True) in names]:
        raise UserError(
            f"several masks of one photo, such as {parts[0]}: unite them with robustvit masks {masks} --from grey "
            f"--images {images} --out FOLDER, and give that folder as --masks"
        )
    if without_photo:
        raise UserError(
            f"mask without an image: {by_key[without_photo[0]]}{_more(without_photo)}; rename it, or move it elsewhere"
        )
    return kept


def add_listed_masks(photos: list[Photo], images: str | Path, masks: Path, notes: list[str]) -> list[Photo]:
    """Give photos of a list the masks in a folder, by their paths from the folder of the list, or by their names."""
    expect_folder(masks, "masks")
    if any(photo.mask for photo in photos):
        raise UserError(f"expected --masks or a column of masks, {images} has both: leave one of them out")
    root = root_of(images, [photo.image for photo in photos])
    places = places_in([photo.image for photo in photos], root)
    by_key = _masks_by_key(masks)
    keys = list(map(_key, places))
    _refuse_two_photos(photos, keys)
    notes += adopt_masks(by_key, dict(zip(keys, places, strict=True)), root, masks)
    if not set(by_key) & set(keys):
        raise UserError(f"expected masks of the photos in {images} in {masks}, none has the path or name of one")
    if others := sorted(set(by_key) - set(keys)):
        notes.append(f"{pluralize(len(others), 'mask')} in {masks.name} of photos that are not listed ({others[0]}).")
    return [replace(photo, mask=by_key.get(key)) for photo, key in zip(photos, keys, strict=True)]


def add_class_masks(rows: list[Photo], images: str | Path, masks: Path, notes: list[str]) -> list[Photo]:
    """Give each row, a photo and one of its classes, the mask of the class, ``CLASS/PHOTO.png``, or the photo's own."""
    expect_folder(masks, "masks")
    files = [row.image for row in rows]
    places = [_key(place) for place in places_in(files, root_of(images, files))]
    by_key = _masks_by_key(masks)
    found = []
    for row, place in zip(rows, places, strict=True):
        names = [place, place.rpartition("/")[2]]
        inner = [] if row.class_name is None else [f"{compose(row.class_name)}/{name}" for name in names]
        found.append(next((key for key in (*inner, *names) if key in by_key), None))
    if not any(found):
        raise UserError(
            f"expected masks of the photos in {images} in {masks}, as PHOTO.png or CLASS/PHOTO.png, none fits"
        )
    if others := sorted(set(by_key) - set(found)):
        notes.append(f"{pluralize(len(others), 'mask')} in {masks.name} of photos or classes not listed ({others[0]}).")
    return [replace(row, mask=None if key is None else by_key[key]) for row, key in zip(rows, found, strict=True)]


def filter_photos(photos: list[Photo], keep: Callable[[Photo], bool] | None) -> list[Photo]:
    kept = photos if keep is None else [photo for photo in photos if keep(photo)]
    if not kept:
        raise UserError(
            "every photo was left out because of its mask: make better masks, or use doubtful ones with --doubtful"
        )
    return kept


def _top(photo: Photo, images: Path) -> str | None:
    """Return the top folder of a photo, which its mask has too; None in a flat folder."""
    return None if photo.class_name is None else compose(photo.image.relative_to(images).parts[0])


def _key(inside: str) -> str:
    """Return what a photo and its mask share: the path in their folder without the ending of the file."""
    return compose(str(PurePosixPath(inside).with_suffix("")))


def _bare_key(key: str, mask: bool = False) -> tuple[str, str]:
    """Return the folder of a key, and its name without the word for a photo or a mask."""
    folder, _, name = key.rpartition("/")
    return folder, (without_mark(name) or "") if mask else without_photo_word(name)


def _masks_by_key(masks: Path, flat: bool | None = None, beside: bool = False) -> dict[str, Path]:
    """Return the masks in a folder by what they share with their photos; ``beside`` those that lie with the photos."""
    found: dict[str, Path] = {}
    files = (
        masks_beside(files_below(masks, IMAGE_SUFFIXES))
        if beside
        else files_below(masks, MASK_SUFFIXES, lambda inner: False)
    )
    for inside, path in files.items():
        if flat is not None and ("/" in inside) == flat:  # beside class folders, or in folders beside flat masks
            continue
        if other := found.get(_key(inside)):
            raise UserError(f"two masks for one photo: {other} and {path}; move one elsewhere")
        found[_key(inside)] = path
    return found


def _check_class_folders(photos: list[Photo], kept: list[Photo], images: Path, masks: Path) -> None:
    """Refuse class folders of photos without one of masks, and the other way round, except for classes left out."""
    tops, kept_tops = ({_top(photo, images) for photo in these} for these in (photos, kept))
    left_out = (tops - kept_tops) | {_top(photo, images) for photo in kept if photo.no_object}
    there = {compose(path.name) for path in masks.iterdir() if path.is_dir() and not is_hidden(path.name)}
    ours, theirs = tops - left_out, there - left_out
    if None in tops or ours == theirs:
        return
    lacking = [f"{place} lacks {', '.join(sorted(map(str, names)))}" for place, names in
               ((masks, ours - theirs), (images, theirs - ours)) if names]  # fmt: skip
    nesting = describe_nesting([photo.image for photo in photos], [name for name in ours if name is not None])
    way = "; if its photos show no object, say so with --no-object" if ours - theirs and not nesting else ""
    way = way or ("" if nesting else "; give both the same class folders")
    raise UserError(f"class folders of images and masks do not match: {' and '.join(lacking)}{way}{nesting}")


def refuse_unmasked(lacking: list[Path]) -> None:
    if lacking:
        raise UserError(
            f"image without a mask: {lacking[0]}{_more(lacking)}; add the mask, leave such photos out with "
            "--skip-unmasked, or name classes whose photos show no object with --no-object"
        )


def _refuse_two_photos(photos: list[Photo], keys: list[str]) -> None:
    seen: dict[str, Path] = {}
    for photo, key in zip(photos, keys, strict=True):
        if other := seen.get(key):
            raise UserError(f"two photos of one name would share a mask: {other} and {photo.image}; rename one")
        seen[key] = photo.image


def _more(items: list) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""
