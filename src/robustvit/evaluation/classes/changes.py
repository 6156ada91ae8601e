"""Changes by class: paired differences with intervals, and which of them are significant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustvit.common.derived_intervals import Derived, derived_difference, derived_interval
from robustvit.common.intervals import Interval, mcnemar, mean_interval, paired_interval
from robustvit.evaluation.class_notes import RATE, adjusted_mcnemar
from robustvit.evaluation.on_sets.outcomes import Outcomes, align_outcomes, rows_by


@dataclass(frozen=True)
class ClassChange:
    """One class before and after.

    Attributes:
        name: of the class.
        before: accuracy of the baseline, with Wilson's 95 % CI; likewise ``after`` of the model.
        difference: after minus before; see ``paired_interval``.
        helped: images that turned from wrong to right.
        harmed: images that turned from right to wrong.
        p: exact two-sided p of McNemar's test.
        adjusted_p: the same, adjusted over all classes by Benjamini and Hochberg (1995).
        seen: whether the model was finetuned on the class; None if not known.
    """

    name: str
    before: Interval
    after: Interval
    difference: Interval
    helped: int
    harmed: int
    p: float
    adjusted_p: float
    seen: bool | None

    @property
    def significant(self) -> bool:
        """Whether the change is significant at a false discovery rate of ``RATE``."""
        return self.adjusted_p < RATE

    @property
    def order(self) -> tuple[float, int, str]:
        """Sort key: the most helped class first, then the one with more images."""
        return (-self.difference.mean, -self.difference.count, self.name)


def count_changes(rows: Sequence[ClassChange]) -> dict[str, int]:
    """Count the classes that rose, fell and stayed, and the significant changes."""
    rose = [row for row in rows if row.helped > row.harmed]
    fell = [row for row in rows if row.helped < row.harmed]
    return {
        "classes": len(rows),
        "rose": len(rose),
        "fell": len(fell),
        "unchanged": len(rows) - len(rose) - len(fell),
        "rose_significant": sum(row.significant for row in rose),
        "fell_significant": sum(row.significant for row in fell),
    }


@dataclass(frozen=True)
class Changes:
    """The changes between two models on the images that both have seen.

    Attributes:
        before: top-1 accuracy of the baseline; likewise ``after`` of the model.
        difference: after minus before; see ``paired_interval``.
        helped: see ``ClassChange``, also for ``harmed`` and ``p``; no p where answers of one photo turn together.
        classes: in ``ClassChange.order``.
    """

    before: Interval
    after: Interval
    difference: Interval
    helped: int
    harmed: int
    p: float | None
    classes: list[ClassChange]

    def most_helped(self, count: int, *, significant: bool = False) -> list[ClassChange]:
        """Return up to ``count`` classes that rose (``significant``: beyond chance), the most helped first."""
        return [row for row in self.classes if row.helped > row.harmed and row.significant >= significant][:count]

    def most_harmed(self, count: int, *, significant: bool = False) -> list[ClassChange]:
        """Return up to ``count`` classes that fell, the most harmed first, then the one with more images."""
        fell = [row for row in self.classes if row.helped < row.harmed and row.significant >= significant]
        return sorted(fell, key=lambda row: (row.difference.mean, *row.order[1:]))[:count]


def compare_classes(
    before: Outcomes,
    after: Outcomes,
    seen: Collection[int] | None = None,
    photo_of: Callable[[str], str] | None = None,
) -> Changes:
    """Compare two models class by class.

    Args:
        before: answers of the baseline.
        after: answers of the model.
        seen: answers that the model was finetuned on; None if not known.
        photo_of: returns the photo of an answer's name where photos have several answers, which turn together: the
            intervals of all answers are then over photos, and McNemar's test, which needs independent answers, is
            left out of all answers.
    """
    before, after = align_outcomes(before, after)
    old, new = before.correct, after.correct
    rows = _compare_each(before, old, new, seen)
    up, down = sum(row.helped for row in rows), sum(row.harmed for row in rows)
    if photo_of is None:
        change = paired_interval(up, down, len(old))
        return Changes(mean_interval(old), mean_interval(new), change, up, down, mcnemar(up, down), rows)
    photos = np.unique([photo_of(str(name)) for name in before.names], return_inverse=True)[1].ravel()
    sides = [_derive_over_photos(side, photos) for side in (old, new)]
    spans = derived_interval(sides[0]), derived_interval(sides[1]), derived_difference(sides[0], sides[1])
    before_all, after_all, change = (replace(one, count=len(old)) for one in spans)
    return Changes(before_all, after_all, change, up, down, None, rows)


def _compare_each(
    before: Outcomes, old: np.ndarray, new: np.ndarray, seen: Collection[int] | None
) -> list[ClassChange]:
    """Compare the answers that are right before and after, ``(N,)``, for each class."""
    parts = rows_by(before.class_names)
    helped = [int((new & ~old)[rows].sum()) for rows in parts.values()]
    harmed = [int((old & ~new)[rows].sum()) for rows in parts.values()]
    ps, adjusted = adjusted_mcnemar(helped, harmed)
    found = [
        ClassChange(
            name,
            mean_interval(old[rows]),
            mean_interval(new[rows]),
            paired_interval(up, down, len(rows)),
            up,
            down,
            p,
            q,
            None if seen is None else bool(np.isin(before.right[rows], list(seen)).any()),
        )
        for (name, rows), up, down, p, q in zip(parts.items(), helped, harmed, ps, adjusted, strict=True)
    ]
    return sorted(found, key=lambda row: row.order)


def _derive_over_photos(right: np.ndarray, photos: np.ndarray) -> Derived:
    """Return the share of right answers, with what each adds to its photo; both ``(N,)``."""
    mean, count = float(right.mean()), len(np.unique(photos))
    return Derived(mean, (right - mean) / len(right), np.ones(len(right)), photos, None, count)
