"""Listing photos with their classes and masks: class folders, a flat folder, or a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from robustvit.common.errors import UserError, option_name
from robustvit.common.options import NoObject
from robustvit.common.photo_options import ColumnOptions
from robustvit.common.progress import warn
from robustvit.common.wording import pluralize
from robustvit.data.grouping import doubt_groups, read_folder_pattern
from robustvit.data.no_object import check_no_object, mark_no_object, refuse_lost_classes
from robustvit.data.notes import short_place
from robustvit.data.photo import Photo, count_lost_classes
from robustvit.data.photo_lists import AS_NAMED, columns_of, read_photo_list
from robustvit.data.photo_masks import add_class_masks, add_listed_masks, add_masks, filter_photos, refuse_unmasked
from robustvit.data.photo_scales import SetPixels, settle_pixels
from robustvit.data.photo_tree import PhotoTree, describe_endings
from robustvit.data.pixels import PLAIN, Pixels
from robustvit.data.tables.source import is_list


@dataclass(frozen=True, kw_only=True)
class MaskRules:
    """Which photos need a mask, and which are left out because of theirs.

    Attributes:
        skip_unmasked: leave photos without a mask out instead of refusing them.
        no_object: classes whose photos show no object; they need no mask.
        further: the photos need not hold every class of ``no_object``.
        keep: whether to use a photo; see ``MaskFilter``.
        several: a photo may have several classes, or none: it is listed once for each; see ``join_labels``.
    """

    skip_unmasked: bool = False
    no_object: NoObject | None = None
    further: bool = False
    keep: Callable[[Photo], bool] | None = None
    several: bool = False


_EVERY_PHOTO = MaskRules()


def find_photos(
    images: str | Path,
    masks: str | Path | None = None,
    *,
    labelled: bool = True,
    rules: MaskRules = _EVERY_PHOTO,
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
        rules: which photos need a mask, and which are left out.
        pixels: how the user wants pixels to be read; the rest is decided for all photos together. None if the caller
            decides, for these photos and others.
        columns: columns of a list that the user names.
        notes: list that gets a line on files or rows that were left out; the lines are printed if it is not given.
    """
    said: list[str] = [] if notes is None else notes
    photos = _list_photos(images, masks, columns, said, rules.several)
    if not rules.further:
        check_no_object(rules.no_object, {photo.class_name for photo in photos})
    photos = _match_masks(mark_no_object(photos, rules.no_object, said), images, masks, rules, said)
    if rules.several:  # a class that says that nothing is there is not one of the model's
        photos = [replace(photo, class_name=None) if photo.no_object else photo for photo in photos]
    if labelled and not (rules.several and any(photo.class_name is not None for photo in photos)):
        expect_classes(photos, images, "add them, or finetune with --target predicted")
    settled = SetPixels() if pixels is None else settle_pixels((photo.image for photo in photos), pixels)
    said += settled.notes
    if notes is None:
        for line in said:
            warn(line)
    return [replace(photo, pixels=settled.photos.get(photo.image, pixels or PLAIN)) for photo in photos]


def _match_masks(
    photos: list[Photo], images: str | Path, masks: str | Path | None, rules: MaskRules, notes: list[str]
) -> list[Photo]:
    """Give photos the masks of a folder, or keep those of their list, and leave photos out as the rules say."""
    if is_list(images):
        if masks is not None and rules.several:
            photos = add_class_masks(photos, images, Path(masks), notes)
        elif masks is not None:
            photos = mark_no_object(add_listed_masks(photos, images, Path(masks), notes), rules.no_object, notes)
        photos = filter_photos(photos, rules.keep)
        if not rules.skip_unmasked and not rules.several:
            photos = _settle_unmasked(photos, from_folder=masks is not None)
    elif masks is not None:
        added = add_masks(photos, Path(images), Path(masks), rules.skip_unmasked, rules.keep)
        photos = mark_no_object(added, rules.no_object, notes)
    skips = rules.skip_unmasked and not rules.several  # a photo may have masks of other classes
    return _skip_unmasked(photos) if skips and any(photo.mask for photo in photos) else photos


