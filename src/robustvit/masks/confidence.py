"""How trustworthy an automatic mask is, from measures that need no human mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustvit.common.wording import pluralize
from robustvit.data.manifest import NO_OBJECT, MaskRecord, MaskVerdict
from robustvit.data.mask_doubts import AT_BORDER, border_contact

_CUT_WEIGHT, _BORDER_WEIGHT = 0.8, 1.4
_GOOD = 0.5
# Above this, as many edges cross the cut as stay inside: patches of pure noise.
_NO_OBJECT = 0.9
# Smaller or larger masks are seldom an object; 0.01 is about 520 of 224 x 224 pixels.
_LEAST_SHARE, _LARGEST_SHARE = 0.01, 0.9
_AT_BORDER = "it covers the border of the frame, as most masks here: is it the background?"


@dataclass(frozen=True)
class FoundMask:
    """An automatic mask with its rating.

    Attributes:
        mask: float32 ``(H, W)`` in [0, 1], in the photo's size.
        verdict: see ``MaskRecord``; as are ``confidence``, ``reason`` and ``measures``.
    """

    mask: np.ndarray
    verdict: MaskVerdict
    confidence: float
    reason: str
    measures: dict[str, float]


def measure_mask(mask: np.ndarray, **further: float | None) -> dict[str, float]:
    """Measure a mask's share of the frame and of its border; add known measures. ``mask`` is ``(H, W)`` bool."""
    known = {name: value for name, value in further.items() if value is not None}
    return {"share": float(mask.mean()), "border": border_contact(mask), **known}


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two masks ``(H, W)`` bool; 0 where both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0


def threshold_agreement(soft: np.ndarray, level: float = 0.5) -> float:
    """Return how sure a soft mask is: its IoU above a lower and a higher level, 0.3 and 0.7 for a level of 0.5."""
    return overlap(soft > 0.6 * level, soft > level + 0.4 * (1 - level))


def no_object(size: tuple[int, int], reason: str) -> FoundMask:
    """Return the result for a photo of ``size`` (H, W) without an object."""
    return FoundMask(np.zeros(size, np.float32), "none", 0.0, reason, {})


def rate_mask(mask: np.ndarray, measures: dict[str, float]) -> FoundMask:
    """Rate a mask: confidence and verdict.

    The confidence is ``1 - 0.8 cut - 1.4 border``, in [0, 1]: a good mask has a clean cut and seldom touches the
    frame. Both weights were fitted to the IoU of TokenCut masks with human ones on 150 photos, and hold on 150 others
    (``benchmarks/README.md``). Sources without a cut get ``agreement - 1.4 border``, which is not calibrated.

    Args:
        mask: float32 ``(H, W)`` in [0, 1].
        measures: ``share`` of the frame, ``border``, and ``cut`` or ``agreement`` where the source has them.
    """
    doubt = _CUT_WEIGHT * measures["cut"] if "cut" in measures else 1 - measures.get("agreement", 1.0)
    at_border = _BORDER_WEIGHT * measures["border"]
    confidence = min(1.0, max(0.0, 1 - doubt - at_border))
    share = measures["share"]
    if share == 0 or measures.get("cut", 0.0) > _NO_OBJECT:
        return FoundMask(mask, "none", 0.0, "nothing stands out", measures)
    if not _LEAST_SHARE <= share <= _LARGEST_SHARE:
        reason = f"it covers {100 * share:.1f} % of the frame"
        return FoundMask(mask, "doubtful", min(confidence, _GOOD / 2), reason, measures)
    if confidence < _GOOD:
        reason = f"it takes {100 * measures['border']:.0f} % of the frame's border"
        if doubt > at_border:
            reason = "it is not clearly cut off" if "cut" in measures else "its source is not sure of it"
        return FoundMask(mask, "doubtful", confidence, reason, measures)
    return FoundMask(mask, "good", confidence, "", measures)


def rate_together(records: Sequence[MaskRecord]) -> tuple[list[MaskRecord], list[str]]:
    """Doubt masks that cover the frame's border if most of a set do: they may mark the background.

    Returns:
        The records, and a line on those that are doubted.
    """
    masks = [record for record in records if record.mask is not None and record.verdict != NO_OBJECT]
    outside = [
        record
        for record in masks
        if record.measures.get("border", 0) >= AT_BORDER and (record.verdict == "good" or record.reason == _AT_BORDER)
    ]
    if 2 * len(outside) <= len(masks):
        return list(records), []
    doubted = [
        replace(one, verdict="doubtful", confidence=0.0, reason=_AT_BORDER) if one in outside else one
        for one in records
    ]
    line = (
        f"{len(outside)} of {pluralize(len(masks), 'mask')} cover the border of the frame, the first is "
        f"{outside[0].mask}: is the background marked instead of the object? Of mask files, --from inverted takes "
        "black as the object and --from binary white; --doubtful uses the masks as they are"
    )
    return doubted, [line]
