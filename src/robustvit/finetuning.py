"""Finetuning: put a model's relevance on the object, and say honestly whether that helped."""

# Annotations stay real objects here (no __future__ import): the command line resolves them without importing torch.
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.errors import UserError, expect_at_least
from robustvit.options import (
    Balance,
    Classes,
    Classification,
    ClassNames,
    Device,
    MaskFormat,
    Normalization,
    Precision,
    Select,
    Target,
    Train,
)

if TYPE_CHECKING:
    from robustvit.verdict import Verdict

__all__ = ["Finetuned", "finetune", "left_out", "settled", "used_settings"]


@dataclass(frozen=True)
class Finetuned:
    """What a finetuning run came to: its folder and its verdict."""

    folder: Path
    verdict: "Verdict"

    def __str__(self) -> str:
        lines = [
            self.verdict.sentence,
            *self.verdict.notes,
            f"guidance: {self.verdict.guidance}",
            f"run: {self.folder}   model: {self.folder / 'best'}",
        ]
        return "\n".join(lines)


def finetune(
    *,
    images: str,
    out: str,
    masks: str | None = None,
    model: str | None = None,
    recipe: str | None = None,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    normalization: Normalization | None = None,
    class_names: ClassNames | None = None,
    val_images: str | None = None,
    val_masks: str | None = None,
    test_images: str | None = None,
    test_masks: str | None = None,
    mask_format: MaskFormat = "auto",
    skip_unmasked: bool = False,
    doubtful: bool = False,
    review: str | None = None,
    samples_per_class: int | None = None,
    classes: Classes = "all",
    validation_per_class: int = 20,
    guidance: str | None = None,
    target: Target | None = None,
    relevance: str | None = None,
    second_order: bool = False,
    background: float | None = None,
    foreground: float | None = None,
    relevance_weight: float | None = None,
    classification_weight: float | None = None,
    classification: Classification | None = None,
    temperature: float | None = None,
    swap_share: float | None = None,
    balance: Balance | None = None,
    lr: float | None = None,
    epochs: int | None = None,
    batch_size: int = 8,
    weight_decay: float = 1e-4,
    train: Train | None = None,
    select: Select | None = None,
    max_drop: float = 2.0,
    swaps: int = 2,
    panels: int = 4,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "no",
    workers: int = 0,
    tracker: str = "tensorboard",
    save_every: float = 10.0,
    resume: bool = False,
) -> Finetuned:
    """Finetune an image classifier so that its relevance lies on the object.

    Writes a run folder: settings, selection, metrics, resumable state, best/ and last/ as models of their library,
    panels, and the verdict, measured before and after on photos that were held out.

    Args:
        images: folder with one folder of photos per class, or a CSV file (image,mask,label).
        out: run folder to write; must be new.
        masks: folder of foreground masks that mirrors images by class and name.
        model: timm name, transformers:OWNER/NAME, torchvision:NAME, open_clip:ARCHITECTURE/TAG, hf-hub:OWNER/NAME,
            local-dir:FOLDER or a run folder.
        recipe: model card of the paper (vit-b, ar-s, deit-b, ...): sets model, rate, temperature and normalization; or
            settings for any model: own, the most reliable ones in our study; paper, the paper's; cft, the weights of
            background and foreground for soft masks of concepts (1.2 and 0.5). What you set yourself goes first.
        checkpoint: weights for the model: safetensors, .pth or .pth.tar.
        num_classes: classes of the model's head; read from the weights when left out.
        normalization: model (its own mean and std, the default) or paper (0.5 for every model).
        class_names: classes that a zero-shot model chooses among (default ImageNet's), or names of a head without any:
            cat,dog, or a text file with one name a line.
        val_images: photos to hold out; otherwise they are taken from images.
        val_masks: their masks.
        test_images: photos for the verdict only; otherwise half of the photos held out, which choose no epoch then.
        test_masks: their masks.
        mask_format: auto, soft, ids (class ids, 255 void) or imagenet-s.
        skip_unmasked: leave photos without a mask out instead of refusing them.
        doubtful: use masks too that their manifest.csv calls doubtful; they are left out otherwise.
        review: review.csv with the decisions made on a review page of the masks command, which go before the manifest.
        samples_per_class: photos to train on, per class, as far as there are so many (default 3, or the recipe's).
        classes: classes to train on: all, a number, a fraction (0.5) or a list of names.
        validation_per_class: photos to hold out, per class, at most.
        guidance: guidance method: robustvit (the paper's), or a baseline to compare with: cross-entropy, gradmask, rrr,
            swap-augmentation, last-layer, dfr (default robustvit, or the recipe's). The options up to balance belong to
            some methods; those of another are refused. dfr makes a new head at once, without lr, epochs and select.
        target: class that is explained in training: the true label (the default), or the predicted one (works without
            labels).
        relevance: method of the relevance map: gae (the paper's, the default), attnlrp, rollout or raw_attention for
            vision transformers, grad_cam or input_gradient for any classifier. The verdict measures with gae where it
            can.
        second_order: let gradients flow through the attention's gradient too.
        background: weight of the background loss (equation 1; default 2, or the recipe's); 0 leaves it out.
        foreground: weight of the foreground loss (equation 2; default 0.3, or the recipe's); 0 leaves it out.
        relevance_weight: weight of the relevance loss in the total (default 0.8, equation 5; of the input gradients'
            1000 for gradmask, 0.04 / K^2 with K classes for rrr).
        classification_weight: weight of the classification loss in the total (default 0.2; 1 for gradmask and rrr).
        classification: confidence (the model's own prediction, equation 4, the default) or label (the true class).
        temperature: divides the logits in the classification loss (default 1, or the recipe's).
        swap_share: share of the photos that swap-augmentation puts on another background (default 1).
        balance: photos for the head of last-layer and dfr: background (every object on another photo's background, the
            default) or class (the photos as they are); equally many of every class in both cases.
        lr: learning rate (default 2e-6, or the recipe's; 1e-3 for the head alone).
        epochs: passes over the training photos (default 50, or the recipe's).
        batch_size: photos per step, in each process where there are several.
        weight_decay: AdamW's weight decay.
        train: weights that may change: all (the paper, the default); attention: only the queries and keys, where the
            model looks; it bears far higher rates (3e-4); head: only the last layer (the only one of last-layer
            and dfr).
        select: epoch to keep, by the lowest validation loss (the paper's, the default) or robust: the highest accuracy
            on backgrounds of other classes whose ordinary accuracy fell by at most max_drop.
        max_drop: points of ordinary accuracy that may be lost; the verdict refuses a model that lost more.
        swaps: swapped backgrounds per photo, of its own class and as many of other classes.
        panels: examples to draw of each outcome.
        seed: fixes selection, order, augmentation and swaps.
        device: auto (a GPU where there is one) or cpu.
        precision: no (float32), bf16 or fp16.
        workers: processes that read photos.
        tracker: tensorboard, none, or another that Accelerate knows (wandb, mlflow, ...).
        save_every: minutes after which the state of an unfinished epoch is saved (0: after every step); it is saved
            after every epoch in any case, and when SIGTERM, SIGHUP or Ctrl-C stops the run.
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
    config = {name: _plain(value) for name, value in locals().items() if name != "resume"}
    options = dict(locals())
    from robustvit.data.pairs import expect_photos_of

    expect_photos_of(options)
    from robustvit.data.gathering import PhotoSources, gather
    from robustvit.data.selection import selection_text
    from robustvit.devices import make_accelerator
    from robustvit.files import write_text
    from robustvit.guidance import check_guidance
    from robustvit.guided_run import GuidedRun, with_predictions
    from robustvit.head_fitting import photos_to_fit
    from robustvit.methods import measuring_method
    from robustvit.models import load_model
    from robustvit.parameters import trainable
    from robustvit.progress import warn
    from robustvit.runs import RunFolder
    from robustvit.stopping import naming
    from robustvit.training import Schedule

    folder = RunFolder(out)
    folder.check_free(resume)
    guide, start = settled(options)
    config |= start
    old = used_settings(folder.config()) if resume else {}
    if resume:
        folder.check_same({name: value for name, value in config.items() if name not in _OF_THE_MODEL}, old)
    source: Any = recipe if model is None else model
    stepping = {name: start[name] for name in ("lr", "epochs", "select") if start[name] is not None}
    schedule = Schedule(
        batch_size=batch_size,
        weight_decay=weight_decay,
        train=start["train"],
        max_drop=max_drop,
        seed=seed,
        workers=workers,
        save_every=save_every,
        **stepping,
    )
    expect_at_least(0, swaps=swaps, panels=panels)
    if schedule.select == "robust" and swaps < 1:
        raise UserError(f"expected --swaps of at least 1 for --select robust, got {swaps}")
    accelerator = make_accelerator(precision, tracker, out, device)
    classifier = load_model(
        copy.deepcopy(source),  # a module given from Python stays as it is
        num_classes=num_classes,
        checkpoint=checkpoint,
        normalization=start["normalization"],
        class_names=class_names,
    )
    config |= _of_the_model(guide, classifier.num_classes)
    if resume:
        folder.check_same(config, old | {name: config[name] for name in _OF_THE_MODEL if old[name] is None})
    # A model that guidance does not work for must be refused before anything is written.
    measuring = measuring_method(guide.explains_with, classifier)
    with trainable(classifier, start["train"]) as parameters:
        check_guidance(guide, classifier, parameters)
    sources = PhotoSources(
        images, masks, val_images, val_masks, test_images, test_masks, mask_format, skip_unmasked, doubtful, review
    )
    gathered = gather(
        sources,
        classifier,
        labelled=guide.needs_labels,
        predict=partial(with_predictions, classifier, accelerator.device),
        samples_per_class=start["samples_per_class"],
        classes=classes,
        validation_per_class=validation_per_class,
        seed=seed,
        balanced=guide.balanced,
        halve=not (resume and folder.judged_by_all),
        older=resume and folder.selection.is_file() and not folder.records_content,
    )
    if guide.fits:
        photos_to_fit(gathered, classifier.num_classes)
    if unfit := left_out(options):
        gathered.notes.append(unfit)
        warn(unfit)
    selected = selection_text(gathered.splits, gathered.prints)
    if resume:
        folder.check_same_selection(selected)
    accelerator.wait_for_everyone()  # every process must have found the folder free before one writes to it
    with folder.locked(resume, accelerator.is_main_process), naming(folder.path):
        if accelerator.is_main_process:
            folder.start(config)
            if not folder.selection.is_file():  # an older run's has no hashes, and stays known as such
                write_text(selected, folder.selection)
        accelerator.wait_for_everyone()
        accelerator.init_trackers("robustvit" if tracker != "tensorboard" else "tensorboard")
        run = GuidedRun(folder, classifier, gathered, schedule, accelerator, swaps, mask_format, measuring)
        return Finetuned(folder.path, run.finish(guide, panels))


def _plain(value: Any) -> Any:
    """A setting as YAML can hold it."""
    from robustvit.runs import MODULE

    if isinstance(value, (str, int, float, list, type(None))):
        return value
    return str(value) if isinstance(value, Path) else f"{MODULE} ({type(value).__name__})"


_OF_THE_MODEL = ("num_classes", "relevance_weight")  # known when the model is loaded, where they are not given


def _of_the_model(guide: Any, classes: int) -> dict[str, Any]:
    """Settings that follow from the number of classes: that number, and the weight of input gradients by default."""
    weight = getattr(guide, "relevance_weight", None)
    by_classes = getattr(guide, "default_weight", None)
    return {
        "num_classes": classes,
        "relevance_weight": by_classes(classes) if weight is None and by_classes else weight,
    }


def used_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run as it used them, also where an older version did not write those of a recipe or default."""
    import inspect

    asked = dict.fromkeys(inspect.signature(finetune).parameters) | dict(config)
    return asked | settled(asked)[1]


