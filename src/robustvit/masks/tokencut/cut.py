"""TokenCut: the objects that stand out in a photo, from a vision transformer's features alone (Wang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from robustvit.common.options import Protocol, Side
from robustvit.masks.confidence import FoundMask, measure_mask, no_object, overlap, rate_mask
from robustvit.masks.tokencut.bilateral_solver import bilateral_solver, refined_mask
from robustvit.masks.tokencut.normalized_cut import Cut, normalized_cut, similar_patches

# The solver's cells are in pixels of about this size of photo; larger ones are refined at it.
_SOLVER_SIDE = 640
# IoU of the coarse and the refined mask. Below it we keep the coarse mask; RobustViT's authors skip the photo.
_AGREEMENT = 0.5
# RobustViT's authors skip masks of fewer pixels, counted in the photo's own size.
_LEAST_PIXELS = 520
_ALIKE = "all patches are alike: nothing stands out"


@dataclass(frozen=True)
class CutSettings:
    """Settings of the cut.

    Attributes:
        threshold: tau, see ``similar_patches``.
        side: see ``normalized_cut``.
        objects: most objects, searched one after the other, each among the patches that are left.
        refine: align the mask with the photo's edges by the bilateral solver.
        protocol: ``standard``, or ``paper``: refine at the photo's size, and skip the photos that RobustViT's authors
            skip. ``side``, ``objects`` and ``refine`` are then unused.
    """

    threshold: float = 0.2
    side: Side = "corners"
    objects: int = 1
    refine: bool = True
    protocol: Protocol = "standard"


@dataclass(frozen=True)
class CutJob:
    """One photo with its features.

    Attributes:
        features: ``(rows, columns, C)``.
        photo: ``(H, W, 3)`` uint8.
        settings: how to cut.
        problem: why the photo has no features, if it has none.
    """

    features: np.ndarray
    photo: np.ndarray
    settings: CutSettings
    problem: str = ""


def cut_objects(job: CutJob) -> FoundMask:
    """Cut out the object or objects in a photo's features, and rate the mask."""
    rows, columns, channels = job.features.shape
    size = job.photo.shape[:2]
    if job.problem:
        return no_object((size[0], size[1]), job.problem)
    similar = similar_patches(job.features.reshape(-1, channels), job.settings.threshold)
    if job.settings.protocol == "paper":
        return _paper_object(normalized_cut(similar, (rows, columns)), job)
    allowed = np.ones(rows * columns, bool)
    union: FoundMask | None = None
    for number in range(job.settings.objects):
        cut = normalized_cut(similar, (rows, columns), side=job.settings.side, allowed=allowed if number else None)
        if cut is None:
            break
        found = _object(cut, job)
        if number and found.verdict != "good":
            break  # the first counts whatever its verdict; further ones must be good
        union = found if union is None else _join(union, found)
        allowed &= ~cut.mask.ravel()
    return union or no_object((size[0], size[1]), _ALIKE)


def enlarge(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask ``(h, w)`` to ``(H, W)`` exactly as PyTorch's ``interpolate(mode="nearest")``.

    Row i comes from row ``floor(i * h / H)``, in single precision, as PyTorch computes it on a GPU. Pillow's rule is
    another: ``floor((i + 0.5) * h / H)``.
    """
    rows, columns = (
        np.minimum((np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))).astype(int), old - 1)
        for old, new in zip(mask.shape, size, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _paper_object(cut: Cut | None, job: CutJob) -> FoundMask:
    """Return the mask that RobustViT's authors would train on, or the reason why they skip the photo."""
    size = (job.photo.shape[0], job.photo.shape[1])
    if cut is None:
        return no_object(size, _ALIKE)
    coarse = enlarge(cut.mask, size)
    soft = bilateral_solver(job.photo, coarse)
    mask = refined_mask(soft) if (soft > 0.5).any() else np.ones(size, bool)  # theirs is the whole frame then
    agreement, pixels = overlap(mask, coarse), int(np.count_nonzero(mask))
    found = rate_mask(mask.astype(np.float32), _measures(mask, cut, agreement))
    reason = ""
    if agreement < _AGREEMENT:
        reason = f"IoU of coarse and refined mask below {_AGREEMENT} ({agreement:.2f})"
    elif pixels < _LEAST_PIXELS:
        reason = f"fewer than {_LEAST_PIXELS} pixels ({pixels})"
    return replace(found, verdict="none" if reason else "good", reason=reason)


def _object(cut: Cut, job: CutJob) -> FoundMask:
    height, width = job.photo.shape[:2]
    coarse = enlarge(cut.mask, (height, width))
    mask, agreement = refine_mask(coarse, job.photo) if job.settings.refine else (coarse, None)
    return rate_mask(mask.astype(np.float32), _measures(mask, cut, agreement))


def _measures(mask: np.ndarray, cut: Cut, agreement: float | None) -> dict[str, float]:
    return measure_mask(
        mask,
        cut=cut.cut,
        eigengap=cut.eigenvalues[1] - cut.eigenvalues[0],
        objects=1.0,
        turned=float(cut.turned),
        agreement=agreement,
    )


def refine_mask(coarse: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, float]:
    """Align a coarse mask with a photo's edges; return it and its intersection over union with the coarse one.

    The solver may return the background: its mask is inverted if that agrees better. Below an IoU of one half, the
    coarse mask stays. Masks are ``(H, W)`` bool, the photo ``(H, W, 3)`` uint8.
    """
    height, width = coarse.shape
    scale = min(1.0, _SOLVER_SIDE / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = np.asarray(Image.fromarray(photo).resize(small, Image.Resampling.BOX)) if scale < 1 else photo
    target = np.asarray(Image.fromarray(coarse).resize(small, Image.Resampling.NEAREST)) if scale < 1 else coarse
    answer = refined_mask(bilateral_solver(image, target))
    answer = max(answer, ~answer, key=lambda mask: overlap(mask, target))
    agreement = overlap(answer, target)
    if agreement < _AGREEMENT:
        return coarse, agreement
    if scale < 1:
        full = Image.fromarray((255 * answer).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
        answer = np.asarray(full) >= 128
    return answer, agreement


def _join(one: FoundMask, other: FoundMask) -> FoundMask:
    """Join two objects of a photo in one mask, with the confidence of the first."""
    mask = np.maximum(one.mask, other.mask)
    measures = measure_mask(mask > 0.5, objects=one.measures["objects"] + 1)
    return FoundMask(mask, one.verdict, one.confidence, one.reason, one.measures | measures)
