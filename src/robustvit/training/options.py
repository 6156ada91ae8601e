"""Options of a finetuning run; ``option_groups`` and ``photo_options`` have those shared with other commands."""

from __future__ import annotations

from dataclasses import dataclass, fields

from robustvit.common.option_groups import AtInferenceOption, RelevanceOptions, RunningOptions, VerdictOnPhotos
from robustvit.common.options import (
    Balance,
    Classes,
    Classification,
    GroupMethod,
    LrSchedule,
    Negatives,
    Select,
    Target,
    Train,
    WeightInterpolation,
)
from robustvit.common.photo_options import GivenPhotos
from robustvit.models.options import ModelOptions


@dataclass(frozen=True, kw_only=True)
class TrainingPhotos(GivenPhotos):
    """Photos and masks.

    Attributes:
        val_images: validation photos; default: held out from images.
        val_masks: masks of the validation photos.
        review: review.csv saved by a review page of the masks command; its decisions override the manifest.
        shortcuts: shortcuts.json saved by the page of an audit of this model: regions that were dropped count as
            background, and those that were kept are left alone, by robustvit, swap-relevance and energy. Masks are then
            optional; without them, only the dropped regions are guided.
        samples_per_class: maximum number of training photos per class (default: the recipe's, 10; 3 in the paper).
        classes: classes to train on: all, a number, a fraction (0.5) or a list of names.
        validation_per_class: maximum number of photos held out per class.
        leave_out: groups kept out of training and of the choice of the epoch, and used alone to judge the model: how
            well it does on a camera or hospital that it has not seen. Needs groups (see group_by).
    """

    val_images: str | None = None
    val_masks: str | None = None
    review: str | None = None
    shortcuts: str | None = None
    samples_per_class: int | None = None
    classes: Classes = "all"
    validation_per_class: int = 20
    leave_out: list[str] | str | None = None


