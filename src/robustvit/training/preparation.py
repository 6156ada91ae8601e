"""Preparing a run before it writes anything: settings, processes, model and photos, each checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator

from robustvit.common.devices import has_tracker, make_accelerator
from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.common.run_folder import RunFolder
from robustvit.data.backgrounds import check_backgrounds
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.gather import RunPhotos, SelectionSettings, gather_photos
from robustvit.data.given_photos import PhotoSources
from robustvit.data.photo import Photo
from robustvit.data.region_decisions import read_decisions
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.explanation.methods import measuring_method
from robustvit.guidance.decided_regions import DecidedRegions
from robustvit.guidance.last_layer import DeepFeatureReweighting
from robustvit.guidance.method import GuidanceMethod
from robustvit.guidance.registry import check_guidance, name_method
from robustvit.models.baseline import load_settled
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS, expect_head
from robustvit.models.load import load_by_options
from robustvit.models.parameters import trainable
from robustvit.models.save import settle_saving
from robustvit.training.epoch_choice import check_choice, check_metric_choice
from robustvit.training.group_training import check_groups
from robustvit.training.head_data import photos_to_fit
from robustvit.training.options import StartOptions, TrainingRun
from robustvit.training.settings import describe_unused_settings
from robustvit.training.settled import SettledRun, settle_run
from robustvit.training.tracking import first_line


@dataclass(frozen=True)
class PreparedRun:
    """A run whose inputs are checked; nothing is written yet.

    Attributes:
        config: all settings as YAML can hold them, with those that depend on the model.
        original: a copy of the model that is never trained, on the CPU while it is not used.
        guide: the guidance method, set up for the photos.
        method: relevance method that measures the model.
    """

    settled: SettledRun
    config: dict[str, Any]
    accelerator: Accelerator
    classifier: Classifier
    original: Classifier
    gathered: RunPhotos
    guide: GuidanceMethod
    method: str

    def begin(self) -> None:
        """Write settings, versions and selection, once the folder is locked, then open the trackers."""
        if self.accelerator.is_main_process:
            extra = {"method": name_method(self.config), "pixels": self.classifier.pixels.said}
            self.settled.folder.start(self.config | extra, self.gathered.as_text())
        self.accelerator.wait_for_everyone()
        start_trackers(self.accelerator)


def prepare_run(
    options: Mapping[str, Any], folder: RunFolder, start: StartOptions, running: TrainingRun
) -> PreparedRun:
    """Settle and check everything that a run needs; ``options`` are those of ``finetune``, by name."""
    settled = settle_run(options, folder)
    accelerator = open_accelerator(running, settled, options["out"])
    classifier = load_start(start, settled)
    config = settled.with_model(classifier)
    method = check_model(settled, classifier)
    gathered = gather_run(options, settled, classifier, accelerator)
    original = copy.deepcopy(classifier).cpu()
    regions = read_regions(options["shortcuts"], settled, original, gathered)
    if options["resume"]:
        folder.photos.check_same(gathered.as_text())
    guide = settled.guide.of_object_classes(gathered.object_classes).of_regions(regions)
    return PreparedRun(settled, config, accelerator, classifier, original, gathered, guide, method)


def open_accelerator(running: TrainingRun, settled: SettledRun, out: str) -> Accelerator:
    """Return device, precision and processes of a run, with its tracker."""
    tracker = running.tracker  # tensorboard by default in older versions
    if tracker == settled.old.get("tracker") and not has_tracker(tracker):
        warn(f"tracker {tracker} is not installed here: the run is resumed without it, metrics.jsonl has the losses")
        tracker = "none"
    return make_accelerator(running.precision, tracker, out, running.device)


def start_trackers(accelerator: Accelerator) -> None:
    """Open the tracker's files, once the folder is locked; TensorBoard's files are in a folder of its name."""
    kinds = {getattr(kind, "value", str(kind)) for kind in accelerator.log_with}
    try:
        accelerator.init_trackers("tensorboard" if "tensorboard" in kinds else "robustvit")
    except Exception as error:  # of any library and server
        raise UserError(
            f"the tracker {', '.join(sorted(kinds))} could not be started: {first_line(error)}; when that is fixed, or "
            "without --tracker, run the same command with --resume"
        ) from error


def load_start(start: StartOptions, settled: SettledRun) -> Classifier:
    """Load the model to finetune; a module that was given is copied, never changed. Refuse one that cannot be saved."""
    source = copy.deepcopy(str(start.recipe) if start.model is None else start.model)
    head = start.head or (settled.old["head"] or "softmax" if settled.resumed else None)
    options = replace(start, normalization=settled.chosen["normalization"], head=head)
    load = load_settled if settled.resumed else load_by_options
    classifier = load(source, options, keep_adapter=settled.plan.train == "adapter")
    settle_saving(classifier, start.model)
    return expect_head(classifier, CLASSIFIERS)


def check_model(settled: SettledRun, classifier: Classifier) -> str:
    """Refuse a model that the guidance does not support; return the relevance method that measures it."""
    if classifier.head_kind == "multi-label" and settled.plan.group_method is not None:
        raise UserError(
            f"expected no --group-method for a multi-label model, got {settled.plan.group_method}: groups need a "
            "single class for each photo"
        )
    measuring = measuring_method(settled.guide.explains_with, classifier)
    with trainable(classifier, settled.plan.train) as parameters:
        check_guidance(settled.guide, classifier, parameters)
    return measuring


def label_by_predictions(classifier: Classifier, device: torch.device, photos: Sequence[Photo]) -> list[Photo]:
    """Label photos by the model's predictions."""
    bare = MaskedPhotos([replace(photo, mask=None) for photo in photos], classifier.preprocessing)
    measures = measure(classifier.to(device), bare, MeasureSettings(swaps=0, maps=False), device=device)
    return [replace(photo, label=found.predicted) for photo, found in zip(photos, measures, strict=True)]


