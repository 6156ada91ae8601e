"""Shifted copies of masked photos: objects on other backgrounds, without any, or moved, turned and scaled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from robustvit.common.command_options import command
from robustvit.common.errors import UserError, expect_at_least, expect_share
from robustvit.common.former_spellings import FormerSpellings
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import ImageFormat, ShiftKinds
from robustvit.common.photo_options import GivenPhotos
from robustvit.common.wording import list_names, pluralize

if TYPE_CHECKING:
    from robustvit.data.photo import Photo
    from robustvit.data.shifts.folder import ShiftFolder
    from robustvit.data.shifts.kinds import ShiftOptions, ShiftPlan

_BYTES = {".png": 1.4, ".jpg": 0.4}  # a pixel, of photos


@dataclass(frozen=True)
class Shifts(Tabular):
    """The result of ``shifts``.

    Attributes:
        folder: of the images.
        images: number of images of each kind; after a dry run, how many there would be at most.
        made: number of images that this call made.
        skipped: number of images that could not be made, by kind and reason.
        notes: for readers of results on these images.
        size: approximate size of the images in bytes.
        seconds: duration of the call.
        dry_run: nothing was written.
    """

    folder: Path
    images: dict[str, int]
    made: int
    skipped: dict[str, dict[str, int]]
    notes: list[str] = field(default_factory=list)
    size: int = 0
    seconds: float = 0.0
    dry_run: bool = False

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each kind."""
        for kind, count in self.images.items():
            yield {"kind": kind, "images": count, "left out": sum(self.skipped.get(kind, {}).values())}

    def __str__(self) -> str:
        total = sum(self.images.values())
        lines = [f"{pluralize(total, 'image')} in {self.folder}, {self.made} of them made now in {self.seconds:.0f} s"]
        if self.dry_run:
            size = decimal(self.size)
            lines = [f"{pluralize(total, 'image')} would go to {self.folder}, about {size}; nothing was written"]
        for kind, count in self.images.items():
            lines.append(f"  {kind:<12}{count:>8}")
            for reason, number in self.skipped.get(kind, {}).items():
                lines.append(f"  {'':<12}{number:>8} left out: {reason}")
        if not self.dry_run:
            kind = next(iter(self.images))
            lines.append(f"examples: {self.folder / 'contact-sheet.png'}")
            lines.append(f"metadata.csv lists them; robustvit evaluate --images {self.folder / kind} reads one kind")
        return "\n".join(lines + self.notes)


@command(
    first=("images", "masks", "out", "kinds", "pairs", "size", "dry_run"),
    formerly=FormerSpellings(positional=("images", "masks")),
    leave_out=("batch_size", "device", "precision", "group_by"),
)
def shifts(
    *,
    given: GivenPhotos,
    out: str,
    kinds: ShiftKinds = "imagenet-9",
    backgrounds: str | None = None,
    pairs: int | None = None,
    every: int = 1,
    size: int | None = None,
    min_inside: float | None = None,
    format: ImageFormat = "png",
    running: RunningOptions,
    dry_run: bool = False,
) -> Shifts:
    """Make shifted copies of photos with masks, as SI-Score and ImageNet-9 do, for evaluate to read.

    imagenet-9 stands for original (shorter side resized, centre crop), and from it only-fg (background black), no-fg
    (object black), only-bg-b (its box black), only-bg-t (its box tiled over), mixed-same, mixed-rand and mixed-next
    (object on an only-bg-t photo of its own class, a random one, the next one): one image for every photo; so is
    mixed-other (a random class, but never its own), which is named by itself. si-score stands for si-size, si-rotation
    and si-location: the object cut out and placed at 100, 72 or 441 points of a grid, for every pair of an object and
    a background. Images go to OUT/KIND/CLASS, masks of those that show the object to OUT/masks/KIND/CLASS, examples of
    each kind to OUT/contact-sheet.png. A second call with the same options makes only what is missing.

    Args:
        out: folder to write to: new, empty, or begun with the same options.
        kinds: kinds or groups of them, separated by commas: imagenet-9, si-score, original, only-fg, no-fg, only-bg-b,
            only-bg-t, mixed-same, mixed-rand, mixed-next, mixed-other, si-size, si-rotation, si-location.
        backgrounds: folder of plain photos that si kinds place objects on; default: photos of the other classes, with
            the object's box tiled over.
        pairs: pairs of an object and a background for si kinds, spread evenly over the classes; default: one per class,
            and at least 20.
        every: take every n-th point of the si kinds' grids: areas, angles, or columns and rows (5: 20 areas, 4 x 4
            areas and angles, 5 x 5 places).
        size: side of the images in pixels; default: 224, and 512 for si kinds (500 for location).
        min_inside: smallest share of the object's box that must lie inside an image of the si kinds; default: 0.95 (0
            for location).
        format: png, or jpeg (quality 95) for smaller files.
        seed: fixes which objects and backgrounds go together.
        workers: processes that make images beside this one; the images are the same.
        dry_run: count what would be made, without writing anything.

    Returns:
        Counts and what was left out; printing it gives a summary.

    Raises:
        UserError: anything wrong with what was given; nothing is written then.

    Example:
        robustvit shifts --images photos/test --masks masks/test --out shifted --kinds mixed-other,si-location
    """
    from robustvit.data.photo import expect_photos

    expect_photos(given.images, given.masks)
    from robustvit.data.shifts.kinds import ShiftOptions, find_kinds

    options = ShiftOptions(
        find_kinds(list_names(kinds)), pairs, every, size, min_inside, format, given.mask_format, running.seed
    )
    _check_options(options, backgrounds)
    return _make(given, out, options, backgrounds, running.workers, dry_run)


