"""Listing photos with their classes and masks: class folders, a flat folder, or a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from robustvit.common.errors import UserError
from robustvit.common.files import expect_folder
from robustvit.common.option_groups import ColumnOptions
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.mask_files import MASK_SUFFIXES
from robustvit.data.matching import compose
from robustvit.data.photo_lists import AS_NAMED, columns_of, read_photo_list
from robustvit.data.photo_names import adopt_masks
from robustvit.data.photo_scales import SetPixels, settle_pixels
from robustvit.data.photo_tree import PhotoTree, files_below, is_hidden, reads_only
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.tables.source import expect_source, is_list, places_in, root_of


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
    """

    image: Path
    mask: Path | None = None
    class_name: str | None = None
    label: int | None = None
    is_mask_id: bool = False
    pixels: Pixels = PLAIN


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


def find_photos(
    images: str | Path,
    masks: str | Path | None = None,
    *,
    labelled: bool = True,
    skip_unmasked: bool = False,
    keep: Callable[[Photo], bool] | None = None,
    pixels: Pixels | None = PLAIN,
    columns: ColumnOptions = AS_NAMED,
    notes: list[str] | None = None,
) -> list[Photo]:
    """List photos with their classes and masks, in a fixed order.

    Args:
        images: a folder with one folder of photos per class, a flat folder, a list with the columns ``image`` and
            optionally ``mask`` and ``label``, whose paths are relative to it, or a set; see ``PhotoOptions``.
        masks: a folder that mirrors ``images`` by folders and stem, or the paths in a list.
        labelled: whether classes are needed; without them a flat folder is enough.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        keep: whether to use a photo; see ``MaskFilter``.
        pixels: how pixels are read, as far as the user said; the rest is decided for all photos together. None if the
            caller decides it, for these photos and others.
        columns: of a list, that the user names.
        notes: list that gets a line on files or rows that were left out; they are printed when left out.
    """
    said: list[str] = [] if notes is None else notes
    if is_list(images):
        if columns.class_folders is not None:
            raise UserError(f"--class-folders belongs to folders of photos, {images} is none: name a column of classes")
        photos = _read_list(images, columns, said)
        if masks is not None:
            photos = _add_listed_masks(photos, images, Path(masks), said)
        photos = _filter(photos, keep)
        if not skip_unmasked and any(photo.mask for photo in photos):
            _refuse_unmasked([photo.image for photo in photos if photo.mask is None])
    else:
        images = Path(images)
        _refuse_columns(columns, images)
        photos = _read_folder(images, masks, said, columns.class_folders == "inner")
        if masks is not None:
            photos = _add_masks(photos, images, Path(masks), skip_unmasked, keep)
    if skip_unmasked and any(photo.mask for photo in photos):
        photos = [photo for photo in photos if photo.mask is not None]
    if labelled:
        expect_classes(photos, images, "add them, or finetune with --target predicted")
    settled = SetPixels() if pixels is None else settle_pixels((photo.image for photo in photos), pixels)
    said += settled.notes
    if notes is None:
        for line in said:
            warn(line)
    return [replace(photo, pixels=settled.photos.get(photo.image, pixels or PLAIN)) for photo in photos]


def _refuse_columns(columns: ColumnOptions, images: Path) -> None:
    if named := next((name for name, value in vars(columns).items() if value and name != "class_folders"), None):
        option = "--" + named.replace("_", "-")
        raise UserError(f"{option} belongs to a list or a set, {images} is a folder: leave it out, or name the list")