def gather_run(
    options: Mapping[str, Any], settled: SettledRun, classifier: Classifier, accelerator: Accelerator
) -> RunPhotos:
    """Find, select and check the photos of a run."""
    guide = settled.guide
    given = {one.name: options[one.name] for one in fields(PhotoSources) if one.name in options}
    gathered = gather_photos(
        PhotoSources(**given | {"uses_masks": guide.uses_masks} | settled.old.get("pixels", {})),
        classifier,
        _selection(options, settled),
        labelled=guide.needs_labels,
        predict=partial(label_by_predictions, classifier, accelerator.device),
    )
    check_choice(settled.plan, gathered.validation)
    check_groups(settled.plan, gathered.train, gathered.validation)
    gathered.notes.extend(check_metric_choice(settled.plan_for(classifier), gathered))
    check_backgrounds(options["backgrounds"], list(gathered.prints))
    if isinstance(guide, DeepFeatureReweighting):
        photos_to_fit(gathered, classifier.num_classes, guide.balance)
    if unfit := describe_unused_settings(options, settled.chosen):
        gathered.notes.append(unfit)
        warn(unfit)
    return gathered


def _selection(options: Mapping[str, Any], settled: SettledRun) -> SelectionSettings:
    """Return how photos are selected; for a resumed run, as the version that started it did."""
    guide, folder = settled.guide, settled.folder
    return SelectionSettings(
        settled.chosen["samples_per_class"],
        options["classes"],
        options["validation_per_class"],
        options["seed"],
        balanced=guide.balanced and settled.chosen["balance"] != "group",
        halve=not (settled.resumed and folder.photos.judged_by_all),
        older=settled.resumed and folder.selection.is_file() and not folder.photos.records_content,
        order=folder.photos.class_order() if settled.resumed else {},
        negatives=guide.negatives,
        leave_out=options["leave_out"],
    )


def read_regions(
    path: str | None, settled: SettledRun, original: Classifier, photos: RunPhotos
) -> DecidedRegions | None:
    """Return the regions of shortcuts.json that a person kept or dropped; None without a file."""
    if path is None:
        return None
    if not settled.guide.obeys_regions:
        raise UserError(
            f"expected --guidance robustvit, swap-relevance or energy with --shortcuts, got {settled.guide.title}: "
            "it has no relevance map to keep off a region"
        )
    unmasked = not any(photo.mask is not None or photo.no_object for photo in photos.train)
    return DecidedRegions.of(read_decisions(path), original, unmasked)
