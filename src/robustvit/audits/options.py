"""Options of an audit; see ``option_groups`` for those that other commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from robustvit.common.option_groups import GivenPhotos, JudgingOptions, MapOptions, RunningOptions
from robustvit.common.options import Feature


@dataclass(frozen=True, kw_only=True)
class FoundMasks:
    """Masks that are made if none are given.

    Attributes:
        masks_out: folder for masks that are found; that of the page with -masks when left out.
        mask_model: backbone that finds masks (default vit_small_patch16_224.dino).
        mask_checkpoint: weights for it.
        mask_feature: what is compared to find them: keys, queries, values or tokens.
        mask_centre: subtract the mean over patches from the features; DINOv2-like backbones need it.
        mask_threshold: cosine above which two patches are alike.
        mask_size: longer side in pixels at which the backbone sees a photo.
    """

    masks_out: str | None = None
    mask_model: str | None = None
    mask_checkpoint: str | None = None
    mask_feature: Feature = "keys"
    mask_centre: bool = False
    mask_threshold: float = 0.2
    mask_size: int = 480


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Audit.

    Attributes:
        backgrounds: folder of photos to place objects on for position, size and rotation; the photos' own tiled
            backgrounds of other classes when left out.
        tries: backgrounds of other classes per photo, to search for one that flips the answer.
        shifted: photos whose object is placed elsewhere.
        worst: how many of the worst photos to show.
    """

    backgrounds: str | None = None
    tries: int = 12
    shifted: int = 60
    worst: int = 20


@dataclass(frozen=True, kw_only=True)
class GroupOptions:
    """Kinds of background.

    Attributes:
        groups: kinds of background to find; 0 takes the number from 2 to 12 with the largest mean silhouette.
        group_model: backbone whose features tell backgrounds apart; the model itself when left out.
        group_checkpoint: weights for it.
        group_feature: keys, queries, values or tokens of it.
        group_block: of it, counted from 1; the last when left out.
    """

    groups: int = 0
    group_model: str | None = None
    group_checkpoint: str | None = None
    group_feature: Feature = "keys"
    group_block: int | None = None


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """All options of an audit.

    Attributes:
        settings: every option by its name, for the record.
    """

    photos: GivenPhotos
    found: FoundMasks
    maps: MapOptions
    judging: JudgingOptions
    auditing: AuditOptions
    grouping: GroupOptions
    running: RunningOptions
    settings: Mapping[str, object]
