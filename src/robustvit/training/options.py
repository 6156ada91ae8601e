"""Options of a finetuning run; see ``option_groups`` for those that other commands share."""

from __future__ import annotations

from dataclasses import dataclass

from robustvit.common.option_groups import GivenPhotos, JudgingOptions, RelevanceOptions, RunningOptions
from robustvit.common.options import Balance, Classes, Classification, Select, Target, Train
from robustvit.models.options import ModelOptions


@dataclass(frozen=True, kw_only=True)
class TrainingPhotos(GivenPhotos):
    """Photos and masks.

    Attributes:
        val_images: photos to hold out; otherwise they are taken from images.
        val_masks: their masks.
        review: review.csv with the decisions made on a review page of the masks command, which override the manifest.
        samples_per_class: photos to train on, per class, if there are that many (default 3, or the recipe's).
        classes: classes to train on: all, a number, a fraction (0.5) or a list of names.
        validation_per_class: photos to hold out, per class, at most.
    """

    val_images: str | None = None
    val_masks: str | None = None
    review: str | None = None
    samples_per_class: int | None = None
    classes: Classes = "all"
    validation_per_class: int = 20


@dataclass(frozen=True, kw_only=True)
class StartOptions(ModelOptions):
    """Model and recipe.

    Attributes:
        recipe: model card of the paper (vit-b, ar-s, deit-b, ...): sets model, rate, temperature and normalization; or
            settings for any model: own, the most reliable ones in our study; paper, the paper's; cft, the weights of
            background and foreground for soft masks of concepts (1.2 and 0.5). Options you give override the recipe.
        normalization: model (its own mean and std, the default) or paper (0.5 for every model).
    """

    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions(RelevanceOptions):
    """Guidance.

    Attributes:
        guidance: guidance method: robustvit (the paper's), or a rival method to compare with: cross-entropy, gradmask,
            rrr, swap-augmentation, last-layer, dfr (default robustvit, or the recipe's). The options up to balance
            belong to some methods; those of another are refused. dfr fits a new head at once, without lr,
            epochs and select.
        target: class to explain in training: the true label (the default), or the predicted one (works without
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
            default) or class (the original photos); the same number of every class in both cases.
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
    balance: Balance | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Schedule.

    Attributes:
        lr: learning rate (default 2e-6, or the recipe's; 1e-3 for the head alone).
        epochs: passes over the training photos (default 50, or the recipe's).
        weight_decay: AdamW's weight decay.
        train: weights that may change: all (the paper, the default); attention: only the queries and keys, where the
            model looks; it tolerates much higher learning rates (3e-4); head: only the last layer (the only one of
            last-layer and dfr).
        select: epoch to keep, by the lowest validation loss (the paper's, the default) or robust: the highest accuracy
            on backgrounds of other classes whose ordinary accuracy fell by at most max_drop.
    """

    lr: float | None = None
    epochs: int | None = None
    weight_decay: float = 1e-4
    train: Train | None = None
    select: Select | None = None


@dataclass(frozen=True, kw_only=True)
class VerdictOptions(JudgingOptions):
    """Judging.

    Attributes:
        test_images: photos for the verdict only; otherwise half of the held-out photos, which then choose no epoch.
        test_masks: their masks.
        panels: examples to draw of each outcome.
    """

    test_images: str | None = None
    test_masks: str | None = None
    panels: int = 4


@dataclass(frozen=True, kw_only=True)
class TrainingRun(RunningOptions):
    """Running.

    Attributes:
        batch_size: photos per step and process.
        tracker: tensorboard, none, or another that Accelerate knows (wandb, mlflow, ...).
        save_every: minutes after which the state of an unfinished epoch is saved (0: after every step); it is also
            saved after every epoch, and when SIGTERM, SIGHUP or Ctrl-C stops the run.
    """

    batch_size: int = 8
    tracker: str = "tensorboard"
    save_every: float = 10.0
