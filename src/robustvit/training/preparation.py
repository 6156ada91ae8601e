"""What a run needs before it writes anything: settings, processes, model and photos, each checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from robustvit.common.devices import has_tracker, make_accelerator
from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.common.run_folder import MODULE, RunFolder
from robustvit.data.backgrounds import check_backgrounds
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.gather import RunPhotos, SelectionSettings, gather_photos
from robustvit.data.given_photos import PhotoSources
from robustvit.data.photo import Photo
from robustvit.data.region_decisions import read_decisions
from robustvit.evaluation.class_numbers import metric_for
from robustvit.evaluation.measure import measure
from robustvit.evaluation.measuring import MeasureSettings
from robustvit.explanation.methods import measuring_method
from robustvit.guidance.decided_regions import DecidedRegions
from robustvit.guidance.last_layer import DeepFeatureReweighting
from robustvit.guidance.method import GuidanceMethod
from robustvit.guidance.registry import check_guidance
from robustvit.models.classifier import Classifier
from robustvit.models.head_kinds import CLASSIFIERS, expect_head
from robustvit.models.load import load_model, load_settled
from robustvit.models.parameters import trainable
from robustvit.models.save import settle_saving
from robustvit.training.choice import check_choice, check_metric_choice
from robustvit.training.group_training import check_groups
from robustvit.training.head_photos import photos_to_fit
from robustvit.training.options import StartOptions, TrainingRun
from robustvit.training.schedule import Schedule
from robustvit.training.settings import (
    OF_THE_MODEL,
    describe_unused_settings,
    model_settings,
    settle_options,
    used_settings,
)


@dataclass(frozen=True)
class SettledRun:
    """The settings of a run.

    Attributes:
        folder: of the run.
        guide: the guidance method.
        chosen: settings that depend on the method or on a recipe.
        config: all settings as YAML can hold them.
        old: those of the run that is resumed; empty for a new run.
        plan: how long and how fast, and which weights are kept.
    """

    folder: RunFolder
    guide: GuidanceMethod
    chosen: dict[str, Any]
    config: dict[str, Any]
    old: dict[str, Any]
    plan: Schedule

    @property
    def resumed(self) -> bool:
        """Whether a run is continued."""
        return bool(self.old)

    def plan_for(self, classifier: Classifier) -> Schedule:
        """Return the plan with the metric that decides for a model."""
        return replace(self.plan, metric=metric_for(classifier.head_kind, self.plan.metric))

    def with_model(self, classifier: Classifier) -> dict[str, Any]:
        """Return the settings with those that depend on the model; refuse to resume with others."""
        config = self.config | model_settings(self.guide, classifier)
        if self.resumed:
            written = {name: config[name] for name in OF_THE_MODEL if self.old[name] is None}
            self.folder.check_same(config, self.old | written)
        return config


def settle_run(options: Mapping[str, Any], folder: RunFolder, swaps: int) -> SettledRun:
    """Settle the options of a run; to resume it they must be those that it was started with.

    Args:
        options: of ``finetune``, by name.
        folder: of the run.
        swaps: swapped backgrounds per photo.
    """
    started = folder.config() if options["resume"] else {}
    guide, chosen = settle_options(options, old=bool(started) and started.get("recipe") is None)
    given = {name: _plain(value) for name, value in options.items() if name != "resume"}
    config = chosen | given | chosen  # the method first: where it differs, so does what follows from it
    old = used_settings(started) if started else {}
    if old:
        folder.check_same({name: value for name, value in config.items() if name not in OF_THE_MODEL}, old)
    if guide.title == "last-layer" and chosen["balance"] == "group":
        chosen["group_method"] = "sample"
    stepping = {one.name: (dict(options) | chosen)[one.name] for one in fields(Schedule)}
    plan = Schedule(**{name: value for name, value in stepping.items() if value is not None})
    plan.check_swaps(swaps)
    return SettledRun(folder, guide, chosen, config, old, plan)


def _plain(value: object) -> object:
    """Convert a setting to a value that YAML can hold."""
    if isinstance(value, (str, int, float, list, type(None))):
        return value
    return str(value) if isinstance(value, Path) else f"{MODULE} ({type(value).__name__})"


def open_accelerator(running: TrainingRun, settled: SettledRun, out: str) -> Accelerator:
    """Return device, precision and processes of a run, with its tracker."""
    tracker = running.tracker
    if tracker == settled.old.get("tracker") and not has_tracker(
        tracker
    ):  # older versions wrote tensorboard by default
        warn(f"tracker {tracker} is not installed here: the run is resumed without it, metrics.jsonl has the losses")
        tracker = "none"
    return make_accelerator(running.precision, tracker, out, running.device)


def start_trackers(accelerator: Accelerator) -> None:
    """Open the tracker's files, once the folder is ours; TensorBoard's lie in a folder of its name."""
    kinds = {getattr(kind, "value", str(kind)) for kind in accelerator.log_with}
    accelerator.init_trackers("tensorboard" if "tensorboard" in kinds else "robustvit")


def load_start(start: StartOptions, settled: SettledRun) -> Classifier:
    """Load the model to finetune; a module that was given is copied, never changed. Refuse one that cannot be saved."""
    load = load_settled if settled.resumed else load_model
    classifier = load(
        copy.deepcopy(str(start.recipe) if start.model is None else start.model),
        num_classes=start.num_classes,
        checkpoint=start.checkpoint,
        normalization=settled.chosen["normalization"],
        class_names=start.class_names,
        head=start.head or (settled.old["head"] or "softmax" if settled.resumed else None),
        preprocessing=start.preprocessing,
        keep_adapter=settled.plan.train == "adapter",
    )
    settle_saving(classifier, start.model)
    return expect_head(classifier, CLASSIFIERS)


def check_model(settled: SettledRun, classifier: Classifier) -> str:
    """Refuse a model that the guidance does not work for; return the relevance method that measures it."""
    if classifier.head_kind == "multi-label" and settled.plan.group_method is not None:
        raise UserError(
            f"expected no --group-method for a multi-label model, got {settled.plan.group_method}: groups are counted "
            "by the one class of each photo"
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
    guide, folder = settled.guide, settled.folder
    given = {one.name: options[one.name] for one in fields(PhotoSources) if one.name in options}
    gathered = gather_photos(
        PhotoSources(**given | {"uses_masks": guide.uses_masks} | settled.old.get("pixels", {})),
        classifier,
        SelectionSettings(
            settled.chosen["samples_per_class"],
            options["classes"],
            options["validation_per_class"],
            options["seed"],
            balanced=guide.balanced and settled.chosen["balance"] != "group",
            halve=not (settled.resumed and folder.judged_by_all),
            older=settled.resumed and folder.selection.is_file() and not folder.records_content,
            order=folder.class_order() if settled.resumed else {},
            negatives=guide.negatives,
            leave_out=options["leave_out"],
        ),
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


def find_regions(
    path: str | None, settled: SettledRun, classifier: Classifier, photos: RunPhotos, device: torch.device
) -> DecidedRegions | None:
    """Return the regions that a person kept or dropped, for the original model; None without a file.

    Args:
        path: shortcuts.json.
        settled: the run, whose method has to obey.
        classifier: the model before training.
        photos: of the run.
        device: where it trains.
    """
    if path is None:
        return None
    if not settled.guide.obeys_regions:
        raise UserError(
            f"expected --guidance robustvit, swap-relevance or energy with --shortcuts, got {settled.guide.title}: "
            "it has no relevance map to keep off a region"
        )
    original = copy.deepcopy(classifier).to(device).eval().requires_grad_(False)
    unmasked = not any(photo.mask is not None or photo.no_object for photo in photos.train)
    return DecidedRegions.of(read_decisions(path), original, unmasked)
