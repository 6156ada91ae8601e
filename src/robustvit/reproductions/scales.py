"""The two sizes of a reproduction: the paper's, and one of minutes on drawn scenes that takes the same path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["PAPER", "SCALES", "TINY", "ReproductionScale"]


@dataclass(frozen=True)
class ReproductionScale:
    """How much is trained, and on what.

    Attributes:
        name: ``paper`` or ``tiny``.
        classes: finetuned on; one photo of each of the others chooses the epoch.
        available: classes that must be there, the merged ones left out.
        samples: photos of each class finetuned on.
        epochs: passes over them.
        options: of finetune, beside the recipe's.
        seeds: draws of the classes, in tables 8 and 9.
        samples_varied: photos of each class in figure 7.
        classes_varied: numbers of classes in figure 7.
        forced: classes that appendix A forces, by index.
        remove: of pixels at each step of appendix A.
    """

    name: str
    classes: int
    available: int
    samples: int
    epochs: int
    options: dict[str, Any] = field(default_factory=dict)
    seeds: int = 5
    samples_varied: tuple[int, ...] = ()
    classes_varied: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()
    remove: float = 0.002


# The paper's forced classes: gibbon, black widow, common iguana, shovel, Australian terrier.
PAPER = ReproductionScale(
    "paper", 500, 914, 3, 50, {}, 5, (1, 2, 3, 4, 6), (100, 300, 500, 700), (368, 75, 39, 792, 193), 0.002
)
# The cards' rates are for thousands of steps; two steps on a small model need a higher one to change any answer.
TINY = ReproductionScale(
    "tiny",
    5,
    10,
    3,
    1,
    {"lr": 1e-4, "swaps": 0, "panels": 0, "tracker": "none"},
    2,
    (1, 3),
    (3, 5),
    (99, 327),
    0.05,
)
SCALES = {scale.name: scale for scale in (PAPER, TINY)}
