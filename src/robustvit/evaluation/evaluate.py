"""Evaluate a model on photos or on benchmark sets, alone or compared with a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command
from robustvit.common.errors import UserError
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import (
    InferenceOptions,
    MapOptions,
    MeasuredPhotos,
    RunningOptions,
    SetOptions,
    VerdictOnPhotos,
)
from robustvit.common.wording import pluralize
from robustvit.models.options import ComparedModels

if TYPE_CHECKING:
    from robustvit.common.intervals import Interval
    from robustvit.common.verdict import Verdict
    from robustvit.evaluation.class_numbers import ClassNumbers
    from robustvit.evaluation.groups import GroupReport
    from robustvit.evaluation.measure import PhotoMeasure
    from robustvit.evaluation.on_sets.summary import Sets
    from robustvit.evaluation.rival_results import RivalResults
    from robustvit.evaluation.rivals import RivalPlan
    from robustvit.models.classifier import Classifier


@dataclass(frozen=True)
class Evaluation(Tabular):
    """The measures of a model on a folder of photos.

    Attributes:
        model: its source.
        images: the folder.
        measures: by name, 0 to 1, with 95 % intervals over photos.
        photos: measures of each photo.
        verdict: the comparison with the baseline, if there is one.
        notes: for the reader, such as photos that were left out.
        groups: measures by group of photos, if groups are known.
        at_inference: what the model, or the baseline, answers when it is asked about the object alone, if that was
            measured.
        by_class: metrics over classes, recall and precision of each, and confusions; None for photos without classes.
    """

    model: str
    images: str
    measures: dict[str, Interval]
    photos: list[PhotoMeasure]
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()
    groups: GroupReport | None = None
    at_inference: RivalResults | None = None
    by_class: ClassNumbers | None = None

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each measure, with the baseline's and the change where there is one."""
        for name, found in self.measures.items():
            compared = self.verdict.of(name) if self.verdict else None
            row: dict[str, object] = {"measure": name, "value": found}
            if compared is not None:
                row |= {"baseline": compared.before, "change": compared.difference}
                row |= {"helped": compared.helped, "harmed": compared.harmed}
            yield row

    def __str__(self) -> str:
        from robustvit.common.outcomes import next_step
        from robustvit.evaluation.measure import MEASURES
        from robustvit.evaluation.measured_intervals import measure_title

        lines = [f"{self.model} on {pluralize(len(self.photos), 'photo')} of {self.images}"]
        for name, found in self.measures.items():
            compared = self.verdict.of(name) if self.verdict else None
            row = f"  {MEASURES[name]:<58}{found.percent()}"
            if compared is not None:
                row += f"   baseline {100 * compared.before.mean:.1f}, change {compared.difference.points('')}"
                if compared.mcnemar_p is not None:
                    row += f", {compared.helped} helped, {compared.harmed} harmed, McNemar p {compared.mcnemar_p:.2g}"
            lines.append(row)
        if self.groups is not None:
            lines.append(str(self.groups))
        lines += self.by_class.lines if self.by_class else []
        for compared in self.verdict.comparisons if self.verdict else ():
            if "/" in compared.measure and not compared.measure.endswith("/ordinary"):  # a metric, which decides
                lines.append(f"  {measure_title(compared.measure):<58}{compared.after.percent()}   baseline "
                             f"{100 * compared.before.mean:.1f}, change {compared.difference.points('')}")  # fmt: skip
        if self.verdict is not None:
            lines += [self.verdict.sentence, f"next: {next_step(self.verdict.outcome, elsewhere=True)}"]
        lines += [str(self.at_inference)] if self.at_inference else []
        return "\n".join(lines)


