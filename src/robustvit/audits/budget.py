"""How much an audit measures: three budgets, and what the user said beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from robustvit.audits.measures import VARIANTS
from robustvit.audits.options import AuditOptions, BudgetName
from robustvit.evaluation.insertions import ARTEFACTS, WHOLE

QUICK_PASSES = 12  # forward passes a photo and model


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        tries: backgrounds of other classes to try on a photo.
        shifted: photos whose object is moved, resized and rotated.
        variants: of ``VARIANTS``, the photos without object or background.
        whole: changes of the whole photo, see ``insertions.WHOLE``.
        artefacts: of ``insertions.ARTEFACTS``, what is put in.
        passes: forward passes a photo at most, which the regions beside the object have to keep to; None: any.
        region_passes: forward passes a photo at most for blurring regions; None: any.
        rivals: in what ways the model is shown the objects alone, see ``VIEWS``.
    """

    tries: int
    shifted: int
    variants: tuple[str, ...] = tuple(VARIANTS)
    whole: tuple[str, ...] = tuple(WHOLE)
    artefacts: tuple[str, ...] = ARTEFACTS
    passes: int | None = None
    region_passes: float | None = None
    rivals: tuple[str, ...] = ()


BUDGETS: Mapping[BudgetName, Budget] = {
    # The two backgrounds of other classes that the cost needs are also those that are tried: no further pass.
    "quick": Budget(2, 0, ("only-bg-t",), (), ("text",), passes=QUICK_PASSES),
    "normal": Budget(6, 24, region_passes=4, rivals=("crop",)),
    "full": Budget(12, 60, rivals=("crop", "mask", "blur")),
}


def settle_budget(auditing: AuditOptions) -> Budget:
    """Return the budget, with what the user chose beside it."""
    known = BUDGETS[auditing.budget]
    return replace(
        known,
        tries=known.tries if auditing.tries is None else auditing.tries,
        shifted=known.shifted if auditing.shifted is None else auditing.shifted,
    )