def _settle_unmasked(photos: list[Photo], *, from_folder: bool) -> list[Photo]:
    """Take an empty mask cell in a list with masks to mean no object; refuse photos whose masks a folder lacks."""
    if from_folder:
        refuse_unmasked([photo.image for photo in photos if photo.mask is None and not photo.no_object])
    if not any(photo.mask for photo in photos):
        return photos
    return [photo if photo.mask else replace(photo, no_object=True) for photo in photos]


def _list_photos(
    images: str | Path, masks: str | Path | None, columns: ColumnOptions, notes: list[str], several: bool
) -> list[Photo]:
    """Return the photos of a list or folder; those of a list with the masks in it."""
    if is_list(images):
        if columns.class_folders is not None:
            raise UserError(
                f"--class-folders belongs to folders of photos, which {images} is not: name a column of classes"
            )
        return _read_list(images, columns, notes, several)
    of_folders = ("class_folders", "group_by")
    if named := next((name for name, value in vars(columns).items() if value and name not in of_folders), None):
        raise UserError(
            f"{option_name(named)} belongs to a list or a set, {Path(images)} is a folder: leave it out, or name the "
            "list"
        )
    return _read_folder(Path(images), masks, notes, columns)


def _read_folder(folder: Path, masks: str | Path | None, notes: list[str], columns: ColumnOptions) -> list[Photo]:
    pattern = read_folder_pattern(columns.group_by, columns.class_folders)
    tree = PhotoTree(folder, masks, pattern is not None or columns.class_folders == "inner")
    tree.expect_photos()
    if tree.parts:
        raise UserError(
            f"{folder} holds {', '.join(tree.parts)}, which are parts of a set, not classes: name one of them, "
            f"{folder / tree.main_part}"
        )
    flat = [path for inside, path in tree.photos.items() if "/" not in inside]
    if flat and len(flat) < len(tree.photos):
        raise UserError(f"{folder} holds photos both directly ({flat[0].name}) and in class folders: sort them")
    if not flat:
        _check_class_folders(tree, notes)
    if tree.count.note:
        notes.append(tree.count.note)
    if pattern is not None:
        named = [(path, *pattern.read(folder, inside)) for inside, path in tree.photos.items()]
        notes += doubt_groups(group for _, _, group in named)
        return [Photo(path, class_name=class_name, group=group) for path, class_name, group in named]
    return [Photo(path, class_name=tree.class_of(inside)) for inside, path in tree.photos.items()]


def _check_class_folders(tree: PhotoTree, notes: list[str]) -> None:
    """Refuse a class all of whose photos have other endings; name folders without any, and photos deeper inside."""
    read = {inside.partition("/")[0] for inside in tree.photos}
    for name in tree.folders:
        unread = [inside for inside in tree.unread if inside.startswith(f"{name}/")]
        if name not in read and unread:
            raise UserError(
                f"class folder {name} in {tree.root} holds no photo that can be read, but {len(unread)} others "
                f"({unread[0]} ...): {describe_endings()}, or move the folder elsewhere"
            )
    where = short_place(tree.root)
    if empty := [name for name in tree.folders if name not in read]:
        notes.append(f"{where}: folders without photos, which are not classes here: {', '.join(empty)}.")
    deep = [inside for inside in tree.photos if inside.count("/") > 1]
    if deep and not tree.inner:
        place, _, _ = deep[0].rpartition("/")
        notes.append(
            f"{where}: {len(deep)} photos lie in inner folders and belong to the class folder above ({place} to "
            f"{place.partition('/')[0]}); --class-folders inner takes the inner ones."
        )


def _skip_unmasked(photos: list[Photo]) -> list[Photo]:
    left = [photo for photo in photos if photo.mask is not None or photo.no_object]
    if lost := count_lost_classes(photos, left):
        refuse_lost_classes(
            lost,
            "by --skip-unmasked, as none has a mask",
            f"say --no-object {','.join(sorted(lost))} if they show no object, or add their masks",
        )
    return left


def _read_list(path: str | Path, columns: ColumnOptions, notes: list[str], several: bool) -> list[Photo]:
    photos, said = read_photo_list(path, columns, several=several)
    counts = Counter((photo.image.resolve(), photo.class_name) for photo in photos)
    if twice := next((image for (image, _), count in counts.items() if count > 1), None):
        raise UserError(f"{path} lists {twice} more than once: keep one row per photo and class")
    notes += [*said, *doubt_groups(photo.group for photo in photos)]
    return photos


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