@command(first=("model", "images", "masks", "on", "baseline", "judging", "out"))
def evaluate(
    *,
    models: ComparedModels,
    photos: MeasuredPhotos,
    on: list[str] | str | None = None,
    sets: SetOptions,
    maps: MapOptions,
    judging: VerdictOnPhotos,
    inference: InferenceOptions,
    running: RunningOptions,
    out: str | None = None,
) -> Evaluation | Sets:
    """Measure a model on photos it was not trained on, or on the sets that robustness is reported on.

    With --images: accuracy and, with masks, reliance on the background. The objects are put on other photos'
    backgrounds (mixed-same, mixed-other), and the relevance map of the predicted class is compared with the mask. With
    a baseline the differences are paired photo by photo, and the verdict says which model to keep. For photos without
    classes (a flat folder with masks) only the relevance is measured. With groups (a column group, or --group-by),
    each group is measured too, with the worst, the gap, and the mean weighted by the training photos of the model's
    run. Photos that the model was trained on, or copies of them, are left out and counted.

    With --on: imagenet-val, imagenet-a, imagenet-r, imagenet-sketch, imagenet-v2, objectnet, si-score, imagenet-9,
    waterbirds, iwildcam, metashift, chexpert, cue-conflict, imagenet-segmentation, or segmentation for your own
    --images and --masks. Results are recorded; recorded results are not computed again, and a killed evaluation resumes
    in the middle of a set.

    Args:
        on: sets to evaluate on, such as imagenet-a,si-score/location.
        precision: no (float32), bf16 or fp16, on sets.
        seed: fixes the swaps.
        out: JSON file to write all measures to; must be new. With groups, a chart of them is written beside it.

    Returns:
        The measures, or a record for each set; printing it gives a table.

    Raises:
        UserError: anything wrong with what was given; nothing is written then.

    Example:
        robustvit evaluate --model runs/mine --images photos/test --masks masks/test --baseline original
    """
    if on is not None:
        from robustvit.evaluation.on_sets.command import evaluate_on

        _refuse_rivals(inference)
        _refuse_beside_sets(out, judging.metric)
        return evaluate_on(on, models, sets, running, own=photos, method=maps.relevance)
    if photos.images is None:
        raise UserError("expected photos to measure the model on: name --images FOLDER, or sets with --on imagenet-a")
    from robustvit.common.files import check_new_file
    from robustvit.data.photo import expect_photos

    if out is not None:
        check_new_file(out)
    expect_photos(photos.images, photos.masks)
    plan = _plan_rivals(inference, photos, maps.relevance)
    from robustvit.common.devices import make_accelerator
    from robustvit.common.progress import warn
    from robustvit.data.backgrounds import check_backgrounds, given_backgrounds
    from robustvit.data.labels import doubt_order
    from robustvit.data.mask_filter import find_usable_photos
    from robustvit.data.objects_seen import say_looked
    from robustvit.data.overlap import note_copies
    from robustvit.data.seen_photos import ReadOnce
    from robustvit.data.several_labels import describe_labels, match_photos
    from robustvit.data.trained_photos import photos_behind, trained_groups, trained_shifts
    from robustvit.evaluation.class_numbers import check_metric, class_numbers, metric_for, say_sizes
    from robustvit.evaluation.compare import compare, decide
    from robustvit.evaluation.groups import report_groups
    from robustvit.evaluation.label_measures import measure_model
    from robustvit.evaluation.measure import MeasureSettings
    from robustvit.evaluation.rival_results import RivalBar, ask_about_objects
    from robustvit.explanation.methods import check_method
    from robustvit.models.head_kinds import CLASSIFIERS
    from robustvit.models.load import load_baseline, load_given

    classifier, relevance = load_given(models, CLASSIFIERS), maps.relevance
    check_method(relevance, classifier)
    photos = photos.or_else(classifier.pixels)
    several = classifier.head_kind == "multi-label"
    listed, notes = find_usable_photos(photos, labelled=photos.masks is None or several, several=several)
    seen = photos_behind(models.model, models.baseline, models.checkpoint).among([photo.image for photo in listed])
    kept, on_seen = seen.left(listed, photos.include_trained)
    for note in (notes := [*notes, *on_seen]):
        warn(note)
    found_photos = match_photos(kept, classifier)
    note_copies([photo.image for photo in found_photos], notes)
    notes += describe_labels(found_photos)
    read = ReadOnce(found_photos, photos.mask_format)
    notes += say_looked(read.seen_by(classifier))
    check_backgrounds(judging.backgrounds, [photo.image for photo in found_photos])
    metric = metric_for(classifier.head_kind, judging.metric)
    if not several:
        check_metric(metric, [photo.label for photo in found_photos])
    classes = [photo.class_name for photo in found_photos]
    notes += say_sizes([photo.class_name for photo in found_photos if photo.labels is None], metric)
    other = load_baseline(models, classifier)
    if other is not None:
        check_method(relevance, other)
    accelerator = make_accelerator(device=running.device)
    device = accelerator.device
    settings = MeasureSettings(
        judging.swaps,
        running.seed,
        backgrounds=given_backgrounds(judging.backgrounds),
        method=relevance,
        batch_size=running.batch_size,
        workers=running.workers,
    )

    def measure_with(model: Classifier) -> list[PhotoMeasure]:
        return measure_model(model.to(device), read.seen_by(model), settings, device=device, accelerator=accelerator)

    after = measure_with(classifier)
    single = [one.label if one.labels is None else None for one in after]
    notes += doubt_order(classes, single, [one.predicted for one in after], classifier)
    verdict, before, shifts = None, None, trained_shifts(models.model)
    if other is not None:
        before = measure_with(other)
        compared = compare(before, after, metric)
        decided = decide(compared, max_drop=judging.max_drop, notes=notes, trained_on=shifts, metric=metric)
        verdict = seen.judge(decided, photos.include_trained)
    groups = report_groups(after, before, trained_groups(models.model))
    used, bar = (other or classifier).to(device), RivalBar(*_sides(other, after), judging.max_drop, shifts)
    rivals = ask_about_objects(used, read.seen_by(used), before or after, plan, settings, bar, accelerator)
    by_class = class_numbers(after, classifier.name_of, before)
    found = Evaluation(
        str(models.model), str(photos.images), _summary(after), after, verdict, tuple(notes), groups, rivals, by_class
    )
    if out is not None and accelerator.is_main_process:  # all processes checked that it was new before measuring
        _write_record(
            found,
            Path(out),
            dict(
                relevance=relevance,
                range=None if photos.range is None else str(photos.range),
                swaps=judging.swaps,
                backgrounds=judging.backgrounds,
                metric=metric,
                seed=running.seed,
                normalization=models.normalization,
                baseline=str(models.baseline),
                include_trained=photos.include_trained,
                group_by=photos.group_by,
                at_inference=inference.at_inference,
                object_by=inference.object_by,
            ),
        )
    return found


