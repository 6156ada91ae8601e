"""Evaluation on the user's photos: find them, measure the model and its baseline, compare, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from robustvit.common.devices import make_accelerator
from robustvit.common.errors import UserError
from robustvit.common.intervals import Interval
from robustvit.common.option_groups import InferenceOptions, RunningOptions, VerdictOnPhotos
from robustvit.common.options import MetricName
from robustvit.common.photo_options import MeasuredPhotos
from robustvit.common.verdict_files import Verdict
from robustvit.data.backgrounds import check_backgrounds, given_backgrounds
from robustvit.data.cached_photos import ReadOnce
from robustvit.data.given_photos import PhotosToMeasure, find_photos_to_measure
from robustvit.data.trained_photos import trained_groups, trained_shifts
from robustvit.evaluation.class_notes import describe_lost_classes, doubt_answers
from robustvit.evaluation.class_numbers import class_numbers
from robustvit.evaluation.deciding_metric import check_metric, metric_for, say_sizes
from robustvit.evaluation.groups import report_groups
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measured_intervals import measure_interval
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.evaluation.photo_measures import MEASURES, PhotoMeasure
from robustvit.evaluation.result import Evaluation, write_evaluation
from robustvit.evaluation.rival_results import RivalBar, RivalResults, ask_about_objects
from robustvit.evaluation.rivals import RivalPlan
from robustvit.evaluation.verdict import compare, decide
from robustvit.explanation.methods import check_method
from robustvit.models.baseline import load_baseline
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS
from robustvit.models.load import load_given
from robustvit.models.options import ComparedModels


@dataclass(frozen=True)
class PhotoRequest:
    """The options of ``evaluate`` on photos; ``relevance`` is the method of the relevance maps."""

    models: ComparedModels
    photos: MeasuredPhotos
    relevance: str
    judging: VerdictOnPhotos
    inference: InferenceOptions
    running: RunningOptions

    @property
    def plan(self) -> RivalPlan | None:
        """The rivals that are asked about the object alone."""
        plan = RivalPlan.of(self.inference.at_inference, self.inference.object_by, self.relevance)
        if plan is not None and plan.by == "masks" and self.photos.masks is None:
            raise UserError(
                "--object-by masks needs the masks of the photos: name --masks, or use --object-by relevance"
            )
        return plan

    @property
    def measuring(self) -> MeasureSettings:
        """The settings for measuring models."""
        return MeasureSettings(
            self.judging.swaps,
            self.running.seed,
            backgrounds=given_backgrounds(self.judging.backgrounds),
            method=self.relevance,
            batch_size=self.running.batch_size,
            workers=self.running.workers,
        )

    def record(self, metric: MetricName) -> dict[str, object]:
        """Return the settings as they are written to the file."""
        return dict(
            relevance=self.relevance,
            range=None if self.photos.range is None else str(self.photos.range),
            swaps=self.judging.swaps,
            backgrounds=self.judging.backgrounds,
            metric=metric,
            seed=self.running.seed,
            normalization=self.models.normalization,
            baseline=str(self.models.baseline),
            include_trained=self.photos.include_trained,
            group_by=self.photos.group_by,
            at_inference=self.inference.at_inference,
            object_by=self.inference.object_by,
        )


@dataclass(frozen=True)
class _Measuring:
    """The photos, and how a model is measured on them."""

    read: ReadOnce
    settings: MeasureSettings
    accelerator: Accelerator

    def measure(self, model: Classifier) -> list[PhotoMeasure]:
        """Measure a model on every photo."""
        device = self.accelerator.device
        photos = self.read.seen_by(model)
        return measure(model.to(device), photos, self.settings, device=device, accelerator=self.accelerator)

    def ask_about_objects(
        self, model: Classifier, plain: list[PhotoMeasure], plan: RivalPlan | None, bar: RivalBar
    ) -> RivalResults | None:
        """Ask a model, measured as ``plain``, about the object alone; None without a plan."""
        photos, used = self.read.seen_by(model), model.to(self.accelerator.device)
        return ask_about_objects(used, photos, plain, plan, self.settings, bar, self.accelerator)


def evaluate_photos(request: PhotoRequest, out: str | None = None) -> Evaluation:
    """Measure a model, and its baseline if there is one, on photos; write the result to ``out``."""
    plan, models, method = request.plan, request.models, request.relevance
    classifier = load_given(models, CLASSIFIERS)
    check_method(method, classifier)
    request = replace(request, photos=request.photos.or_else(classifier.pixels))
    chosen = find_photos_to_measure(request.photos, models, classifier)
    check_backgrounds(request.judging.backgrounds, [photo.image for photo in chosen.read.photos])
    metric = _settle_metric(request.judging.metric, classifier, chosen)
    if (other := load_baseline(models, classifier)) is not None:
        check_method(method, other)
    measuring = _Measuring(chosen.read, request.measuring, make_accelerator(device=request.running.device))
    after = measuring.measure(classifier)
    chosen.notes.extend(doubt_answers([photo.class_name for photo in chosen.read.photos], after, classifier))
    before = None if other is None else measuring.measure(other)
    bar = _set_bar(request, after, metric, compared=before is not None)
    evaluation = Evaluation(
        str(models.model),
        str(request.photos.images),
        _summarize(after),
        after,
        None if before is None else _judge(request, chosen, bar, before, after, classifier.name_of),
        tuple(chosen.notes),
        report_groups(after, before, trained_groups(models.model)),
        measuring.ask_about_objects(other or classifier, before or after, plan, bar),
        class_numbers(after, classifier.name_of, before),
    )
    if out is not None and measuring.accelerator.is_main_process:  # all processes checked that it was new
        write_evaluation(evaluation, Path(out), request.record(metric))
    return evaluation


def _settle_metric(asked: MetricName, classifier: Classifier, chosen: PhotosToMeasure) -> MetricName:
    """Return the metric that decides; refuse one that these photos cannot have, and note unequal sizes of classes."""
    metric, photos = metric_for(classifier.head_kind, asked), chosen.read.photos
    check_metric(metric, photos)
    chosen.notes.extend(say_sizes([photo.class_name for photo in photos if photo.labels is None], metric))
    return metric


def _judge(
    request: PhotoRequest,
    chosen: PhotosToMeasure,
    bar: RivalBar,
    before: list[PhotoMeasure],
    after: list[PhotoMeasure],
    name_of: Callable[[int], str],
) -> Verdict:
    """Compare the model with its baseline; the verdict names classes that lost."""
    decided = decide(
        compare(before, after, bar.metric),
        max_drop=bar.max_drop,
        notes=chosen.notes,
        trained_on=bar.trained_on,
        metric=bar.metric,
    )
    lost = describe_lost_classes(before, after, name_of)
    return chosen.seen.judge(decided.saying(*lost), request.photos.include_trained)


def _set_bar(request: PhotoRequest, after: list[PhotoMeasure], metric: str, compared: bool) -> RivalBar:
    """Return who is shown the object alone, the baseline if there is one, and what it has to beat."""
    max_drop, shifts = request.judging.max_drop, trained_shifts(request.models.model)
    if compared:
        return RivalBar("the baseline", ("the model", after), max_drop, shifts, metric)
    return RivalBar("the model", None, max_drop, shifts, metric)


def _summarize(results: Sequence[PhotoMeasure]) -> dict[str, Interval]:
    intervals = {name: measure_interval(results, name) for name in MEASURES}
    return {name: interval for name, interval in intervals.items() if interval is not None}
