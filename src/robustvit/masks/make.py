"""The ``masks`` command: masks for a folder of photos, from a model or from another tool's annotations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from robustvit.common.command_options import command
from robustvit.common.errors import UserError, expect_at_least, expect_one_of
from robustvit.common.former_spellings import FormerSpellings
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import RunningOptions
from robustvit.common.options import AnnotationTarget
from robustvit.common.photo_options import ColumnOptions, PixelOptions
from robustvit.common.wording import pluralize
from robustvit.masks.options import AnnotationOptions, MaskOptions

if TYPE_CHECKING:
    from robustvit.data.manifest import MaskRecord

_SHOWN = 10


@dataclass(frozen=True)
class MadeMasks(Tabular):
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

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each photo."""
        for one in self.records:
            row = {name: getattr(one, name) for name in ("image", "mask", "label", "verdict", "confidence", "reason")}
            yield row | {"source": one.source} | one.measures | one.origin

    @property
    def skipped(self) -> dict[str, int]:
        """Number of photos without a mask by reason; the manifest names them."""
        from robustvit.data.manifest import count_skipped_photos

        return count_skipped_photos(self.records)

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
    first=("source", "out", "method", "prompt", "from_", "images", "review_page", "model"),
    formerly=FormerSpellings(renamed={"review": "review_page"}),
    batch_size=8,
    leave_out=("precision", "seed", "group_by"),
)
def make_masks(
    source: str | None = None,
    *,
    out: str,
    finding: MaskOptions,
    annotated: AnnotationOptions,
    pixels: PixelOptions,
    columns: ColumnOptions,
    review_page: str | None = None,
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
        images: the photos; with --from, the folder of those that are annotated.
        out: folder for the masks.
        review_page: HTML file to write, a gallery to review the masks; it saves the review.csv that --review of
            finetune takes.
        to: also write the masks as annotations into their folder, for correction in a tool: coco (run lengths, exact),
            coco-polygons (for CVAT) or label-studio (polygons of few points, at least 98 % alike).
        workers: processes that cut and refine masks; this one runs the model.

    Returns:
        Masks, counts and problems; printing it gives a summary.

    Raises:
        UserError: anything wrong with what was given; single photos that cannot be used are listed instead.

    Example:
        robustvit masks photos/train --out masks/train --review-page review.html
    """
    import time

    from robustvit.common.errors import printable

    source, finding = _check_options(source, finding, annotated, columns)
    _check_files(out, review_page, to)
    from robustvit.masks.from_annotations import import_annotated, read_boxes
    from robustvit.masks.from_model import find_masks
    from robustvit.masks.review_page import write_review
    from robustvit.masks.to_annotations import write_annotations

    start = time.monotonic()
    with ExitStack() as held:
        if annotated.from_ is not None:
            masked = import_annotated(source, out, annotated, read_boxes(annotated, finding, pixels, running), held)
        else:
            masked = find_masks(source, out, finding, (pixels, columns), running, held)
        problems, folder = [printable(line) for line in masked.problems], masked.folder
        records = folder.finish(problems) if folder.rank == 0 else []
    page = written = None
    if folder.rank == 0:
        _expect_masks(records, [*problems, *(f"{one.image}: {one.reason}" for one in records if annotated.from_)])
        page = write_review(records, review_page) if review_page is not None else None
        if to is not None:
            written, lines = write_annotations(records, folder.path, masked.root, to)
            problems += [printable(line) for line in lines]
    made, seconds = masked.made, time.monotonic() - start
    return MadeMasks(
        folder.path, folder.manifest, records, problems, masked.left_out, made, seconds, page, masked.notes, written
    )


def _check_options(
    source: str | None, finding: MaskOptions, annotated: AnnotationOptions, columns: ColumnOptions
) -> tuple[str, MaskOptions]:
    """Refuse options that conflict, and photos that do not exist; return the source, and the options with defaults."""
    from robustvit.data.tables.source import expect_source

    expect_at_least(1, objects=finding.objects)
    if annotated.from_ is not None and finding.prompt is not None:
        raise UserError("--prompt finds masks by words, --from reads them from annotations: leave one of them out")
    finding, source = finding.settle(), _source(source, annotated)
    if annotated.from_ is None:
        expect_source(source)
        return source, finding
    if columns != ColumnOptions():
        raise UserError("columns and class folders belong to photos without annotations: leave them or --from out")
    if finding.no_object:
        raise UserError("--no-object is for masks that a model makes: of annotated photos tell it to finetune")
    return source, finding


def _check_files(out: str, review_page: str | None, to: AnnotationTarget | None) -> None:
    """Before any mask is made, refuse to overwrite files of others, or to write into their folder."""
    from robustvit.masks.folder import expect_mask_folder
    from robustvit.masks.review_page import check_review

    expect_mask_folder(out)
    if review_page is not None:
        check_review(review_page)
    if to is not None:
        from robustvit.masks.to_annotations import check_target

        expect_one_of("--to", to, get_args(AnnotationTarget))
        check_target(out, to)


def _expect_masks(records: list[MaskRecord], reasons: list[str]) -> None:
    """Refuse to end without any mask; the first reason that names a photo says why."""
    if any(record.mask and record.verdict != "no-object" for record in records):
        return
    of_photos = [line for line in reasons if Path(line.partition(": ")[0]).is_file()]  # others say how it was read
    reason = next(iter([*of_photos, *reasons]), "nothing stands out in any photo")
    raise UserError(f"no mask could be made: {reason}")


def _source(source: str | None, annotated: AnnotationOptions) -> str:
    """Return the source of the masks: photos, which --images may name too, or annotations."""
    if annotated.from_ is not None:
        if source is None:
            raise UserError(
                f"expected the annotations for --from {annotated.from_}, got none: name their file or folder"
            )
        return source
    if source is not None and annotated.images is not None:
        raise UserError(
            f"expected photos once, got {source} and --images {annotated.images}: leave one of them out, or, if "
            f"{source} holds annotations, name their format with --from"
        )
    if source is None and annotated.images is None:
        raise UserError("expected photos to make masks for, got none: name their folder, or a list of them")
    return str(source or annotated.images)
