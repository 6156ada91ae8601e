"""Photos without an object: they train the classification alone, or also even maps of the classes that have objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustvit.guidance.paper_losses import masks_like


def shows_object(masks: Tensor) -> Tensor:
    """Whether a mask has any pixel on an object, ``(B,)`` bool; ``masks`` is ``(B, 1, H, W)`` or ``(B, H, W)``."""
    return masks.flatten(1).any(dim=1)


def over_objects(
    terms: Callable[[Tensor, Tensor], dict[str, Tensor]], maps: Tensor, masks: Tensor
) -> dict[str, Tensor]:
    """Return the terms of the images that show an object; the others count as zero in the mean over images.

    ``terms`` returns means over images from maps or gradients ``(B, C, H, W)`` and masks.
    """
    masks = masks_like(maps, masks)
    shown = shows_object(masks)
    if bool(shown.all()):
        return terms(maps, masks)
    if not bool(shown.any()):
        return {name: torch.zeros_like(term.detach()) for name, term in terms(maps, masks).items()}
    share = shown.to(maps.dtype).mean()
    return {name: share * term for name, term in terms(maps[shown], masks[shown]).items()}


def unevenness(relevance: Tensor) -> Tensor:
    """How far relevance ``(B, N)`` is from an even map, ``(N sum_j p_j^2 - 1) / (N - 1)``, ``p_j = R_j / sum_k R_k``.

    0 where all N patches have the same relevance, which ``image_map`` turns into a map of zeros: nothing stands out. 1
    where one patch has all relevance, whose scale does not matter; 0 without a gradient where all of it is zero.
    """
    exact = relevance.to(torch.promote_types(relevance.dtype, torch.float32))
    total = exact.sum(dim=1, keepdim=True)
    shares = exact / total.where(total > 0, 1.0)
    uneven = (exact.shape[1] * shares.square().sum(dim=1) - 1) / (exact.shape[1] - 1)
    return uneven.where(total[:, 0] > 0, 0.0)


def other_classes(logits: Tensor, labels: Tensor | None, object_classes: Sequence[int] | None) -> Tensor:
    """Return the classes, ``(B, C)`` bool, whose maps an image without an object should not have: those with objects
    (all if None), except the image's label.
    """
    chosen = torch.zeros_like(logits, dtype=torch.bool)
    chosen[:, list(range(logits.shape[1]) if object_classes is None else object_classes)] = True
    if labels is not None:
        chosen[torch.arange(len(logits), device=logits.device), labels] = False
    return chosen


def mean_over_classes(value: Callable[[Tensor], Tensor], chosen: Tensor) -> Tensor:
    """Return ``1/B sum_i 1/|O_i| sum_(c in O_i) value_i(c)`` over images i and their classes O_i, ``(B, C)`` bool.

    ``value`` returns ``(B,)`` for classes ``(B,)``. An image without classes counts as zero.
    """
    weights = chosen.float() / chosen.sum(dim=1, keepdim=True).clamp(min=1) / len(chosen)
    found = []
    for label in chosen.any(dim=0).nonzero()[:, 0].tolist():
        values = value(torch.full((len(chosen),), label, device=chosen.device))
        own = chosen[:, label]
        found.append((weights[own, label].to(values.dtype) * values[own]).sum())
    return torch.stack(found).sum() if found else weights.new_zeros(())
