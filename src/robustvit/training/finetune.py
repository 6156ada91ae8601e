"""Finetune a model so that its relevance lies on the object, and report honestly whether that helped."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command, settings_of
from robustvit.common.errors import UserError, expect_at_least
from robustvit.common.options import Train
from robustvit.training.options import (
    GuidanceOptions,
    ScheduleOptions,
    StartOptions,
    TrainingPhotos,
    TrainingRun,
    VerdictOptions,
)

if TYPE_CHECKING:
    from robustvit.common.verdict import Verdict
    from robustvit.guidance.method import GuidanceMethod


@dataclass(frozen=True)
class Finetuned:
    """The result of a finetuning run: its folder and its verdict."""

    folder: Path
    verdict: Verdict

    def __str__(self) -> str:
        lines = [
            self.verdict.sentence,
            *self.verdict.notes,
            f"guidance: {self.verdict.guidance}",
            f"run: {self.folder}   model: {self.folder / 'best'}",
        ]
        return "\n".join(lines)


@command(first=("images", "masks", "model", "recipe", "out", "judging"))
def finetune(
    *,
    photos: TrainingPhotos,
    out: str,
    start: StartOptions,
    guiding: GuidanceOptions,
    schedule: ScheduleOptions,
    judging: VerdictOptions,
    running: TrainingRun,
    resume: bool = False,
) -> Finetuned:
    """Finetune an image classifier so that its relevance lies on the object.

    Writes a run folder: settings, selection, metrics, resumable state, best/ and last/ as models of their library,
    panels, and the verdict, measured before and after on held-out photos.

    Args:
        out: run folder to write; must be new.
        seed: fixes selection, order, augmentation and swaps.
        resume: continue the run in out, with as many processes as it had.

    Returns:
        The run folder and its verdict.

    Raises:
        UserError: anything wrong with what was given; nothing is written then. The disk is full; what was saved is
            kept.
        Stopped: SIGTERM, SIGHUP or Ctrl-C ended the run, and it can be resumed.

    Example:
        robustvit finetune --model vit_base_patch16_224.augreg_in21k_ft_in1k --images photos/train
        --masks masks/train --out runs/mine
    """
    options = settings_of(finetune, photos, start, guiding, schedule, judging, running, out=out, resume=resume)
    config = {name: _plain(value) for name, value in options.items() if name != "resume"}
    from robustvit.data.find_photos import expect_photos_of

    expect_photos_of(options)
    from robustvit.common.devices import has_tracker, make_accelerator
    from robustvit.common.files import write_text
    from robustvit.common.progress import warn
    from robustvit.common.run_folder import RunFolder
    from robustvit.common.signals import name_stopped_run
    from robustvit.data.gather import PhotoSources, SelectionSettings, gather_photos
    from robustvit.data.selection import selection_text
    from robustvit.explanation.methods import measuring_method
    from robustvit.guidance.last_layer import DeepFeatureReweighting
    from robustvit.guidance.naming import name_method
    from robustvit.guidance.registry import check_guidance
    from robustvit.models.load import load_model
    from robustvit.models.parameters import trainable
    from robustvit.models.save import settle_saving
    from robustvit.training.head_fitting import photos_to_fit
    from robustvit.training.run import GuidedRun, with_predictions
    from robustvit.training.schedule import Schedule

    folder = RunFolder(out)
    folder.check_free(resume)
    guide, chosen = settle_options(options)
    config = chosen | config | chosen  # the method first: where it differs, so does what follows from it
    old = used_settings(folder.config()) if resume else {}
    if resume:
        folder.check_same({name: value for name, value in config.items() if name not in _OF_THE_MODEL}, old)
    stepping = {one.name: (options | chosen)[one.name] for one in fields(Schedule)}
    plan = Schedule(**{name: value for name, value in stepping.items() if value is not None})
    expect_at_least(0, panels=judging.panels)
    if plan.select == "robust" and judging.swaps < 1:
        raise UserError(f"expected --swaps of at least 1 for --select robust, got {judging.swaps}")
    tracker = running.tracker
    if tracker == old.get("tracker") and not has_tracker(tracker):  # older versions wrote tensorboard by default
        warn(f"tracker {tracker} is not installed here: the run is resumed without it, metrics.jsonl has the losses")
        tracker = "none"
    accelerator = make_accelerator(running.precision, tracker, out, running.device)
    classifier = load_model(
        copy.deepcopy(str(start.recipe) if start.model is None else start.model),  # never change the given module
        num_classes=start.num_classes,
        checkpoint=start.checkpoint,
        normalization=chosen["normalization"],
        class_names=start.class_names,
        preprocessing=start.preprocessing,
    )
    settle_saving(classifier, start.model)
    config |= _of_the_model(guide, classifier.num_classes)
    if resume:
        folder.check_same(config, old | {name: config[name] for name in _OF_THE_MODEL if old[name] is None})
    # Refuse a model that guidance does not work for before anything is written.
    measuring = measuring_method(guide.explains_with, classifier)
    with trainable(classifier, plan.train) as parameters:
        check_guidance(guide, classifier, parameters)
    gathered = gather_photos(
        PhotoSources(**{one.name: options[one.name] for one in fields(PhotoSources)}),
        classifier,
        SelectionSettings(
            chosen["samples_per_class"],
            photos.classes,
            photos.validation_per_class,
            running.seed,
            balanced=guide.balanced,
            halve=not (resume and folder.judged_by_all),
            older=resume and folder.selection.is_file() and not folder.records_content,
        ),
        labelled=guide.needs_labels,
        predict=partial(with_predictions, classifier, accelerator.device),
    )
    if isinstance(guide, DeepFeatureReweighting):
        photos_to_fit(gathered, classifier.num_classes)
    if unfit := describe_unused_settings(options):
        gathered.notes.append(unfit)
        warn(unfit)
    selected = selection_text(gathered.splits, gathered.prints)
    if resume:
        folder.check_same_selection(selected)
    accelerator.wait_for_everyone()  # every process must see that the folder is free before one writes to it
    with folder.locked(resume, accelerator.is_main_process), name_stopped_run(folder.path):
        if accelerator.is_main_process:
            folder.start(config | {"method": name_method(config)})
            if not folder.selection.is_file():  # the selection of an older run has no hashes and stays as it is
                write_text(selected, folder.selection)
        accelerator.wait_for_everyone()
        accelerator.init_trackers("robustvit" if tracker != "tensorboard" else "tensorboard")
        run = GuidedRun(folder, classifier, gathered, plan, accelerator, judging.swaps, photos.mask_format, measuring)
        return Finetuned(folder.path, run.finish(guide, judging.panels))


def _plain(value: object) -> object:
    """Convert a setting to a value that YAML can hold."""
    from robustvit.common.run_folder import MODULE

    if isinstance(value, (str, int, float, list, type(None))):
        return value
    return str(value) if isinstance(value, Path) else f"{MODULE} ({type(value).__name__})"


_OF_THE_MODEL = ("num_classes", "relevance_weight")  # if not given, known once the model is loaded


def _of_the_model(guide: GuidanceMethod, classes: int) -> dict[str, Any]:
    """Return the settings that depend on the number of classes, such as the default weight of input gradients."""
    weight = getattr(guide, "relevance_weight", None)
    by_classes = getattr(guide, "default_weight", None)
    return {
        "num_classes": classes,
        "relevance_weight": by_classes(classes) if weight is None and by_classes else weight,
    }


def used_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run used, even if an older version did not write those of a recipe or a default."""
    import inspect

    asked = dict.fromkeys(inspect.signature(finetune).parameters) | dict(config)
    return asked | settle_options(asked)[1]


