"""Options of an audit; ``option_groups`` and ``photo_options`` have those shared with other commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from robustvit.common.errors import UserError, option_name
from robustvit.common.option_groups import InferenceOptions, JudgingOptions, MapOptions, MetricOption, RunningOptions
from robustvit.common.options import Feature
from robustvit.common.photo_options import GivenPhotos

BudgetName = Literal["quick", "normal", "full"]
FailIf = Literal["strong", "any"]


@dataclass(frozen=True, kw_only=True)
class AutomaticMasks:
    """Masks made when none are given.

    Attributes:
        masks_out: folder for the masks; default: next to the page, named after it with -masks.
        mask_model: backbone for TokenCut (default vit_small_patch16_224.dino).
        mask_checkpoint: weights for that backbone.
        mask_feature: features that TokenCut compares: keys, queries, values or tokens; default: keys for DINO; for
            other backbones, whichever cuts a few of the photos best, as for mask_centre and mask_threshold.
        mask_centre: subtract the mean over patches from the features; default: not for DINO (see mask_feature).
        mask_threshold: cosine similarity above which two patches are linked; default: 0.2 for DINO (see mask_feature).
        mask_size: longer side, in pixels, of the photo that the backbone sees.
    """

    masks_out: str | None = None
    mask_model: str | None = None
    mask_checkpoint: str | None = None
    mask_feature: Feature | None = None
    mask_centre: bool | None = None
    mask_threshold: float | None = None
    mask_size: int = 480

    def expect_none(self, reason: str) -> None:
        """Refuse these options where no masks are made."""
        given = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
        if given:
            raise UserError(f"{option_name(given[0])} is about finding masks, but {reason}: leave one of them out")


@dataclass(frozen=True, kw_only=True)
class AuditOptions(MetricOption):
    """Audit.

    Attributes:
        budget: quick (at most 12 forward passes a photo: the verdict, the worst photos, and what the model looks at),
            normal, or full (every test, with more backgrounds and objects).
        backgrounds: folder of background photos for the position, size and rotation tests; default: the tiled
            backgrounds of photos of other classes.
        tries: backgrounds of other classes to try per photo, in search of one that flips the answer; default: 2, 6 or
            12, depending on the budget.
        shifted: number of photos whose object is moved, resized and rotated; default: 0, 24 or 60, depending on the
            budget.
        worst: number of worst photos to show.
        regions: largest number of kinds of region beside the object to tell apart; 0 skips this.
        insert: picture to insert into the photos, such as a ruler or a logo that some of them have, to see whether the
            answers change.
        text: text to put across the photos, such as a watermark that some of them have.
        objects: annotations that name the objects in the photos, such as COCO's or VOC's, in any format that robustvit
            masks --from auto reads: objects of other classes are blurred, to see whether the answers change.
        without_masks: neither use nor make masks: reports accuracy, what the model looks at, and other shortcuts, but
            no verdict on backgrounds, which needs masks.
        name_with: model that finds the nearest words for each region beside the object, such as
            open_clip:ViT-B-32/openai.
        compare: up to four more models or runs, separated by commas, to audit on the same photos: each gets a numbered
            page beside out, and out compares them all with model.
        fail_if: exit with code 1 if the model relies strongly on the background (strong), or shows any reliance or
            another shortcut (any); the page is written either way. An audit that cannot tell does not fail, and says
            so. With compare, only model counts.
    """

    budget: BudgetName = "normal"
    backgrounds: str | None = None
    tries: int | None = None
    shifted: int | None = None
    worst: int = 20
    regions: int = 6
    insert: str | None = None
    text: str = "SAMPLE"
    objects: str | None = None
    without_masks: bool = False
    name_with: str | None = None
    compare: str | None = None
    fail_if: FailIf | None = None


@dataclass(frozen=True, kw_only=True)
class GroupOptions:
    """Kinds of background.

    Attributes:
        groups: number of kinds of background; 0 chooses it, from 2 to 12, by the largest mean silhouette.
        group_model: backbone whose features the backgrounds are clustered by; default: the model itself.
        group_checkpoint: weights for that backbone.
        group_feature: features to compare: keys, queries, values or tokens.
        group_block: block of that backbone, counted from 1; default: the last.
        groups_out: CSV file to write the photos to, with their kinds of background as groups; finetune and evaluate
            take it as images. Must be new.
    """

    groups: int = 0
    group_model: str | None = None
    group_checkpoint: str | None = None
    group_feature: Feature = "keys"
    group_block: int | None = None
    groups_out: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """Everything an audit is asked for.

    Attributes:
        settings: every option by its name, for the record.
    """

    photos: GivenPhotos
    found: AutomaticMasks
    maps: MapOptions
    judging: JudgingOptions
    auditing: AuditOptions
    grouping: GroupOptions
    inference: InferenceOptions
    running: RunningOptions
    settings: Mapping[str, object]
