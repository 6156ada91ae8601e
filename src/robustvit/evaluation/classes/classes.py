"""Find the classes that finetuning helped or harmed, and which of these changes are significant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError, expect_at_least
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import MapOptions, RunningOptions, SetOptions
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.wording import pluralize
from robustvit.models.options import ComparedModels

if TYPE_CHECKING:
    from robustvit.evaluation.classes.changes import Changes, ClassChange

_PRINTED = 5


@dataclass(frozen=True)
class ClassAnalysis(Tabular):
    """The result of a comparison by class.

    Attributes:
        page: the HTML file.
        record: the JSON file beside it, with every number of the page.
        changes: the same as Python objects.
        title: of the set or the photos.
        sentence: what changed, in words.
        counted: what is counted: images, or labels where a photo has several.
    """

    page: Path
    record: Path
    changes: Changes
    title: str
    sentence: str
    counted: str = "image"

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each class."""
        yield from ({one.name: getattr(row, one.name) for one in fields(row)} for row in self.changes.classes)

    def __str__(self) -> str:
        changes = self.changes
        size = f"{pluralize(changes.before.count, self.counted)}, {pluralize(len(changes.classes), 'class')}"
        lines = [f"{self.title}: {size}", self.sentence]
        shown = {
            "helped most": changes.most_helped(_PRINTED, significant=True),
            "harmed most": changes.most_harmed(_PRINTED, significant=True),
        }
        if not any(shown.values()):
            changed = [*changes.most_helped(_PRINTED), *changes.most_harmed(_PRINTED)]
            changed.sort(key=lambda row: -abs(row.difference.mean))
            shown = {"changed most, not significantly": changed[:_PRINTED]}
        for title, rows in shown.items():
            if rows:
                lines.append(f"  {title:<32}{'images':>7}{'before':>8}{'after':>7}  {'change':<21}adjusted p")
                lines += [_describe_class(row) for row in rows]
        return "\n".join([*lines, f"page: {self.page}", f"record: {self.record}"])


@dataclass(frozen=True, kw_only=True)
class ShownClasses:
    """Classes and images to show.

    Attributes:
        count: classes in each chart, most helped and most harmed of those whose change is significant; a single chart
            of all if there are at most twice that many.
        samples: images to show of a class.
        classes_shown: classes to show images of, among those helped most and among those harmed most.
    """

    count: int = 20
    samples: int = 3
    classes_shown: int = 2


@dataclass(frozen=True, kw_only=True)
class ClassModels(ComparedModels):
    """Models."""

    baseline: str = field()


@command(
    first=("model", "baseline", "on", "root", "images", "masks", "out", "shown"),
    leave_out=("doubtful", "seed", "group_by"),
)
def classes(
    *,
    models: ClassModels,
    out: str,
    on: str | None = None,
    sets: SetOptions,
    photos: MeasuredPhotos,
    shown: ShownClasses,
    maps: MapOptions,
    running: RunningOptions,
) -> ClassAnalysis:
    """Find the classes that finetuning helped and harmed most, and write a page about them.

    For every class: accuracy before and after, the paired difference with its 95 % interval, and McNemar's p, adjusted
    for the number of classes. Of the classes that changed most, the first images whose answer changed are shown with
    both models' relevance. Images come from a benchmark set (--on, as for evaluate; recorded answers are not computed
    again) or from your own class folders (--images). For several labels a photo (--images LIST), each class has recall
    and average precision.

    Args:
        out: HTML file to write, new or an older page of this kind; the record goes beside it, with the suffix .json.
        on: set to compare on, such as imagenet-a or imagenet-v2/matched-frequency; one of those that evaluate knows.
        stream: read the set from the Hugging Face hub, image by image, instead of from --root; it is read a second
            time up to the last image shown.
        masks: folder of masks that mirrors images; their outlines are drawn into the photos shown.
        records: folder for answers and results on sets.
        seen: run folder whose training classes are marked; default: the model itself.

    Returns:
        Files and changes; printing it gives a table.

    Raises:
        UserError: anything wrong with what was given; no page is written then.

    Example:
        robustvit classes --model runs/mine --baseline original --on imagenet-a --root DATA --out classes.html
    """
    _check_source(on, sets, photos)
    expect_at_least(1, count=shown.count)
    expect_at_least(0, samples=shown.samples, classes_shown=shown.classes_shown)
    from robustvit.common.output_paths import page_and_record
    from robustvit.data.photo import expect_photos

    expect_photos(photos.images, photos.masks)
    from robustvit.evaluation.classes.record import CLASSES_KIND, class_record

    page, record = page_and_record(out, CLASSES_KIND, "a comparison of classes")
    from robustvit.evaluation.classes.answers import compare_on_photos, compare_on_set
    from robustvit.evaluation.classes.page import write_classes
    from robustvit.evaluation.classes.pictures import choose_turned_panels, draw_turned
    from robustvit.explanation.methods import get_method

    get_method(maps.relevance)
    method = maps.relevance if shown.samples > 0 and shown.classes_shown > 0 else None
    shared = models, sets, running, method
    compared = compare_on_photos(photos, *shared) if on is None else compare_on_set(on, *shared)
    panels = [] if compared.precisions else choose_turned_panels(compared, shown.classes_shown, shown.samples)
    settings = settings_of(classes, models, sets, photos, shown, maps, running, out=out, on=on)
    content = class_record(compared, panels, shown.count, settings)
    if compared.setup.accelerator.is_main_process:
        pictures = draw_turned(compared, panels, maps.relevance, photos.mask_format)
        write_classes(content, pictures, page, record)
    title, sentence, counted = compared.benchmark.title, content["sentence"], content["counted"]
    return ClassAnalysis(page, record, compared.changes, title, sentence, counted)


def _check_source(on: str | None, sets: SetOptions, photos: MeasuredPhotos) -> None:
    if (on is None) == (photos.images is None):
        raise UserError("expected one of --on SET, such as --on imagenet-a --root DATA, and --images FOLDER")
    if photos.images is None and photos.given:
        raise UserError(f"expected no --{photos.given.replace('_', '-')} with --on: it belongs to --images")
    if photos.images is not None:
        of_sets = [name for name in ("root", "stream") if getattr(sets, name)]
        of_sets += ["protocol"] if sets.protocol != "standard" else []
        if of_sets:
            raise UserError(f"expected no --{of_sets[0]} with --images: it belongs to --on")


def _describe_class(row: ClassChange) -> str:
    from robustvit.common.errors import printable

    return (
        f"  {printable(row.name)[:31]:<32}{row.difference.count:>7}{100 * row.before.mean:>8.1f}"
        f"{100 * row.after.mean:>7.1f}  {row.difference.points(''):<25}{row.adjusted_p:.2g}"
    )
