"""TokenCut: the objects that stand out in a photo, from a vision transformer's features alone (Wang et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from robustvit.bilateral_solver import bilateral_solver, refined_mask
from robustvit.mask_confidence import FoundMask, judged, measures_of, no_object, overlap
from robustvit.normalized_cut import Cut, normalized_cut, similar_patches
from robustvit.options import Side

__all__ = ["CutJob", "CutSettings", "find_objects", "refined"]

# The solver's cells are in pixels of about this size of photo; larger ones are refined at it.
_SOLVER_SIDE = 640
# The two masks must agree this much; the authors invert the refined one otherwise.
_AGREEMENT = 0.5


@dataclass(frozen=True)
class CutSettings:
    """How objects are found.

    Attributes:
        threshold: tau, see ``similar_patches``.
        side: see ``normalized_cut``.
        objects: at most so many are looked for, one after the other, each among the patches that are left.
        refine: draw the mask to the photo's edges with the bilateral solver.
    """

    threshold: float = 0.2
    side: Side = "corners"
    objects: int = 1
    refine: bool = True


@dataclass(frozen=True)
class CutJob:
    """One photo with its features.

    Attributes:
        features: ``(rows, columns, C)``.
        photo: ``(H, W, 3)`` uint8.
        settings: how to cut.
    """

    features: np.ndarray
    photo: np.ndarray
    settings: CutSettings


def find_objects(job: CutJob) -> FoundMask:
    """The object, or the objects, that a photo's features show, with a verdict on the mask."""
    rows, columns, channels = job.features.shape
    size = job.photo.shape[:2]
    similar = similar_patches(job.features.reshape(-1, channels), job.settings.threshold)
    allowed = np.ones(rows * columns, bool)
    union: FoundMask | None = None
    for number in range(job.settings.objects):
        cut = normalized_cut(similar, (rows, columns), side=job.settings.side, allowed=allowed if number else None)
        if cut is None:
            break
        found = _object(cut, job)
        if number and found.verdict != "good":
            break  # the first is shown whatever it is; a further one must stand by itself
        union = found if union is None else _joined(union, found)
        allowed &= ~cut.mask.ravel()
    return union or no_object((size[0], size[1]), "all patches are alike: nothing stands out")


def _object(cut: Cut, job: CutJob) -> FoundMask:
    height, width = job.photo.shape[:2]
    coarse = np.asarray(Image.fromarray(cut.mask).resize((width, height), Image.Resampling.NEAREST))
    mask, agreement = refined(coarse, job.photo) if job.settings.refine else (coarse, None)
    measures = measures_of(
        mask,
        cut=cut.cut,
        eigengap=cut.eigenvalues[1] - cut.eigenvalues[0],
        objects=1.0,
        turned=float(cut.turned),
        agreement=agreement,
    )
    return judged(mask.astype(np.float32), measures)


def refined(coarse: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, float]:
    """A coarse mask drawn to a photo's edges, and how well the two agree (intersection over union).

    The solver may answer with the background: its mask is inverted where that agrees better. Where neither agrees by
    half, the coarse mask stays.

    Args:
        coarse: ``(H, W)`` bool.
        photo: ``(H, W, 3)`` uint8.
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


def _joined(one: FoundMask, other: FoundMask) -> FoundMask:
    """Two objects of a photo as one mask, believed as far as the first."""
    mask = np.maximum(one.mask, other.mask)
    measures = measures_of(mask > 0.5, objects=one.measures["objects"] + 1)
    return FoundMask(mask, one.verdict, one.confidence, one.reason, one.measures | measures)
