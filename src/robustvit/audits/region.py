"""What lies beside the objects: kinds of region that a model looks at, their patches, and what blurring them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from robustvit.common.intervals import Interval, paired_difference
from robustvit.models.classifier import Classifier

_SHOWN = 8


@dataclass(frozen=True)
class ModelAnswers:
    """A model, and its answers to the photos as they are, with their probabilities."""

    model: Classifier
    answers: Sequence[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class BlurEffect:
    """What blurring something beside the objects does to the answers to the photos that have it.

    Attributes:
        accuracy: change of accuracy when it is blurred.
        against_others: the same less the change when as much is blurred elsewhere beside the object.
        baseline: change of the baseline's accuracy, if there is one and it takes photos in the same way.
        risen: how much more blurring costs the model than the baseline, photo by photo.
    """

    accuracy: Interval
    against_others: Interval
    baseline: Interval | None = None
    risen: Interval | None = None

    @property
    def decides(self) -> bool:
        """Whether blurring costs accuracy, and more than elsewhere, by the whole intervals."""
        return self.accuracy.high < 0 and self.against_others.high < 0


def measure_blurring(
    before: Sequence[float],
    after: Sequence[float],
    elsewhere: Sequence[float],
    baseline: tuple[Sequence[float], Sequence[float]] | None = None,
) -> BlurEffect:
    """Compare answers before and after blurring, with 1 for each photo answered right and 0 for the others.

    ``elsewhere`` has as much blurred elsewhere; ``baseline`` are the answers of the baseline before and after.
    """
    old = rise = None
    if baseline is not None:
        old = paired_difference(*baseline)
        rise = paired_difference(np.subtract(*baseline), np.subtract(before, after))
    return BlurEffect(
        accuracy=paired_difference(before, after),
        against_others=paired_difference(elsewhere, after),
        baseline=old,
        risen=rise,
    )


@dataclass(frozen=True)
class Patch:
    """A relevant patch outside the mask.

    Attributes:
        photo: index of the photo.
        row: of the patch in the grid; as ``column``.
        weight: its share of the photo's relevance.
    """

    photo: int
    row: int
    column: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class Region(BlurEffect):
    """A kind of region beside the objects that a model looks at.

    Attributes:
        share: of the relevance of all photos.
        classes: number of photos with such patches by their class.
        patches: all of them, the most relevant first.
        probability: change of the predicted class's probability when they are blurred.
        decided: photos whose answer changes.
        centre: mean feature of the patches, of length 1.
        reach: cosine with the centre that nine of ten of the patches reach.
        tested: photos on which they were blurred: all, or as many as the budget allows, drawn at random.
        words: nearest words, if they were asked for.
    """

    share: float
    classes: dict[str, int]
    patches: list[Patch]
    probability: Interval
    decided: list[int]
    centre: tuple[float, ...] = ()
    reach: float = 0.0
    tested: int = 0
    words: tuple[str, ...] = ()

    @property
    def photos(self) -> list[int]:
        """The photos that have such patches."""
        return sorted({one.photo for one in self.patches})

    @property
    def shown(self) -> list[Patch]:
        """The most relevant patches, each of another photo."""
        first = {one.photo: one for one in reversed(self.patches)}
        return sorted(first.values(), key=lambda one: -one.weight)[:_SHOWN]


def crop_around(image: Tensor, patch: Patch, grid: tuple[int, int]) -> Tensor:
    """Return the part of an image ``(3, H, W)`` around a patch, five patches wide, less at the border."""
    rows, columns = image.shape[-2] // grid[0], image.shape[-1] // grid[1]
    top, left = max(0, (patch.row - 2) * rows), max(0, (patch.column - 2) * columns)
    return image[:, top : (patch.row + 3) * rows, left : (patch.column + 3) * columns]
