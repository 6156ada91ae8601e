"""Options of how explanations are measured. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from robustvit.common.options import Fill


@dataclass(frozen=True, kw_only=True)
class DeletionOptions:
    """Deletion and insertion.

    Attributes:
        methods: methods to measure, separated by commas (gae,rollout; default all).
        steps: number of equal shares in which pixels are removed.
        fill: value of removed pixels: the photo's mean colour, or the blurred photo.
        randomised: number of photos whose maps are compared with those of randomised weights, and between methods; a
            map that does not change shows the photo, not the model. 0 leaves it out.
    """

    methods: str | None = None
    steps: int = 20
    fill: Fill = "mean"
    randomised: int = 16