def describe_unused_settings(options: Mapping[str, Any]) -> str:
    """Describe in one line which settings of a recipe do not apply to a run with these options; empty if all apply.

    Options that the user set do not count.
    """
    from robustvit.models.recipes import recipe_settings

    used = settle_options(options)[1]
    lost = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in recipe_settings(options["recipe"]).items()
        if options[name] is None and used[name] != value
    ]
    if not lost:
        return ""
    return (
        f"Of recipe {options['recipe']}, {', '.join(lost)} {'does' if len(lost) == 1 else 'do'} not fit --guidance "
        f"{used['guidance']} with --train {used['train']}, and {'is' if len(lost) == 1 else 'are'} left out."
    )


def settle_options(options: Mapping[str, Any]) -> tuple[GuidanceMethod, dict[str, Any]]:
    """Choose the guidance method and the settings that depend on it or on a recipe.

    Options that are given come first, then the recipe's, then the defaults.

    Args:
        options: of finetune, by name.

    Returns:
        The method; and its options with everything else that a recipe may set, None where the method does not use it.
    """
    from robustvit.guidance.method import GuidanceMethod
    from robustvit.guidance.registry import chosen_options, guidance_options, make_guidance
    from robustvit.models.recipes import fitting_settings, model_card

    recipe = options["recipe"]
    proposed = fitting_settings(recipe, options["guidance"])
    guidance = options["guidance"] or proposed.get("guidance", "robustvit")
    guide = make_guidance(guidance, **chosen_options(guidance, options, proposed))
    assert isinstance(guide, GuidanceMethod)  # options name a registered method
    train = _trained_weights(guide, guidance, options["train"], proposed.get("train"))
    if options["model"] is None:
        if recipe is None:
            raise UserError("expected a model to finetune: give --model NAME or --recipe CARD")
        model_card(recipe)  # the recipe must be a model card

    proposed["lr"] = _rate(train, proposed)

    def choose(name: str, default: object) -> object:
        if options[name] is None:
            return None if name in guide.unused else proposed.get(name, default)
        if name in guide.unused:
            raise UserError(f"expected no --{name} with --guidance {guidance}, which takes no steps: leave it out")
        return options[name]

    return guide, {
        "guidance": guidance,
        "train": train,
        "lr": choose("lr", None),
        "epochs": choose("epochs", 50),
        "samples_per_class": choose("samples_per_class", 3),
        "select": choose("select", "loss"),
        "normalization": choose("normalization", "model"),
        **{name: getattr(guide, name, None) for name in guidance_options()},
    }


def _rate(train: Train, proposed: Mapping[str, Any]) -> float:
    """Return the learning rate if none is given: the recipe's, if it trains the same weights, or the default."""
    rated = proposed.get("train", "all" if train == "head" else train)  # the weights that the recipe's rate is for
    default = 1e-3 if train == "head" else 2e-6
    return float(proposed.get("lr", default)) if train == rated else default


def _trained_weights(guide: GuidanceMethod, guidance: str, train: Train | None, proposed: Train | None) -> Train:
    """Return the weights that may change: those the method requires, those given, the recipe's, or all."""
    if guide.trains is not None and train not in (None, guide.trains):
        raise UserError(
            f"expected --train {guide.trains} with --guidance {guidance}, which trains nothing else, got {train}: "
            "leave --train out"
        )
    return guide.trains or train or proposed or "all"
