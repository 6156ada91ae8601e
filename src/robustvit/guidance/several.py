"""Guidance of photos with several classes: the relevance of each class in a photo lies on the mask of that class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.explanation.maps import image_map
from robustvit.explanation.methods.trace import Trace, slots_of


def over_classes(
    terms: Callable[[Tensor, Tensor], dict[str, Tensor]],
    trace: Trace,
    present: Tensor,
    masks: Tensor,
    size: tuple[int, int],
) -> tuple[dict[str, Tensor], Tensor]:
    """Return ``1/B sum_i 1/|P_i| sum_(c in P_i) term(R_i^c, S_i^c)``: every photo counts once, whatever it shows.

    ``P_i`` are the classes of photo i that have a mask, ``R_i^c`` is its relevance map of class c, ``S_i^c`` the mask.

    Args:
        terms: returns means over the images of maps and masks ``(B, 1, H, W)``.
        trace: a forward pass, explained as often as the photo with the most classes has classes.
        present: ``(B, C)`` bool, the classes in each photo.
        masks: ``(B, P, H, W)`` in [0, 1], the mask of the j-th class in the photo; if P is 1, of all its classes.
        size: height and width of the images.

    Returns:
        The terms, and each photo's map of its first class, ``(B, 1, H, W)``; zeros for a photo without classes.
    """
    masks = masks[:, None] if masks.ndim == 3 else masks
    order, held = slots_of(present)
    if masks.shape[1] not in (1, held.shape[1]) and masks.shape[1] < held.shape[1]:
        raise UserError(
            f"expected a mask for each of up to {held.shape[1]} classes of a photo, or one for all, got "
            f"{masks.shape[1]}"
        )
    masks = masks.to(trace.logits.dtype).expand(-1, max(masks.shape[1], held.shape[1]), -1, -1)
    shown = held & masks[:, : held.shape[1]].flatten(2).any(dim=2)
    weights = shown / shown.sum(dim=1, keepdim=True).clamp(min=1) / len(masks)
    nothing = torch.zeros_like(masks[:1, :1], dtype=torch.promote_types(masks.dtype, torch.float32))
    sums = {name: torch.zeros_like(term) for name, term in terms(nothing, nothing).items()}  # names and types
    first = masks.new_zeros(len(masks), 1, *size)
    for slot in range(held.shape[1]):
        maps = image_map(trace.explain(order[:, slot], True), size)
        first = torch.where(held[:, 0, None, None, None], maps, first) if slot == 0 else first
        for index in shown[:, slot].nonzero()[:, 0].tolist():
            found = terms(maps[index : index + 1], masks[index : index + 1, slot : slot + 1].to(maps.dtype))
            sums = {name: sums[name] + weights[index, slot].to(found[name].dtype) * found[name] for name in sums}
    return sums, first


def all_objects(masks: Tensor, target: Tensor | None) -> Tensor:
    """Return the union of the masks of all classes of a photo, ``(B, 1, H, W)``; empty if a class has no mask.

    The object of a class without a mask would stay behind, and the labels would no longer be true. Masks of photos of
    one class, whose target is ``(B,)``, stay as they are.
    """
    if target is None or target.ndim == 1 or masks.ndim == 3:
        return masks
    whole = masks.amax(dim=1, keepdim=True)
    if masks.shape[1] == 1:
        return whole
    complete = masks.flatten(2).any(dim=2).sum(dim=1) >= (target > 0.5).sum(dim=1)
    return whole * complete[:, None, None, None].to(whole.dtype)
