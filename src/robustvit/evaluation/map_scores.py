"""Scores of relevance maps against masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from robustvit.explanation.maps import energy_inside


def map_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Compute the mean IoU of object and background, ``(B,)``, with each map cut at its mean.

    It is that of the paper's segmentation test. Arguments as in ``energy_inside``; soft masks are cut at 0.5.
    """
    from torchmetrics.functional.segmentation import mean_iou  # seconds to import: only where maps are measured

    cut = (maps > maps.mean(dim=(2, 3), keepdim=True)).squeeze(1).long()
    return mean_iou(cut, (masks > 0.5).squeeze(1).long(), num_classes=2, input_format="index")


def pointing_hit(maps: Tensor, masks: Tensor) -> Tensor:
    """Return whether a map's highest point lies on the object, ``(B,)``, 0 or 1 (the pointing game without a margin).

    Arguments as in ``energy_inside``; soft masks are cut at 0.5. The first of several equal points counts, and a map of
    zeros never hits.
    """
    best = maps.flatten(1).argmax(dim=1, keepdim=True)
    hit = (masks.flatten(1) > 0.5).gather(1, best)[:, 0] & (maps.flatten(1).amax(dim=1) > 0)
    return hit.float()


MapScores = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
MAP_SCORES: MapScores = {"miou": map_iou, "energy": energy_inside}