@dataclass(frozen=True, kw_only=True)
class StartOptions(ModelOptions):
    """Model and recipe.

    Attributes:
        recipe: settings for any model: recommended (swapped backgrounds and relevance, the default; own is an older
            name), paper (the paper's) or cft (background and foreground weights 1.2 and 0.5, for soft masks of
            concepts); or a model of the paper (vit-b, ar-s, deit-b, ...), which sets model, learning rate, temperature
            and normalization. Options you give override the recipe. Without a recipe, another guidance, target
            predicted, and shortcuts without masks take the paper's settings.
        normalization: model (its own mean and std, the default) or paper (0.5 for every model).
    """

    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions(RelevanceOptions):
    """Guidance.

    Attributes:
        guidance: guidance method: robustvit (the paper's), swap-relevance (the same on photos with swapped
            backgrounds), energy (relevance inside the mask or box, wherever in it), or a rival method: cross-entropy,
            gradmask, rrr, swap-augmentation, last-layer, dfr (default: the recipe's, swap-relevance; robustvit without
            one). The options up to balance each belong to some methods, and other methods refuse them. dfr fits a new
            head, without lr, epochs and select.
        target: class whose relevance is guided: label (the true class, the default) or predicted (needs no labels).
        relevance: method of the relevance map: gae (the paper's, the default), attnlrp, legrad, rollout or
            raw_attention for vision transformers, grad_cam or input_gradient for any classifier. The verdict uses gae
            where the model supports it.
        second_order: also backpropagate through the gradient of the attention.
        background: weight of the background loss (equation 1; default 2, or the recipe's); 0 turns it off.
        foreground: weight of the foreground loss (equation 2; default 0.3, or the recipe's); 0 turns it off.
        relevance_weight: weight of the relevance loss (equation 5; default 0.8; 1000 for gradmask, and 0.04 / K^2 with
            K classes for rrr, whose loss is on input gradients; 8 for swap-relevance).
        classification_weight: weight of the classification loss (default 0.2; 1 for the other methods).
        classification: confidence (the model's own prediction, equation 4, the default) or label (the true class, the
            default of swap-relevance).
        temperature: divides the logits in the classification loss (default 1, or the recipe's).
        swap_share: fraction of the photos that swap-augmentation and swap-relevance put on another background
            (default 1).
        negatives: what photos without an object (an empty mask, or --no-object) train: classification (nothing else,
            the default), uniform (they also even out the maps of the classes that have objects, at the cost of a
            backward pass for each; for robustvit, swap-relevance, energy, gradmask and rrr) or none (they are not
            trained on).
        balance: photos for the head of last-layer and dfr: background (every object on another photo's background, the
            default) or class (the photos as they are), both with the same number from every class; or group, with the
            same number from every group.
        group_method: how groups of training photos count, with any guidance that has a loss with the true label: sample
            (every group is drawn equally often), reweight (every group has the same weight in that loss), dro (Group
            DRO: the worse a group, the larger its weight) or jtt (no groups needed: photos that a first model gets
            wrong are seen more often); default: all photos count alike.
        group_step: step size of the groups' weights in dro (default 0.01).
        jtt_epochs: epochs of jtt's first model, trained with cross-entropy (default 5).
        jtt_times: how often jtt shows its mistakes in an epoch (default 20).
    """

    guidance: str | None = None
    target: Target | None = None
    second_order: bool = False
    background: float | None = None
    foreground: float | None = None
    relevance_weight: float | None = None
    classification_weight: float | None = None
    classification: Classification | None = None
    temperature: float | None = None
    swap_share: float | None = None
    negatives: Negatives | None = None
    balance: Balance | None = None
    group_method: GroupMethod | None = None
    group_step: float | None = None
    jtt_epochs: int | None = None
    jtt_times: int | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Schedule.

    Attributes:
        lr: learning rate (default: the recipe's, 1e-5; 2e-6 in the paper, 1e-3 for the head alone, ten times the
            recipe's for an adapter).
        epochs: times that each training photo is used (default: the recipe's, 20; 50 in the paper).
        weight_decay: AdamW's weight decay.
        train: weights to train: all (the paper's, the default), attention (queries and keys, which decide where the
            model looks; tolerates higher learning rates: start at 1e-4), head (the last layer; always used by
            last-layer and dfr) or adapter (the model's peft adapter, which is otherwise merged into the weights).
        select: epoch to keep: last (the default), loss (lowest validation loss, the paper's), robust (highest
            accuracy on backgrounds of other classes among epochs that lost at most max_drop of ordinary accuracy, or
            another --metric of both) or worst-group (highest validation accuracy in the worst group).
        lr_schedule: cosine (falls to zero over the run, after every step, the default) or step (the paper's:
            multiplied by 0.85 every second epoch).
        weight_interpolation: how far to go from the original weights to the finetuned ones (WiSE-FT): a share above 0
            and at most 1, or auto (the default): the tenth, of the six or seven that are tried, with the highest
            accuracy on validation photos, ordinary plus on backgrounds of other classes, that loses at most max_drop;
            or with the highest --metric of both. The paper's is 1: all the way.
    """

    lr: float | None = None
    epochs: int | None = None
    weight_decay: float = 1e-4
    train: Train | None = None
    select: Select | None = None
    lr_schedule: LrSchedule | None = None
    weight_interpolation: WeightInterpolation | None = None


@dataclass(frozen=True, kw_only=True)
class VerdictOptions(VerdictOnPhotos, AtInferenceOption):
    """Verdict.

    Attributes:
        test_images: photos for the verdict only; default: half of the held-out photos, which then do not choose the
            epoch.
        test_masks: masks of the test photos.
        panels: number of examples to draw of each outcome.
    """

    test_images: str | None = None
    test_masks: str | None = None
    panels: int = 4


@dataclass(frozen=True, kw_only=True)
class TrainingRun(RunningOptions):
    """Running.

    Attributes:
        batch_size: photos per step and process.
        tracker: none, tensorboard (pip install 'robustvit[tracking]'), wandb, mlflow or another that Accelerate
            supports; wandb and mlflow also get the verdict and the report. The losses are always in metrics.jsonl.
        save_every: minutes between saves within an epoch (0: after every step); the state is also saved after the first
            epoch, at most every 30 seconds after later ones, and when SIGTERM, SIGHUP or Ctrl-C stops the run.
    """

    batch_size: int = 8
    tracker: str = "none"
    save_every: float = 10.0


def option_names() -> list[str]:
    """Return the names of all options of ``finetune``."""
    groups = (TrainingPhotos, StartOptions, GuidanceOptions, ScheduleOptions, VerdictOptions, TrainingRun)
    return [one.name for group in groups for one in fields(group)] + ["out", "resume"]