def expect_classes(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without classes; ``fix`` says what to do."""
    if any(photo.class_name is None for photo in photos):
        if is_list(images):
            there = f" beside the columns {', '.join(map(repr, columns_of(images)))} (--label-column names one)"
        else:
            lists = sorted(path for path in Path(images).iterdir() if is_list(path) and path.suffix != ".txt")
            there = f" beside the list {lists[0].name}, which --images can name," if lists else ""
        raise UserError(
            f"expected a class for every photo in {images} (class folders, or a CSV column 'label'), found photos "
            f"without{there}: {fix}"
        )


def expect_masks(photos: Iterable[Photo], images: str | Path, fix: str) -> None:
    """Refuse photos without masks; ``fix`` says what to do."""
    if any(photo.mask is None for photo in photos):
        raise UserError(f"expected masks for the photos in {images}, found none: {fix}")


def _read_folder(folder: Path, masks: str | Path | None, notes: list[str], inner: bool) -> list[Photo]:
    tree = PhotoTree(folder, masks, inner)
    tree.expect_photos()
    if tree.parts:
        raise UserError(
            f"{folder} holds {', '.join(tree.parts)}, which are parts of a set and no classes: name one of them, "
            f"{folder / tree.parts[0]}"
        )
    flat = [path for inside, path in tree.photos.items() if "/" not in inside]
    if flat and len(flat) < len(tree.photos):
        raise UserError(f"{folder} holds photos both directly ({flat[0].name}) and in class folders: sort them")
    if not flat:
        _check_class_folders(tree, notes)
    if tree.count.note:
        notes.append(tree.count.note)
    return [Photo(path, class_name=tree.class_of(inside)) for inside, path in tree.photos.items()]


def _check_class_folders(tree: PhotoTree, notes: list[str]) -> None:
    """Refuse a class all of whose photos have other endings; name folders without any, and photos deeper inside."""
    read = {inside.partition("/")[0] for inside in tree.photos}
    for name in tree.folders:
        unread = [inside for inside in tree.unread if inside.startswith(f"{name}/")]
        if name not in read and unread:
            raise UserError(
                f"class folder {name} in {tree.root} holds no photo that can be read, but {len(unread)} others "
                f"({unread[0]} ...): {reads_only()}, or remove the folder"
            )
    where = "/".join(tree.root.parts[-2:])
    if empty := [name for name in tree.folders if name not in read]:
        notes.append(f"{where}: folders without photos, which are no classes here: {', '.join(empty)}.")
    deep = [inside for inside in tree.photos if inside.count("/") > 1]
    if deep and not tree.inner:
        place, _, _ = deep[0].rpartition("/")
        notes.append(
            f"{where}: {len(deep)} photos lie in inner folders and count to the class folder above ({place} to "
            f"{place.partition('/')[0]}); --class-folders inner takes the inner ones."
        )


def _filter(photos: list[Photo], keep: Callable[[Photo], bool] | None) -> list[Photo]:
    kept = photos if keep is None else [photo for photo in photos if keep(photo)]
    if not kept:
        raise UserError("every photo was left out because of its mask: make better masks, or review them with --review")
    return kept


def _add_masks(
    photos: list[Photo], images: Path, masks: Path, skip_unmasked: bool, keep: Callable[[Photo], bool] | None
) -> list[Photo]:
    expect_folder(masks, "masks")
    by_key = _masks_by_key(masks, flat=photos[0].class_name is None)
    places_inside = [photo.image.relative_to(images).as_posix() for photo in photos]
    keys = list(map(_key, places_inside))
    _refuse_two_photos(photos, keys)
    for line in adopt_masks(by_key, dict(zip(keys, places_inside, strict=True)), images, masks):
        warn(line)
    without_photo = sorted(set(by_key) - set(keys))
    found = [Photo(p.image, by_key.get(key), p.class_name) for p, key in zip(photos, keys, strict=True)]
    kept = _filter(found, keep)
    if not skip_unmasked:
        tops, kept_tops = ({_top(p, images) for p in these} for these in (photos, kept))
        left_out = tops - kept_tops
        there = {compose(p.name) for p in masks.iterdir() if p.is_dir() and not is_hidden(p.name)}
        places: set[str | None] = {None} if None in tops else {*there}
        _refuse_other_classes(tops - left_out, places - left_out, images, masks)
        _refuse_unmasked([p.image for p in kept if p.mask is None])
    if without_photo:
        raise UserError(f"mask without an image: {by_key[without_photo[0]]}{_more(without_photo)}; remove or rename it")
    return kept


def _top(photo: Photo, images: Path) -> str | None:
    """Return the folder at the top that a photo lies in, which masks have too; None in a flat folder."""
    return None if photo.class_name is None else compose(photo.image.relative_to(images).parts[0])


def _key(inside: str) -> str:
    """Return what a photo and its mask share: the path in their folder without the ending of the file."""
    return compose(str(PurePosixPath(inside).with_suffix("")))


def _masks_by_key(masks: Path, flat: bool | None = None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for inside, path in files_below(masks, MASK_SUFFIXES).items():
        if flat is not None and ("/" in inside) == flat:  # beside class folders, or in folders beside flat masks
            continue
        if other := found.get(_key(inside)):
            raise UserError(f"two masks for one photo: {other} and {path}; remove one")
        found[_key(inside)] = path
    return found


def _refuse_other_classes(ours: set[str | None], theirs: set[str | None], images: Path, masks: Path) -> None:
    if set(map(_letters, ours)) == set(map(_letters, theirs)):
        return
    lacking = [f"{place} lacks {', '.join(sorted(map(str, names)))}" for place, names in
               ((masks, ours - theirs), (images, theirs - ours)) if names]  # fmt: skip
    raise UserError(f"class folders of images and masks do not match: {' and '.join(lacking)}")


def _letters(name: str | None) -> str | None:
    return None if name is None else compose(name)


def _refuse_unmasked(lacking: list[Path]) -> None:
    if lacking:
        raise UserError(
            f"image without a mask: {lacking[0]}{_more(lacking)}; add the mask, or leave such photos out with "
            "--skip-unmasked"
        )


def _refuse_two_photos(photos: list[Photo], keys: list[str]) -> None:
    seen: dict[str, Path] = {}
    for photo, key in zip(photos, keys, strict=True):
        if other := seen.get(key):
            raise UserError(f"two photos of one name would share a mask: {other} and {photo.image}; rename one")
        seen[key] = photo.image


def _more(items: list) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""


def _add_listed_masks(photos: list[Photo], images: str | Path, masks: Path, notes: list[str]) -> list[Photo]:
    """Give photos of a list the masks in a folder, by their paths from the folder of the list, or by their names."""
    expect_folder(masks, "masks")
    if any(photo.mask for photo in photos):
        raise UserError(f"expected --masks or a column of masks, {images} has both: leave one of them out")
    files = [photo.image for photo in photos]
    root = root_of(images, files)
    places = places_in(files, root)
    by_key = _masks_by_key(masks)
    keys = list(map(_key, places))
    _refuse_two_photos(photos, keys)
    notes += adopt_masks(by_key, dict(zip(keys, places, strict=True)), root, masks)
    if not set(by_key) & set(keys):
        raise UserError(f"expected masks of the photos in {images} in {masks}, none has the path or name of one")
    if others := sorted(set(by_key) - set(keys)):
        notes.append(f"{pluralize(len(others), 'mask')} in {masks.name} of photos that are not listed ({others[0]}).")
    return [replace(photo, mask=by_key.get(key)) for photo, key in zip(photos, keys, strict=True)]


def _read_list(path: str | Path, columns: ColumnOptions, notes: list[str]) -> list[Photo]:
    listed = read_photo_list(path, columns)
    photos = [Photo(one.image, one.mask, one.class_name, is_mask_id=one.is_mask_id) for one in listed.photos]
    counts = Counter((photo.image.resolve(), photo.class_name) for photo in photos)
    if twice := next((place for (place, _), count in counts.items() if count > 1), None):
        raise UserError(f"{path} lists {twice} more than once: keep one row per photo and class")
    notes += listed.notes + ([listed.count.note] if listed.count.note else [])
    return photos
