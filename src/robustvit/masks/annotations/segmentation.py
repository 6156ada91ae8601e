"""A segmentation as COCO writes it: a list of polygons, or run lengths."""

from __future__ import annotations

import numpy as np

from robustvit.masks.annotations.broken import BrokenEntry
from robustvit.masks.annotations.objects import Corners
from robustvit.masks.annotations.outlines import Frame, as_rectangle, outline_points, split_outlines
from robustvit.masks.annotations.run_lengths import decode_run_lengths


def segmentation_mask(segmentation: object, frame: Frame) -> tuple[np.ndarray, list[str]]:
    """Return the mask of a segmentation, float32 ``(H, W)``, and a complaint for each polygon that is left out.

    Raises:
        BrokenEntry: nothing of it can be read.
    """
    if isinstance(segmentation, dict):
        return decode_run_lengths(segmentation, frame.height, frame.width), []
    outlines, broken = [], []
    for polygon in split_outlines(segmentation):
        try:
            outlines.append(outline_points(polygon))
        except BrokenEntry as error:
            broken.append(error)
    if not outlines:
        raise broken[0]
    return frame.fill(outlines), [f"{error}; this part is left out" for error in broken]


def upright_rectangle(segmentation: object) -> Corners | None:
    """Return the corners of a segmentation whose only outline is an upright rectangle."""
    outlines = [] if isinstance(segmentation, dict) else split_outlines(segmentation)
    return as_rectangle(outline_points(outlines[0])) if len(outlines) == 1 else None


def draw_segmentation(segmentation: object, frame: Frame) -> np.ndarray:
    """Return the mask of a segmentation of which all must be sound; ``frame`` is that of the photo."""
    mask, complaints = segmentation_mask(segmentation, frame)
    if complaints:
        raise BrokenEntry(complaints[0].removesuffix("; this part is left out"))
    return mask