def _make(
    given: GivenPhotos, out: str, options: ShiftOptions, backgrounds: str | None, workers: int, dry_run: bool
) -> Shifts:
    import time

    from robustvit.data.photo_tree import list_backgrounds
    from robustvit.data.shifts.folder import SHEET, ShiftFolder, check_class_names, digest_sources, write_contact_sheet
    from robustvit.data.shifts.images import SUFFIXES, make_shifts, spread_work
    from robustvit.data.shifts.plans import plan_shifts

    start = time.monotonic()  # loading the libraries does not count
    photos, left_out_photos = _find_photos(given)
    check_class_names(photos)
    plain = [] if backgrounds is None else list_backgrounds(backgrounds)
    settings = asdict(options) | {"inputs": digest_sources(photos, plain)} | options.draws
    folder = ShiftFolder(out, settings, suffix=SUFFIXES[options.format], inputs=_list_inputs(given, backgrounds))
    with spread_work(workers) as spread:
        plan = plan_shifts(photos, plain, options, spread)
        plan.notes.extend(left_out_photos)
        if dry_run:
            return _summarize(folder, plan, {}, 0, time.monotonic() - start, dry_run=True)
        left_out, made = make_shifts(plan, folder, options, spread)
    folder.finish(plan, left_out, _find_root(given.images, photos), None if backgrounds is None else Path(backgrounds))
    if made or not (folder.path / SHEET).is_file():
        write_contact_sheet(plan, left_out, folder)
    return _summarize(folder, plan, left_out, made, time.monotonic() - start)


def _list_inputs(given: GivenPhotos, backgrounds: str | None) -> list[Path]:
    """Return the files and folders that are read, which the images must not be written to."""
    from robustvit.data.tables.source import is_set, split_part

    inputs = [] if is_set(given.images) else [Path(split_part(given.images)[0])]
    return inputs + [Path(place) for place in (given.masks, backgrounds) if place is not None]


def _find_root(images: str, photos: list[Photo]) -> Path:
    """Return the folder that the names of photos are relative to: the folder of a list, even for photos elsewhere."""
    from robustvit.data.tables.source import is_list, is_set, root_of, split_part

    if is_set(images):
        return root_of(images, [photo.image for photo in photos])
    place = Path(split_part(images)[0])
    return place.parent if is_list(images) else place


def _check_options(options: ShiftOptions, backgrounds: str | None) -> None:
    expect_at_least(1, every=options.every)
    if options.pairs is not None:
        expect_at_least(1, pairs=options.pairs)
    if options.size is not None:
        expect_at_least(16, size=options.size)
    expect_share(min_inside=options.min_inside)
    given = {"backgrounds": backgrounds, "pairs": options.pairs, "min-inside": options.min_inside}
    given["every"] = None if options.every == 1 else options.every
    if not options.moved and (name := next((name for name, value in given.items() if value is not None), None)):
        raise UserError(f"--{name} belongs to si-size, si-rotation and si-location: name one in --kinds")


def _find_photos(given: GivenPhotos) -> tuple[list[Photo], list[str]]:
    """Return the photos, all with class and mask, and lines on what was left out."""
    from robustvit.data.find_photos import expect_classes
    from robustvit.data.mask_filter import find_usable_photos
    from robustvit.data.photo import expect_masks

    images = given.images
    photos, notes = find_usable_photos(given, labelled=False)
    expect_masks(photos, images, "name their folder after that of the photos, or make some with robustvit masks")
    expect_classes(photos, images, "add them")
    return photos, notes


def _summarize(
    folder: ShiftFolder, plan: ShiftPlan, left_out: dict[str, str], made: int, seconds: float, *, dry_run: bool = False
) -> Shifts:
    kinds = folder.settings["kinds"]
    planned = Counter(shift.kind for shift in plan.shifts)
    reasons = Counter((skip.kind, skip.reason) for skip in plan.skips)
    for shift in plan.shifts:
        if shift.id in left_out:
            planned[shift.kind] -= 1
            reasons[shift.kind, left_out[shift.id]] += 1
    skipped = {kind: {why: count for (of, why), count in sorted(reasons.items()) if of == kind} for kind in kinds}
    size = sum(round(_BYTES[folder.suffix] * shift.size**2) for shift in plan.shifts)
    counts = {kind: planned[kind] for kind in kinds}
    return Shifts(folder.path, counts, made, skipped, plan.notes, size, seconds, dry_run)
