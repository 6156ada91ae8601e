"""The ``masks`` command: masks for a folder of photos, from a model or from another tool's annotations."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from robustvit.common.command_options import command
from robustvit.common.errors import UserError, expect_at_least, expect_one_of
from robustvit.common.option_groups import ColumnOptions, PixelOptions, RunningOptions
from robustvit.common.options import AnnotationTarget, Categories
from robustvit.common.wording import pluralize
from robustvit.masks.options import AnnotationOptions, MaskOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robustvit.data.manifest import MaskRecord
    from robustvit.data.photo_tree import PlacedPhoto
    from robustvit.masks.annotations.box_reading import BoxReading
    from robustvit.masks.folder import MaskFolder
    from robustvit.masks.sources import MaskSource

_SHOWN = 10


@dataclass(frozen=True)
class MadeMasks:
    """Result of ``make_masks``.

    Attributes:
        folder: of the masks.
        manifest: CSV file with a row for each photo, which ``finetune`` takes as ``--images`` too.
        records: the same rows.
        problems: one line for each photo or annotation that could not be used, or only partly.
        left_out: number of photos without a row.
        made: number of photos processed by this call.
        seconds: duration.
        review: the review page, if requested.
        notes: what was made of boxes, and which objects were left out.
        annotations: the file of annotations to correct masks with, if requested.
    """

    folder: Path
    manifest: Path
    records: list[MaskRecord]
    problems: list[str]
    left_out: int
    made: int
    seconds: float
    review: Path | None = None
    notes: tuple[str, ...] = ()
    annotations: Path | None = None

    @property
    def skipped(self) -> dict[str, int]:
        """Number of photos without a mask by reason; the manifest names them."""
        from robustvit.data.manifest import skipped_photos

        return skipped_photos(self.records)

    def __str__(self) -> str:
        counts = {name: sum(r.verdict == name for r in self.records) for name in ("good", "doubtful", "none")}
        named = sum(r.verdict == "no-object" for r in self.records)
        masks, speed = pluralize(counts["good"] + counts["doubtful"], "mask"), self.made / max(self.seconds, 1e-9)
        lines = [
            f"{masks} in {self.folder}: {counts['good']} good, {counts['doubtful']} doubtful (left out of training); "
            f"{pluralize(counts['none'], 'photo')} without an object",
            *([f"  {pluralize(named, 'photo')} said to show no object: black masks"] if named else []),
            *(f"  {pluralize(number, 'photo')}: {reason}" for reason, number in self.skipped.items()),
            *self.notes,
            f"{pluralize(self.made, 'photo')} done now, {speed:.1f} images/s; {self.manifest}",
        ]
        if self.problems:
            lines.append(
                f"{pluralize(self.left_out, 'photo')} left out, {pluralize(len(self.problems), 'problem')} (all in "
                f"{self.folder / 'problems.txt'}):"
            )
            lines += [f"  {line}" for line in self.problems[:_SHOWN]]
        if self.annotations:
            lines.append(f"to correct: {self.annotations}; then read the tool's export with --from and another --out")
        return "\n".join(lines + ([f"review: {self.review}"] if self.review else []))


@command(
    first=("source", "out", "method", "prompt", "from_", "images", "review", "model"),
    batch_size=8,
    leave_out=("precision", "seed"),
)
def make_masks(
    source: str,
    *,
    out: str,
    finding: MaskOptions,
    annotated: AnnotationOptions,
    pixels: PixelOptions,
    columns: ColumnOptions,
    review: str | None = None,
    to: AnnotationTarget | None = None,
    running: RunningOptions,
) -> MadeMasks:
    """Make foreground masks for a folder of photos, ready for finetune.

    Without --from, a model makes them and rates each as good, doubtful or none; with --from, they are read from
    annotations. Writes grey PNGs that mirror the photos, and manifest.csv with a confidence and a verdict for each. A
    second call does only what is missing.

    Args:
        source: folder of photos, or of class folders with photos, or a list or set as for finetune's images; with
            --from, the annotation file or folder.
        out: folder for the masks.
        review: HTML file to write, a gallery to review the masks; finetune follows the review.csv that it saves.
        to: also write the masks as annotations into their folder, to be corrected and read again: coco (run lengths,
            exact), coco-polygons (for CVAT) or label-studio (polygons of few points, at least 98 % alike).
        workers: processes that cut and refine masks; this one runs the model.

    Returns:
        Masks, counts and problems; printing it gives a summary.

    Raises:
        UserError: anything wrong with what was given; single photos that cannot be used are listed instead.

    Example:
        robustvit masks photos/train --out masks/train --review review.html
    """
    import time

    from robustvit.common.errors import printable
    from robustvit.data.tables.source import expect_source

    expect_at_least(1, objects=finding.objects)
    if annotated.from_ is not None and finding.prompt is not None:
        raise UserError("--prompt finds masks by words, --from reads them from annotations: leave one of them out")
    finding = finding.settle()
    if annotated.from_ is None:
        expect_source(source)
    from robustvit.masks.review_page import check_review, write_review

    if review is not None:
        check_review(review)
    if to is not None:
        from robustvit.masks.to_annotations import check_target, write_annotations

        expect_one_of("--to", to, get_args(AnnotationTarget))
        check_target(out, to)
    start = time.monotonic()
    if annotated.from_ is not None and columns != ColumnOptions():
        raise UserError("columns and class folders belong to photos without annotations: leave them or --from out")
    notes: list[str] = []
    with ExitStack() as held:
        if annotated.from_ is not None:
            if finding.no_object:
                raise UserError("--no-object is for masks that a model makes: of annotated photos tell it to finetune")
            boxes = _read_boxes(annotated, finding, pixels, running)
            folder, problems, left_out, made, root = _import_masks(source, out, annotated, boxes, held)
            notes = boxes.summary()
        else:
            folder, problems, left_out, made, root = _find_masks(source, out, finding, (pixels, columns), running, held)
        problems = [printable(line) for line in problems]
        records = folder.finish(problems) if folder.rank == 0 else []
    if folder.rank == 0 and not any(record.mask and record.verdict != "no-object" for record in records):
        reasons = [*problems, *(f"{one.image}: {one.reason}" for one in records if annotated.from_)]
        of_photos = [line for line in reasons if Path(line.partition(": ")[0]).is_file()]  # others say how it was read
        reason = next(iter([*of_photos, *reasons]), "nothing stands out in any photo")
        raise UserError(f"no mask could be made: {reason}")
    page = write_review(records, review) if review is not None and folder.rank == 0 else None
    written = None
    if to is not None and folder.rank == 0:
        written, lines = write_annotations(records, folder.path, root, to)
        problems += [printable(line) for line in lines]
    seconds = time.monotonic() - start
    return MadeMasks(
        folder.path, folder.manifest, records, problems, left_out, made, seconds, page, tuple(notes), written
    )


def _list_categories(categories: Categories | None) -> list[str]:
    """Return categories as a list of names; ``cat,dog`` is two."""
    from robustvit.data.matching import compose

    given = categories.split(",") if isinstance(categories, str) else categories
    if given is None:
        return []
    return [compose(str(name).strip()) for name in (given if isinstance(given, list) else [given])]


def _read_boxes(
    annotated: AnnotationOptions, finding: MaskOptions, pixels: PixelOptions, running: RunningOptions
) -> BoxReading:
    """Return how boxes become masks."""
    from robustvit.masks.annotations.box_reading import FEATHER, BoxReading

    chosen: dict[str, Any] = {
        "units": annotated.box_units,
        "min_confidence": annotated.min_confidence,
        "asked": annotated.boxes is not None,
    }
    if annotated.boxes != "sam":
        feather = FEATHER if annotated.feather is None else annotated.feather
        return BoxReading(shape=annotated.boxes or "ellipse", feather=feather, **chosen)
    from robustvit.common.devices import make_accelerator
    from robustvit.data.pixels import Pixels
    from robustvit.masks.sources.sam2 import SAM
    from robustvit.masks.sources.sam_boxes import SamBoxes

    device = make_accelerator(device=running.device).device
    return SamBoxes(model=finding.model or SAM, device=device, pixels=Pixels.of(pixels), **chosen)


def _import_masks(
    source: str, out: str, options: AnnotationOptions, boxes: BoxReading, held: ExitStack
) -> tuple[MaskFolder, list[str], int, int, Path | None]:
    """Make masks from annotations; of several processes only the first reads them."""
    from robustvit.common.devices import make_accelerator
    from robustvit.common.progress import track
    from robustvit.masks.annotations import read_annotations, resolve_format
    from robustvit.masks.annotations.box_reading import BoxReading
    from robustvit.masks.annotations.class_folders import class_folders
    from robustvit.masks.annotations.to_masks import check_categories, digest_annotation, import_masks
    from robustvit.masks.folder import MaskFolder

    images, categories = options.images, _list_categories(options.categories)
    form = resolve_format(str(options.from_), source)
    found = read_annotations(form, source, images, options.orientation, options.which, boxes=boxes)
    if not found.photos:
        raise UserError(f"no photo with an annotation: {found.problems[0] if found.problems else source}")
    check_categories(found, categories)
    root = found.root or _photo_root(source, images)
    folders, lines = class_folders([photo.image for photo in found], root, found.categories, options.label_from)
    given: dict[str, Any] = {"categories": categories, "label_from": options.label_from}
    given["orientation"] = options.orientation
    given |= {} if options.which is None else {"which": options.which}
    accelerator = make_accelerator(device="cpu")
    settings = {"from": form, **given, **boxes.settings}
    folder = MaskFolder(out, settings, accelerator.process_index, earlier=BoxReading().settings)
    accelerator.wait_for_everyone()  # all processes must have checked the folder before one writes to it
    todo = []
    if accelerator.is_main_process:
        boxes.load()
        held.enter_context(folder.locked())
        folder.start()
        _, edited = folder.forget_changed(
            found.photos, lambda photo: digest_annotation(photo, folders[photo.image], boxes), unknown=True
        )
        todo = folder.missing(found.photos)
        lines += [*edited, *folder.report_others(found.photos, source)]
        lines += import_masks(
            track(todo, "reading annotations"),
            folders,
            folder,
            boxes,
            images=root,
            categories=categories,
            label_from=options.label_from,
            advice=found.advice if form in ("voc", "imagenet-s") else "",
        )
    accelerator.wait_for_everyone()
    return folder, [*found.problems, *lines], len(folder.missing(found.photos)), len(todo), root


def _photo_root(source: str, images: str | None) -> Path | None:
    """Return the folder of photos that masks mirror: the named one, or that of a YOLO root or of LabelMe files."""
    from robustvit.masks.annotations.yolo import is_settings, yolo_photos, yolo_root

    if images is not None:
        return Path(images)
    known = Path(source).is_dir() or is_settings(Path(source))
    return yolo_photos(yolo_root(Path(source))) if known else None


def _find_masks(
    source: str,
    out: str,
    options: MaskOptions,
    reading: tuple[PixelOptions, ColumnOptions],
    running: RunningOptions,
    held: ExitStack,
) -> tuple[MaskFolder, list[str], int, int, Path]:
    """Make masks with a model; each process takes its share of the photos."""
    from accelerate.utils import gather_object

    from robustvit.common.devices import make_accelerator
    from robustvit.common.files import read_settings
    from robustvit.data.manifest import SETTINGS
    from robustvit.data.no_object import check_no_object, is_named, split_names
    from robustvit.data.photo_scales import recorded_scale
    from robustvit.data.pixels import Pixels
    from robustvit.data.placed_photos import place_photos
    from robustvit.data.tables.source import places_in
    from robustvit.masks.choose_cut import choose_cut
    from robustvit.masks.folder import MaskFolder
    from robustvit.masks.loop import mask_photos, write_black_masks
    from robustvit.masks.sources import make_source

    pixels, columns = reading
    old = read_settings(Path(out) / SETTINGS)
    pixels = pixels.or_else(PixelOptions(range=None if old is None else old.get("range")))
    photos, problems, root = place_photos(source, out, Pixels.of(pixels), columns)
    clashing = len(problems)
    check_no_object(options.no_object, {photo.label for photo in photos})
    named = frozenset(split_names(options.no_object))
    accelerator = make_accelerator(device=running.device)
    rank, processes = accelerator.process_index, accelerator.num_processes
    if options.method == "tokencut":
        shown = [photo for photo in photos if not is_named(photo.label, named)]
        options = choose_cut(options, shown, out, accelerator.device)
    if old is None or "range" in old:  # folders of earlier versions do not note what was decided
        pixels = replace(pixels, range=recorded_scale(photo.pixels for photo in photos) or pixels.range)
    settings = {name: value for name, value in asdict(options).items() if name != "no_object"}  # of single photos
    folder = MaskFolder(out, settings | pixels.said, rank)
    maker = make_source(options, accelerator.device, {photo.image: photo.label for photo in photos})
    files = [photo.image for photo in photos]
    unmatched = maker.match_photos(dict(zip(places_in(files, root), files, strict=True)), root)
    accelerator.wait_for_everyone()  # all processes must have checked the folder before one writes to it
    if accelerator.is_main_process:
        held.enter_context(folder.locked())
        folder.start()
        problems += [*unmatched, *_forget_changed(folder, photos, maker, named)]
    accelerator.wait_for_everyone()  # changed photos must be forgotten before one lists what is missing
    todo = folder.missing(photos)
    accelerator.wait_for_everyone()
    bare = [photo for photo in todo if is_named(photo.label, named)]
    mine = [photo for photo in todo if not is_named(photo.label, named)][rank::processes]
    lines = mask_photos(maker, mine, folder, running.batch_size, running.workers)
    lines += write_black_masks(bare[rank::processes], folder)
    problems += gather_object(lines)
    accelerator.wait_for_everyone()
    return folder, problems, len(folder.missing(photos)) + clashing, len(todo), root


def _forget_changed(
    folder: MaskFolder, photos: Sequence[PlacedPhoto], maker: MaskSource, named: frozenset[str]
) -> list[str]:
    """Drop masks of photos that changed since, or of other weights; return a line for each that is kept in spite."""
    from robustvit.common.progress import warn
    from robustvit.data.manifest import NO_OBJECT
    from robustvit.data.no_object import is_named
    from robustvit.masks.folder import digest_inputs

    def inputs(photo: PlacedPhoto) -> str:
        return digest_inputs(photo.image, NO_OBJECT if is_named(photo.label, named) else maker.content(photo.image))

    undated, edited = folder.forget_changed(photos, inputs, unknown=False)
    if undated:
        warn(
            f"{pluralize(undated, 'mask')} in {folder.path} of an earlier version, which did not note what they were "
            "made from: name another --out if photos or weights changed since"
        )
    return edited