def _refuse_rivals(inference: InferenceOptions) -> None:
    if inference.at_inference is not None:
        raise UserError("expected no --at-inference beside --on: it is measured on your own photos, --images FOLDER")


def _plan_rivals(inference: InferenceOptions, photos: MeasuredPhotos, method: str) -> RivalPlan | None:
    from robustvit.evaluation.rivals import RivalPlan

    plan = RivalPlan.of(inference.at_inference, inference.object_by, method)
    if plan is not None and plan.by == "masks" and photos.masks is None:
        raise UserError("--object-by masks needs the masks of the photos: name --masks, or use --object-by relevance")
    return plan


def _sides(
    other: Classifier | None, after: list[PhotoMeasure]
) -> tuple[str, tuple[str, Sequence[PhotoMeasure]] | None]:
    """Return who is asked about the object alone, and what that has to beat; see ``RivalBar``."""
    return ("the model", None) if other is None else ("the baseline", ("the model", after))


def _refuse_beside_sets(out: str | None, metric: str) -> None:
    if out is not None:
        raise UserError("expected no --out beside --on: results on sets go to the folder --records, a file each")
    if metric != "accuracy":
        raise UserError("expected no --metric beside --on, which gives no verdict: the records hold the other metrics")


def _summary(results: Sequence[PhotoMeasure]) -> dict[str, Interval]:
    from robustvit.evaluation.measure import MEASURES
    from robustvit.evaluation.measured_intervals import measure_interval

    intervals = {name: measure_interval(results, name) for name in MEASURES}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _write_record(found: Evaluation, path: Path, settings: dict[str, object]) -> None:
    from robustvit.common.files import write_json
    from robustvit.common.provenance import versions

    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(asdict(found) | {"settings": settings, "versions": versions()}, path)
    if found.groups is not None:
        from robustvit.evaluation.group_chart import save_groups

        save_groups(found.groups, path.with_name(f"{path.stem}-groups"))