def left_out(options: Mapping[str, Any]) -> str:
    """What a recipe sets and a run with these options of finetune does not have, in one line; nothing where it has all.

    What the user set is no loss of the recipe's.
    """
    from robustvit.recipes import recipe_settings

    used = settled(options)[1]
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


def settled(options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The guidance method, and what depends on it and on a recipe: options given, else the recipe's, else defaults.

    Args:
        options: of finetune, by name.

    Returns:
        The method; and its options, and all else that a recipe may set, as a run has them; None for what the method
        has no use for.

    Raises:
        UserError: no model and no recipe that names one; options that the method does not have or has no use for.
    """
    from robustvit.guidance import chosen_options, guidance_options, make_guidance
    from robustvit.recipes import fitting_settings, model_card

    recipe = options["recipe"]
    proposed = fitting_settings(recipe, options["guidance"])
    guidance = options["guidance"] or proposed.get("guidance", "robustvit")
    guide: Any = make_guidance(guidance, **chosen_options(guidance, options, proposed))
    train = _trained_weights(guide, guidance, options["train"], proposed.get("train"))
    if options["model"] is None:
        if recipe is None:
            raise UserError("expected a model to finetune: give --model NAME or --recipe CARD")
        model_card(recipe)  # it must name one

    proposed["lr"] = _rate(train, proposed)

    def said(name: str, default: Any) -> Any:
        if options[name] is None:
            return None if name in guide.unused else proposed.get(name, default)
        if name in guide.unused:
            raise UserError(f"expected no --{name} with --guidance {guidance}, which makes no steps: leave it out")
        return options[name]

    return guide, {
        "guidance": guidance,
        "train": train,
        "lr": said("lr", None),
        "epochs": said("epochs", 50),
        "samples_per_class": said("samples_per_class", 3),
        "select": said("select", "loss"),
        "normalization": said("normalization", "model"),
        **{name: getattr(guide, name, None) for name in guidance_options()},
    }


def _rate(train: Train, proposed: Mapping[str, Any]) -> float:
    """The learning rate where none is given: a recipe's, for the weights that it trains, or the default."""
    rated = proposed.get("train", "all" if train == "head" else train)  # what a recipe's rate is for
    default = 1e-3 if train == "head" else 2e-6
    return float(proposed.get("lr", default)) if train == rated else default


def _trained_weights(guide: Any, guidance: str, train: Train | None, proposed: Train | None) -> Train:
    """The weights that may change: the method's only ones, those asked for, a recipe's, or all."""
    if guide.trains is not None and train not in (None, guide.trains):
        raise UserError(
            f"expected --train {guide.trains} with --guidance {guidance}, which trains nothing else, got {train}: "
            "leave --train out"
        )
    return guide.trains or train or proposed or "all"
